# Every task of the repository. `make help` lists them; `make run` needs make and Python 3.11 to 3.13, `make test` curl too.

MODEL ?= breast-cancer
REGISTRY ?= artifacts
HTTP_PORT ?= 8080
GRPC_PORT ?= 8081
VENV ?= .venv
NAMESPACE ?= models
MODE ?= standard
# Test files run side by side. They wait for servers that start, on a cluster for pods: so many keep two cores busy.
JOBS ?= 3
E2E_JOBS ?= 4
UNIT_JOBS ?= 2

CONFIG = training/configs/$(subst -,_,$(MODEL)).yaml
CONFIGS = $(sort $(wildcard training/configs/*.yaml))
CODE = model_server training tests tools benchmarks
MODELS = $(subst _,-,$(notdir $(basename $(CONFIGS))))
RUN = $(VENV)/bin/python
PYTEST = $(RUN) -m pytest --durations=15
# `make test` runs the arrows among the tests.
CHECKS = format-check lint typecheck workflows
# A file is one process's; the longest files begin, by the durations that tests/durations.py keeps in the user's cache.
IN_ORDER = --dist loadfile --no-loadscope-reorder
# The files that are left out walk a page, or train one example after the other.
UNITS = tests/model_server tests/training tests/properties tests/test_arrows.py tests/test_layout.py model_server training \
	$(foreach name,docs examples identity run,--ignore tests/training/test_$(name).py)
SERVE = exec $(RUN) -m model_server --model_name $(MODEL) --model_dir $(REGISTRY) \
	--http_port $(HTTP_PORT) --grpc_port $(GRPC_PORT)
VERSION_OF_CODE = $(shell sed -n 's/^__version__ = "\(.*\)"/\1/p' model_server/__init__.py)
UV = $(firstword $(wildcard $(VENV)/uv/bin/uv) uv)

# Tests start some hundred processes; each would compile this code again where somebody has switched bytecode files off.
unexport PYTHONDONTWRITEBYTECODE

# The first Python that fits; `make PYTHON=/path/to/python3.12 …` takes another (and makes the environment anew for it).
FIND_PYTHON = for python in $(PYTHON) python3.13 python3.12 python3.11 python3; do \
	"$$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null && break; python=; done; \
	[ -n "$$python" ] || { echo 'setup: no Python 3.11, 3.12 or 3.13 found; install one, on Debian: apt-get install python3' >&2; exit 1; }

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
SHELL := /bin/sh

##@ Start here

.PHONY: help
help: ## List every target
	@awk 'BEGIN {FS = ":.*## "} /^##@ / {printf "\n%s\n", substr($$0, 5)} /^[a-z0-9-]+:.*## / {printf "  %-12s %s\n", $$1, $$2}' Makefile
	@printf '\nVariables: MODEL=%s HTTP_PORT=%s GRPC_PORT=%s REGISTRY=%s VENV=%s PYTHON=(found)\n' $(MODEL) $(HTTP_PORT) $(GRPC_PORT) $(REGISTRY) $(VENV)

.PHONY: setup
setup: $(VENV)/stamp ## Make the environment in .venv from the locks (every other target does it by itself)
	@:

# The stamp's time says whether to look at all, its content whether to do anything.
$(VENV)/stamp: locks/dev.txt locks/uv.txt pyproject.toml tools/environment.py $(if $(PYTHON),FORCE)
	@$(FIND_PYTHON); "$$python" tools/environment.py $(VENV)

.PHONY: FORCE
FORCE:

.PHONY: run
run: train ## Train MODEL, promote it and serve it (v1, v2, gRPC) until Ctrl-C
	@$(SERVE)

.PHONY: serve
serve: setup ## Serve what was promoted before, without training
	@$(SERVE)

##@ Models

.PHONY: train
train: setup ## Train MODEL into REGISTRY and promote it; equal inputs are used again, changed ones get the next version
	@[ -f $(CONFIG) ] || { echo 'train: no $(CONFIG); MODEL is one of: $(MODELS)' >&2; exit 1; }
	@$(RUN) -m training run $(CONFIG) --registry $(REGISTRY) --promote --bump

.PHONY: train-all
train-all: setup ## Train and promote every example
	@set -e; for config in $(CONFIGS); do $(RUN) -m training run $$config --registry $(REGISTRY) --promote --bump; done

.PHONY: models
models: setup ## List the bundles in REGISTRY and which of them are in production
	@$(RUN) -m training list --registry $(REGISTRY)

.PHONY: inspect
inspect: setup ## Show what is in the bundle of MODEL that is in production; VERSION=1.2.3 shows another
	@$(RUN) -m training inspect $(REGISTRY)/$(MODEL)/$(or $(VERSION),$$(cat $(REGISTRY)/$(MODEL)/production))

##@ Checks

.PHONY: test
test: setup $(CHECKS) tools ## Check, then every test, those of the chart and of real servers among them
	@$(PYTEST) -n $(JOBS) $(IN_ORDER) $(TEST_WORDS)

.PHONY: check
check: $(CHECKS) arrows ## Format, lint, types, import arrows and workflows, in under two minutes

.PHONY: unit
unit: setup ## Units alone, to run while you write: no chart, cluster, fuzz, pages or Go tools; under two minutes
	@$(RUN) -m pytest -q -n $(UNIT_JOBS) --dist loadscope -m 'not slow and not fuzz and not callgrind' $(UNITS)

.PHONY: format
format: setup ## Rewrite the code in the project's format, with ruff's safe fixes
	@$(RUN) -m ruff format $(CODE)
	@$(RUN) -m ruff check --fix $(CODE)

.PHONY: format-check
format-check: setup ## Say what `make format` would rewrite
	@$(RUN) -m ruff format --check --output-format concise $(CODE)

.PHONY: lint
lint: setup ## ruff, every rule but those that pyproject.toml excuses
	@$(RUN) -m ruff check --output-format concise $(CODE)

.PHONY: typecheck
typecheck: setup ## mypy --strict over code, tests and tools; what it knows of unchanged files is kept in the user's cache
	@$(RUN) -m mypy --cache-dir $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/model-server/mypy

.PHONY: arrows
arrows: setup ## Which module may import which
	@$(RUN) -m pytest -q tests/test_arrows.py

.PHONY: workflows
workflows: setup ## actionlint and zizmor over .github; the first is built into the user's cache the first time
	@linter=$$($(RUN) -m tools.gotools --path actionlint | tail -n 1) && \
		"$$linter" -shellcheck= -pyflakes= && echo 'workflows: actionlint has nothing to say'
	@$(VENV)/bin/zizmor --offline --persona=auditor --strict-collection --no-progress --quiet .github

.PHONY: cover
cover: setup ## Every test, and the lines they miss as pages in htmlcov/
	@$(RUN) -m pytest --everywhere --cov --cov-report=term-missing --cov-report=html

.PHONY: chart
chart: setup tools ## The chart alone: lint and suites in both Helms, schemas, Pod Security, manifests, image; no mutations
	@$(RUN) -m pytest tests/chart tests/test_image.py

.PHONY: chart-mutate
chart-mutate: setup tools ## Break the chart in every place, one at a time; its suites must notice (EVERY=10: each tenth, other ones for each commit; ONLY=_guards: what has that in its file or text)
	@$(RUN) -m tools.chartmutations --every $(or $(EVERY),1) $(if $(FIRST),--first $(FIRST)) $(if $(ONLY),--only $(ONLY))

.PHONY: conformance
conformance: setup ## The black-box suite alone; BASE_URL=http://host:port points it at a running server
	@$(RUN) -m pytest -m conformance tests/conformance --everywhere $(if $(BASE_URL),--base-url $(BASE_URL))

.PHONY: fuzz
fuzz: setup ## The generated hostile requests alone
	@$(RUN) -m pytest -m fuzz tests

.PHONY: instructions
instructions: setup ## Count the instructions of a request under Callgrind; a minute, needs Valgrind
	@$(RUN) -m pytest -m callgrind tests/model_server

.PHONY: path
path: train ## Count what must be read to follow a request from socket to socket; WORDS=-v names each function
	@$(RUN) -m tests.model_server.edge.request_path $(REGISTRY) $(WORDS)

##@ Speed

.PHONY: bench-quick
bench-quick: train ## Two minutes: ours, KServe and an echo without a model, side by side; MODEL as for train
	@$(RUN) -m benchmarks quick --registry $(REGISTRY) --model $(MODEL)

.PHONY: bench
bench: setup bench-environments ## Everybody, in rounds (ROUNDS=5; RESUME=--resume goes on), and docs/benchmarks.md with it
	@set -e; for model in breast-cancer churn; do $(MAKE) --no-print-directory train MODEL=$$model; done
	@$(RUN) -m benchmarks full --registry $(REGISTRY) --rounds $(or $(ROUNDS),5) $(RESUME)
	@$(MAKE) --no-print-directory bench-report

.PHONY: bench-report
bench-report: setup ## Write docs/benchmarks.md, its picture and the README's table from RAW=build/bench.jsonl
	@$(RUN) -m benchmarks report $(or $(RAW),build/bench.jsonl)

##@ A cluster

.PHONY: cluster-up
cluster-up: setup ## Make a kind cluster with KServe and Knative; E2E_IMAGES=pull|build says where images come from
	@$(RUN) -m tools.cluster up

.PHONY: cluster-down
cluster-down: setup ## End that cluster
	@$(RUN) -m tools.cluster down

DEPLOYMENT = --model $(MODEL) --registry $(REGISTRY) --namespace $(NAMESPACE) $(if $(VERSION),--version $(VERSION)) \
	$(if $(IMAGE),--image $(IMAGE)) $(if $(TIMEOUT),--timeout-s $(TIMEOUT))

.PHONY: deploy
deploy: setup ## Install the bundle of MODEL on the kubeconfig's cluster and ask it; MODE=knative NAMESPACE=models IMAGE=… VERSION=…
	@$(RUN) -m tools.deploy deploy --mode $(MODE) $(DEPLOYMENT)

.PHONY: smoke
smoke: setup ## Ask what is deployed for the numbers of training, by every protocol
	@$(RUN) -m tools.deploy smoke $(DEPLOYMENT)

.PHONY: canary
canary: setup ## Give the newest revision PERCENT of the requests (Knative mode); VERSION=… makes that bundle the newest first
	@$(RUN) -m tools.deploy canary --mode knative --percent $(or $(PERCENT),-1) $(DEPLOYMENT)

.PHONY: promote
promote: setup ## Give the newest revision all requests
	@$(RUN) -m tools.deploy promote --mode knative $(DEPLOYMENT)

.PHONY: rollback
rollback: setup ## Give the revision before all requests
	@$(RUN) -m tools.deploy rollback --mode knative $(DEPLOYMENT)

.PHONY: e2e
e2e: cluster-up ## Make the cluster and run the end-to-end tests on it; the cluster stays
	@$(PYTEST) -n $(E2E_JOBS) $(IN_ORDER) -m e2e --e2e -v -o faulthandler_timeout=900 tests/e2e $(E2E_WORDS)

##@ Upkeep

.PHONY: tools
tools: setup ## Build Helm 3 and 4, helm-unittest, kubeconform, helm-docs, oasdiff, actionlint and crane into the user's cache, once
	@$(RUN) -m tools.gotools

.PHONY: manifests
manifests: setup tools ## Render manifests/, and the chart's README by helm-docs
	@$(RUN) -m tools.manifests

.PHONY: image
image: ## Build the server's image with Docker, as model-server:VERSION
	docker build --build-arg VERSION=$(VERSION_OF_CODE) --build-arg GIT_SHA=$$(git rev-parse HEAD) -t model-server:$(VERSION_OF_CODE) .

.PHONY: image-smoke
image-smoke: setup ## Run the image that `make image` built, confined as in a pod, and ask it for the numbers of training
	@E2E_IMAGE=model-server:$(VERSION_OF_CODE) $(RUN) -m pytest -m e2e --e2e -v tests/e2e/test_image.py

.PHONY: lock
lock: setup ## Resolve pyproject.toml into locks/; UPGRADE=--upgrade takes the newest versions
	@UV=$(UV) $(RUN) -m tools.locks $(UPGRADE)

.PHONY: clean
clean: ## Remove the environment, caches and reports; the bundles in REGISTRY stay
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis .schemathesis htmlcov .coverage .coverage.* build dist
	find model_server training tests tools benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

##@ For workflows, which call nothing but make

.PHONY: bench-environments
bench-environments: setup ## Make the environments of the servers that are compared with, once, in the user's cache
	@$(RUN) -m benchmarks environments

# PUBLISH, TAG and SIGNER are read from the environment, where make puts what stands on its command line.
.PHONY: image-save
image-save: ## Write that image into build/image.tar
	mkdir -p build
	docker save --output build/image.tar model-server:$(VERSION_OF_CODE)

.PHONY: image-load
image-load: ## Take it from there
	docker load --input build/image.tar

.PHONY: release-login
release-login: setup ## Log in at PUBLISH=host/owner as REGISTRY_USER with REGISTRY_TOKEN
	@$(RUN) -m tools.release login

.PHONY: release-check
release-check: setup ## Say whether this commit, or TAG=v1.2.3 of it, can be published to PUBLISH=host/owner; changes nothing
	@$(RUN) -m tools.release check

.PHONY: release-image
release-image: setup ## Publish the image as sha-COMMIT, unless that tag is there
	@$(RUN) -m tools.release image

.PHONY: release-verify
release-verify: setup ## Make sure that the commit's image was signed by the workflow SIGNER
	@$(RUN) -m tools.release verify

.PHONY: release-version
release-version: setup ## Publish the chart of TAG=v1.2.3, which deploys the commit's image by digest, and tag that image
	@$(RUN) -m tools.release version

.PHONY: release-sign
release-sign: setup ## Sign what was published last, with cosign
	@$(RUN) -m tools.release sign
