"""The page on training is true: its commands are executed in order, and its tables are those of the schema."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from model_server.bundle import RUN
from tests.docs.page_run import acts
from tests.docs.pages import page
from tests.docs.readers import page_run_in
from tests.docs.transcript import difference
from tests.training import schema

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.docs.page_run import PageRun

TRAINING = page("docs/training.md")
ACTS = acts(TRAINING)


@pytest.fixture(scope="module")
def page_run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PageRun]:
    """A reader at the beginning of the page; its Python programs run in this process, so it sits in the folder."""
    folder = tmp_path_factory.mktemp("training-page")
    with pytest.MonkeyPatch.context() as patch, page_run_in(folder) as page_run:
        patch.chdir(folder)
        yield page_run


@pytest.mark.parametrize("at", range(len(ACTS)), ids=[act.title for act in ACTS])
def test_the_page_on_training_is_true(page_run: PageRun, at: int) -> None:
    """Who copies a command gets what is shown."""
    assert difference(ACTS[at].step.shown, page_run.follow(ACTS, at)) is None


def test_every_key_is_in_the_tables_with_its_default() -> None:
    """A key that is documented exists, and one that exists is documented."""
    written = dict(
        re.findall(r"^\| `([a-z_.\[\]]+)` \| (.*?) \| ", TRAINING.text.split("## Every key")[1], re.MULTILINE)
    )
    assert written == {path: default for path, (default, _) in schema.rows().items()}


def test_the_files_of_a_bundle_are_those_of_the_table(shop_registry: Path) -> None:
    """Nothing is in a bundle that the page does not explain."""
    folder = shop_registry / "shop" / "1.0.0"
    told = {row[0].strip("`") for row in TRAINING.table("What is in a bundle")}
    names = {path.name + ("/" if path.is_dir() else "") for path in folder.iterdir()}
    assert RUN in names
    assert names == told
