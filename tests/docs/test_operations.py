"""The operations guide is true: its way through a release is walked, and its settings file is read."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from model_server import settings
from model_server.edge.api.operations import routes
from model_server.telemetry.requests import REQUEST_KEYS
from tests.docs import tables
from tests.docs.page_run import acts
from tests.docs.pages import ROOT, page
from tests.docs.readers import page_run_in
from tests.docs.transcript import difference
from training import config as configs

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.docs.page_run import PageRun

CHURN = ROOT / "training" / "configs" / "churn.yaml"

#: Words with underscores on the pages that are keys of requests, answers, configurations or scikit-learn.
OTHER_KEYS = {
    "binary_data",
    "binary_data_output",
    "binary_data_size",
    "class_0",
    "model_server",
    "n_features_in",
    "preprocessed_first",
    "request_id",
    "risk_tier",
    "run_id",
    "top_reasons",
}

OPERATIONS = page("docs/operations.md")
ACTS = acts(OPERATIONS)


@pytest.fixture(scope="module")
def page_run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PageRun]:
    """A reader at the beginning of the page."""
    with page_run_in(tmp_path_factory.mktemp("operations")) as page_run:
        yield page_run


@pytest.mark.parametrize("at", range(len(ACTS)), ids=[act.title for act in ACTS])
def test_the_operations_guide_is_true(page_run: PageRun, at: int) -> None:
    """A running server changes when it is told to, and back."""
    assert difference(ACTS[at].step.shown, page_run.follow(ACTS, at)) is None


def test_the_settings_file_is_one(tmp_path: Path) -> None:
    """Every key of the example is known."""
    example = next(act for act in ACTS if act.kind == "file")
    file = tmp_path / example.name
    file.write_text(example.step.command, "utf-8")

    assert settings.load(["--config", str(file)], {}).model_name == "iris"


def test_every_probe_is_a_route() -> None:
    """A probe on a path that does not exist never turns green."""
    paths = {route.path for route in routes(None)}
    starting = OPERATIONS.text.partition("## Starting\n")[2].partition("\n## ")[0]
    probes = re.findall(r"`GET (/[^`]*)`", starting)

    assert len(probes) == 10
    assert [probe for probe in probes if probe.replace("NAME", "{model_name}") not in paths] == []


@pytest.mark.parametrize("probe", tables.chart_probes())
def test_the_page_gives_each_probe_the_route_that_the_chart_asks(probe: str) -> None:
    """Who reads the page writes the same probe for another platform; no row says otherwise."""
    lines = [line for line in OPERATIONS.text.splitlines() if re.match(rf"\|[^|]*\b{probe}\b[^|]*\|", line)]
    asked = tables.chart_probes()[probe]["httpGet"]["path"]

    assert [re.findall(r"`(?:GET )?(/[^`]*)`", line) for line in lines] == [[asked]]


@pytest.mark.parametrize(
    "name", ["README.md", "docs/operations.md", "docs/reference.md", "docs/usage.md", "docs/decisions.md"]
)
def test_no_setting_is_misspelt(name: str) -> None:
    """What looks like a key on a page is one, of the settings or of something else that has keys."""
    features = configs.load(CHURN).features
    categories = {category for feature in features for category in feature.categories or ()}
    metrics = {row[0].strip("`") for row in tables.metrics()}
    others = {*OTHER_KEYS, *REQUEST_KEYS, *metrics, *categories, *(feature.name for feature in features)}
    written = re.findall(r"`([a-z]+(?:_[a-z0-9]+)+)(?:: [^`]*)?`", page(name).prose)

    assert [word for word in written if word not in others and word not in settings.Settings.model_fields] == []
