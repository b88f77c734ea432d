"""The usage guide is true: each snippet is executed against a live server, in order, and prints what is shown."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.checkout import EXAMPLES
from tests.conformance import launch
from tests.conformance.target import ADMIN_TOKEN
from tests.docs.page_run import Act, acts
from tests.docs.pages import page
from tests.docs.readers import page_run_in
from tests.docs.transcript import Step, difference

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.docs.page_run import PageRun

USAGE = page("docs/usage.md")
ACTS = acts(USAGE)


@pytest.fixture(scope="module")
def page_run(registry: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PageRun]:
    """A reader who started churn as the guide's first lines say."""
    with launch.in_process(registry, "churn") as served, page_run_in(tmp_path_factory.mktemp("usage")) as page_run:
        page_run.renamed["localhost:8080"] = served.target.base_url.removeprefix("http://")
        page_run.renamed["localhost:8081"] = str(served.target.grpc_address)
        page_run.renamed["a-long-secret"] = ADMIN_TOKEN
        yield page_run


@pytest.mark.parametrize("at", range(len(ACTS)), ids=[act.title for act in ACTS])
def test_the_usage_guide_is_true(page_run: PageRun, at: int) -> None:
    """A snippet that is copied must work as it stands."""
    assert difference(ACTS[at].step.shown, page_run.follow(ACTS, at)) is None


def test_the_guide_s_first_command_serves_its_model(page_run: PageRun) -> None:
    """It is not run here, since the server runs already; make itself says what it would do."""
    first = next(block.text for block in USAGE.blocks if block.language == "sh")
    said = page_run.do(Act("run", Step(first.replace("make run", "make -n run"), "")))

    assert "-m training run training/configs/churn.yaml" in said
    assert "-m model_server --model_name churn" in said


def test_every_output_is_shown() -> None:
    """A command without its answer would be executed, but compared with nothing."""
    silent = [act.title for act in ACTS if not act.step.shown]

    assert [title for title in silent if not re.match(r"run [A-Z]+='", title)] == []


@pytest.mark.parametrize("model", EXAMPLES)
def test_the_plain_answer_has_the_listed_keys(registry: Path, model: str) -> None:
    """The table of answers by kind, against every example."""
    with launch.in_process(registry, model) as served:
        row = served.facts.record(served.facts.take(1)[0])
        answer = httpx.post(f"{served.target.base_url}/predict", json=row, trust_env=False).json()
    listed = next(row[2] for row in USAGE.table("Plain routes") if model in row[0])
    names = re.findall(r"`([^`]+)`", re.sub(r"\([^)]*\)", "", listed))

    assert set(answer) == {name.replace("<target>", "churn") for name in names}
