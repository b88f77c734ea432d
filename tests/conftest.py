"""Options of the suites that need a served model, and the registry of example bundles that they share."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import cache, partial
from pathlib import Path

import hypothesis
import pytest

from tests.checkout import EXAMPLES, ROOT
from tests.shared_folder import made_once

pytest_plugins = ["tests.durations"]

# httpx looks for it six times a request and does without; a failed search is 0.2 ms, and this one is none.
sys.modules.setdefault("sniffio", None)  # type: ignore[arg-type]

# A busy machine takes longer for one example; speed is measured in benchmarks.
hypothesis.settings.register_profile("product", deadline=None)
hypothesis.settings.load_profile("product")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let the conformance suite take a running server as its target."""
    group = parser.getgroup("served models")
    group.addoption("--base-url", help="run the conformance suite against this server instead of starting some")
    group.addoption(
        "--everywhere", action="store_true", help="run it for every model both in process and as the real command"
    )
    group.addoption("--grpc", help="host:port of that server's gRPC; without it the gRPC cases are skipped")
    group.addoption("--model", help="name of the model on that server; left out, the one that it lists")
    group.addoption("--bundle", type=Path, help="folder of the bundle that server serves, for expected answers")
    group.addoption("--admin-token", help="token of that server's admin routes")
    group.addoption("--max-rows", type=int, default=10_000, help="the row limit that server was started with")
    group.addoption(
        "--max-body-bytes", type=int, default=16 * 1024 * 1024, help="the body limit that server was started with"
    )
    group.addoption("--registry", type=Path, help="folder of trained example bundles; without it they are trained")
    group.addoption("--e2e", action="store_true", help="run the end-to-end tests against the cluster of the kubeconfig")
    group.addoption("--docker", action="store_true", help="fail what needs a Docker daemon where none answers")
    group.addoption("--fuzz-seed", type=int, default=20_260_101, help="seed of the generated requests")
    group.addoption(
        "--fuzz-requests", type=int, default=5_000, help="how many generated requests each fuzzed model gets"
    )


def pytest_report_header(config: pytest.Config) -> str:
    """Show the seed with every run, so that a finding can be repeated."""
    return f"fuzz seed: {config.getoption('--fuzz-seed')}, requests: {config.getoption('--fuzz-requests')}"


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what needs a Docker daemon where none answers, unless it must run."""
    if item.get_closest_marker("docker") and not item.config.getoption("--docker") and not _docker_answers():
        pytest.skip("no Docker daemon answers; --docker makes this a failure")


@cache
def _docker_answers() -> bool:
    try:
        return subprocess.run(["docker", "version"], capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


@pytest.fixture(scope="session")
def registry(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A registry in which every example model is trained and promoted; read only."""
    return _registry(request, tmp_path_factory, EXAMPLES)


@pytest.fixture(scope="session")
def registry_of_one(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with breast-cancer alone, for what needs no other and runs alone: a third of the training."""
    return _registry(request, tmp_path_factory, ("breast-cancer",))


def _registry(request: pytest.FixtureRequest, factory: pytest.TempPathFactory, models: tuple[str, ...]) -> Path:
    given: Path | None = request.config.getoption("--registry")
    if given is not None:
        return given.resolve()
    return made_once(factory, f"registry-of-{len(models)}", partial(_train_all, models))


def _train_all(models: tuple[str, ...], folder: Path) -> None:
    started = {name: _train(name, folder) for name in models}
    for name, process in started.items():
        output, _ = process.communicate(timeout=300)
        assert process.returncode == 0, f"training {name} failed:\n{output.decode()}"


def _train(name: str, folder: Path) -> subprocess.Popen[bytes]:
    # Side by side: each is short and mostly one thread.
    config = ROOT / "training" / "configs" / f"{name.replace('-', '_')}.yaml"
    words = [sys.executable, "-m", "training", "run", str(config), "--registry", str(folder), "--promote"]
    threads = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    return subprocess.Popen(
        words, cwd=ROOT, env={**os.environ, **threads}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
