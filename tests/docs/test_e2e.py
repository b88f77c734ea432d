"""docs/e2e.md names the test of each claim; each is there."""

from __future__ import annotations

import re

import pytest

from tests.checkout import ROOT

PAGE = ROOT.joinpath("docs", "e2e.md").read_text("utf-8")
FILES = sorted(ROOT.joinpath("tests", "e2e").rglob("test_*.py"))
TEXT = "\n".join(file.read_text("utf-8") for file in FILES)
#: What a claim can be shown by: a file of tests, or one of its functions.
TESTS = {*(file.stem for file in FILES), *re.findall(r"^def (test_\w+)", TEXT, re.MULTILINE)}
#: The second column of the table; a name may be cut by an ellipsis at either end, or in its middle.
NAMED = sorted({name for line in PAGE.splitlines() for name in re.findall(r"`((?:…\w|test_)[\w…]*)`", line)})


@pytest.mark.parametrize("name", NAMED)
def test_a_claim_names_a_test_that_is_there(name: str) -> None:
    """A claim may name a test by the end of its path, and still has to find it."""
    pattern = re.compile(".*".join(map(re.escape, name.split("…"))))

    assert [test for test in TESTS if pattern.fullmatch(test)], name


def test_the_table_is_read() -> None:
    """An empty list of names would pass."""
    assert len(NAMED) > 20
