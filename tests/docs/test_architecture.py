"""The architecture page: what it says of ways and thresholds is what the code does."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tests.docs import ways
from tests.docs.pages import ROOT
from tests.model_server.edge.request_path import REQUESTS, definitions

if TYPE_CHECKING:
    from pathlib import Path

TEXT = ways.PAGE.read_text("utf-8")


def test_the_thresholds_are_those_of_the_code() -> None:
    """Whoever looks for a slow request begins with this table."""
    assert ways.thresholds() in TEXT


@pytest.mark.parametrize("name", REQUESTS)
def test_every_function_on_the_page_exists(name: str) -> None:
    """A reader opens the file and searches for the name."""
    section = TEXT.split(f"### {name}\n")[1].split("### ")[0]
    rows = re.findall(r"^\| `(\S+\.py)` \| (.+) \|$", section, re.MULTILINE)

    assert len(rows) > 10
    assert [
        f"{file}: {function}"
        for file, functions in rows
        for function in re.findall(r"`([^`]+)`", functions)
        if function not in definitions(file)
    ] == []


def test_the_ways_are_those_that_requests_take(registry: Path) -> None:
    """`python -m tests.docs.ways REGISTRY` writes them; their order may differ from one Python to another."""
    renewed = ways.renewed(TEXT, registry)

    assert sorted(_named(renewed)) == sorted(_named(TEXT))


def _named(text: str) -> list[tuple[str, str, str]]:
    """Give the request, file and name of every function."""
    sections = text.split("<!-- ways -->")[1].split("### ")[1:]
    return [
        (part.split("\n")[0], file, function)
        for part in sections
        for file, functions in re.findall(r"^\| `(\S+\.py)` \| (.+) \|$", part, re.MULTILINE)
        for function in re.findall(r"`([^`]+)`", functions)
    ]


def test_every_place_on_the_page_exists() -> None:
    """A folder that moved would send readers nowhere."""
    places = re.findall(r"`((?:model_server|edge|wire|serving)/[\w/.]*)`", TEXT.split("<!-- thresholds -->")[0])

    assert places
    assert [place for place in places if not any((ROOT / at / place).exists() for at in ("", "model_server"))] == []
