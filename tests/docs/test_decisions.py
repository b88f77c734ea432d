"""docs/decisions.md: every record has a number of its own, and what is cited is there."""

from __future__ import annotations

import re

from tests.docs.pages import ROOT, page

RECORDS = [heading for heading in page("docs/decisions.md").headings if heading != "Decisions"]
CITED = re.compile(r"docs/decisions\.md,\s+(?:#\s+)?(\d+(?:(?:, | and )\d+)*)")
WHOLE = re.compile(r"docs/decisions\.md(?!\)|,\s+(?:#\s+)?\d)")
FOLDERS = ("model_server", "training", "tools", "benchmarks", "charts", "docs")


def cited(text: str) -> list[int]:
    """Give the numbers of the records that a text cites."""
    return [int(number) for numbers in CITED.findall(text) for number in re.findall(r"\d+", numbers)]


def sources() -> dict[str, str]:
    """Read what may cite a record: code, charts and pages."""
    paths = [path for folder in FOLDERS for path in sorted(ROOT.joinpath(folder).rglob("*"))]
    kept = [path for path in paths if path.suffix in {".md", ".py", ".tpl", ".yaml"} and path.name != "decisions.md"]
    return {str(path.relative_to(ROOT)): path.read_text("utf-8") for path in kept}


def test_records_are_numbered_in_order() -> None:
    """A gap or a repeated number would leave a citation in the air."""
    assert [heading.split(". ")[0] for heading in RECORDS] == [str(number) for number in range(1, len(RECORDS) + 1)]


def test_every_cited_record_is_there() -> None:
    """A reader who follows a comment must find the reason it promises."""
    missing = {name: cited(text) for name, text in sources().items() if max(cited(text), default=0) > len(RECORDS)}

    assert missing == {}
    assert any(cited(text) for text in sources().values())


def test_code_cites_a_record_and_not_the_page() -> None:
    """Nobody looks through thirty records for the one that is meant."""
    assert [name for name, text in sources().items() if WHOLE.search(text)] == []


def test_citations_are_read_however_they_are_written() -> None:
    """The checks above must see several numbers, and one behind a line break of a comment."""
    assert cited("(docs/decisions.md, 7 and 12), or docs/decisions.md,\n# 33") == [7, 12, 33]
    assert WHOLE.search("as docs/decisions.md says")
    assert not WHOLE.search("(docs/decisions.md, 7)")
