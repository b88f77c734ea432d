"""The README's commands do what it says: each is executed, in order, and what it prints is what is shown."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tests.docs.conftest import walk_in
from tests.docs.pages import page
from tests.docs.transcript import Step, difference
from tests.docs.walk import Act, acts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.docs.walk import Walk

README = page("README.md")
ACTS = [act for act in acts(README) if act.step.command != "make test"]


@pytest.fixture(scope="module")
def walk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Walk]:
    """A reader who begins with nothing but the checkout."""
    with walk_in(tmp_path_factory.mktemp("readme")) as walk:
        yield walk


@pytest.mark.parametrize("at", range(len(ACTS)), ids=[act.title for act in ACTS])
def test_the_readme_is_true(walk: Walk, at: int) -> None:
    """What a newcomer types first must work, and answer as promised."""
    assert difference(ACTS[at].step.shown, walk.follow(ACTS, at)) is None


def test_make_test_is_every_check_and_every_test(walk: Walk) -> None:
    """The one command that is not run here, because it runs this; make itself says what it would do."""
    said = walk.do(Act("run", Step("make -n test", "")))

    assert [word for word in ("ruff format --check", "ruff check", "-m mypy", "-m pytest") if word not in said] == []


def test_the_model_card_warns(walk: Walk) -> None:
    """The card that the README names says what the README says of it."""
    walk.follow(ACTS, 0)
    card = next(word for word in re.findall(r"`([^`]+)`", README.prose) if word.endswith("card.md"))
    text = walk.folder.joinpath(card).read_text("utf-8")

    assert ("research data set" in text, "medical advice" in text) == (True, True)
