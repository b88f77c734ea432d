"""The numbers of the pages are those of the measurements that lie beside them."""

from __future__ import annotations

import io
import re
import shutil
import subprocess
import tarfile
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import pytest

from benchmarks import measurements, report, serving_path, summary
from tests.docs.pages import ROOT, page

if TYPE_CHECKING:
    from pathlib import Path

RUN = measurements.load(ROOT / "docs" / "benchmarks.jsonl")


def test_the_page_says_what_was_measured() -> None:
    """And which code, or that it has changed since; `make bench-report RAW=docs/benchmarks.jsonl` writes it anew."""
    assert page("docs/benchmarks.md").text == report.page(RUN, ROOT)


def test_the_commit_on_the_page_is_the_code_that_was_measured(tmp_path: Path) -> None:
    """Commit and hash were recorded together; where the commit is at hand, its files must have that hash."""
    assert re.fullmatch(r"[0-9a-f]{40}", RUN.run.commit)
    command = ["git", "archive", RUN.run.commit, *serving_path.PATHS]
    archive = subprocess.run(command, cwd=ROOT, capture_output=True, check=False) if shutil.which("git") else None
    if archive is None or archive.returncode:
        pytest.skip(f"commit {RUN.run.commit[:12]} is not in this checkout: its history was cut or is not here")
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as files:
        files.extractall(tmp_path, filter="data")

    assert serving_path.sha256(tmp_path) == RUN.run.serving_sha256


@pytest.mark.parametrize("name", ["README.md", "docs/benchmarks.md"])
def test_the_table_is_that_of_the_measurements(name: str) -> None:
    """The README quotes the page; same command."""
    assert page(name).text.count(report.block(RUN)) == 1
    assert page(name).text.count(report.BEGIN) == 1


def test_the_picture_shows_the_numbers_of_the_table() -> None:
    """Its texts are text; same command."""
    root = ET.parse(ROOT / "docs" / "benchmarks.svg").getroot()  # noqa: S314 - our own picture
    words = {"".join(element.itertext()).strip() for element in root.iter("{http://www.w3.org/2000/svg}text")}
    _, *lines = summary.table(RUN)

    assert {line[0].strip("*") for line in lines} | {line[1] for line in lines} <= words


def test_no_request_was_refused() -> None:
    """Numbers with errors among them would be of something else."""
    assert [(r.contestant, r.cell) for r in RUN.records if r.errors] == []
    assert [tail.contestant for tail in RUN.tails if tail.errors] == []


def test_everybody_answered_what_the_pipeline_does() -> None:
    """In every round, before anything was measured."""
    assert {start.contestant for start in RUN.starts} == RUN.run.contestants.keys()
    assert max(start.difference for start in RUN.starts) <= 1e-9


def test_the_readme_shows_the_picture() -> None:
    """With words for those who do not see it."""
    assert re.search(r"!\[\w[^\]]{30,}\]\(docs/benchmarks\.svg\)", page("README.md").text)
