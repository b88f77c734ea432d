"""The README's commands do what it says: each is executed, in order, and what it prints is what is shown."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING

import pytest
import yaml

from tests.chart.rendering import one, run_helm
from tests.docs.page_run import Act, acts
from tests.docs.pages import ROOT, page
from tests.docs.readers import page_run_in
from tests.docs.transcript import Step, difference

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.docs.page_run import PageRun

README = page("README.md")
ACTS = acts(README)
#: The order in which a newcomer asks: what, how, with my model, where, how fast, what not, what next.
SECTIONS = [
    "model-server",
    "Start here",
    "Ask the model",
    "Serve your own model",
    "On Kubernetes",
    "Speed",
    "What is not here",
    "Where to go on",
]
#: The commands for a cluster, which are not run here.
ON_KUBERNETES = [
    command
    for block in README.blocks
    if (block.language, block.section) == ("sh", "On Kubernetes")
    for command in re.sub(r"\\\n\s*", "", block.text).splitlines()
]


@pytest.fixture(scope="module")
def page_run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PageRun]:
    """A reader who begins with nothing but the checkout."""
    with page_run_in(tmp_path_factory.mktemp("readme")) as page_run:
        yield page_run


@pytest.mark.parametrize("at", range(len(ACTS)), ids=[act.title for act in ACTS])
def test_the_readme_is_true(page_run: PageRun, at: int) -> None:
    """What a newcomer types first must work, and answer as promised."""
    assert difference(ACTS[at].step.shown, page_run.follow(ACTS, at)) is None


def test_make_test_is_every_check_and_every_test(page_run: PageRun) -> None:
    """The one command that is not run here, because it runs this; make itself says what it would do."""
    said = page_run.do(Act("run", Step("make -n test", "")))

    assert [word for word in ("ruff format --check", "ruff check", "-m mypy", "-m pytest") if word not in said] == []


def test_the_page_is_short_and_in_order() -> None:
    """Whoever wants to deploy reads one page, and finds the tables in the reference."""
    assert README.headings == SECTIONS
    assert len(README.text.splitlines()) <= 200


def test_the_picture_is_a_small_mermaid_block() -> None:
    """It is text, so a reader of the source sees it too."""
    (picture,) = [block for block in README.blocks if block.language == "mermaid"]

    assert picture.section == SECTIONS[0]
    assert picture.text.startswith("flowchart LR\n")
    assert len(picture.text.splitlines()) + 2 <= 15


def test_the_release_of_the_page_renders_what_the_page_asks_for() -> None:
    """As far as it goes without a cluster: the very ``helm install``, rendered; docs/e2e.md has the rest."""
    install = shlex.split(ON_KUBERNETES[0])
    done = run_helm("helm4", "template", *install[2:3], ROOT / install[3], *install[4:])
    assert (install[:2], done.returncode) == (["helm", "install"], 0), done.stderr
    service = one("InferenceService", [document for document in yaml.safe_load_all(done.stdout) if document])
    (container,) = service["spec"]["predictor"]["containers"]
    name = service["metadata"]["name"]

    assert container["image"] == "registry.example.com/ml/model-server:0.1.0"
    assert {"name": "STORAGE_URI", "value": "pvc://models/breast-cancer/1.0.0"} in container["env"]
    assert f"--model_name={name}" in container["args"]
    assert ON_KUBERNETES[1].split()[:3] == ["kubectl", "wait", f"inferenceservice/{name}"]
    port = container["ports"][0]["containerPort"]
    assert ON_KUBERNETES[2] == f"kubectl port-forward deployment/{name}-predictor 8080:{port} &"


def test_the_cluster_is_asked_as_the_machine_was() -> None:
    """Its answer was compared above, so the same request needs no second proof."""
    assert ON_KUBERNETES[-1] in [act.step.command for act in ACTS]
    assert [command.split()[0] for command in ON_KUBERNETES] == ["helm", "kubectl", "kubectl", "curl"]


def test_the_model_card_warns(page_run: PageRun) -> None:
    """The card that the README names says what the README says of it."""
    page_run.follow(ACTS, 0)
    card = next(word for word in re.findall(r"`([^`]+)`", README.prose) if word.endswith("card.md"))
    text = page_run.folder.joinpath(card).read_text("utf-8")

    assert ("research data set" in text, "medical advice" in text) == (True, True)
