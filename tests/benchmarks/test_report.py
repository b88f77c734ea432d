"""The report of a run that was really made: a page, a picture and a table, all from the same numbers."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import pytest

from benchmarks import __main__ as command
from benchmarks import measurements, plot, report, summary
from benchmarks.contestants import FULL, ROOT
from benchmarks.measurements import Cell, Measurements, Start
from tests.benchmarks.records import ONE, record, run

if TYPE_CHECKING:
    from benchmarks.measurements import Record

#: One round of everybody, with measurements of a fifth of a second.
RECORDED = measurements.load(Path(__file__).with_name("recorded.jsonl"))


def checkout(folder: Path) -> Path:
    """Make what the report is written into."""
    folder.joinpath("docs").mkdir()
    folder.joinpath("README.md").write_text(f"before\n\n{report.BEGIN}old\n{report.END}\nafter\n")
    return folder


def of(contestant: str, cell: Cell) -> Record:
    """Look a measurement up."""
    return next(r for r in RECORDED.records if (r.contestant, r.cell) == (contestant, cell))


def test_everything_is_written_by_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """From the raw numbers, which it keeps; a second time changes nothing."""
    root = checkout(tmp_path)
    raw = root / "raw.jsonl"
    measurements.save(raw, RECORDED)
    command.main(["report", str(raw), "--root", str(root)])
    first = {path.name: path.read_bytes() for path in (*root.glob("docs/*"), root / "README.md")}
    command.main(["report", str(root / "docs" / "benchmarks.jsonl"), "--root", str(root)])

    assert capsys.readouterr().out.split()[:4] == [
        "docs/benchmarks.md",
        "docs/benchmarks.svg",
        "README.md",
        "docs/benchmarks.jsonl",
    ]
    assert {path.name: path.read_bytes() for path in (*root.glob("docs/*"), root / "README.md")} == first


def test_the_readme_has_the_table_of_the_page(tmp_path: Path) -> None:
    """Between its marks, and nothing else of it changes."""
    root = checkout(tmp_path)
    report.write(RECORDED, root)
    readme = root.joinpath("README.md").read_text()

    assert readme == f"before\n\n{report.block(RECORDED)}\nafter\n"
    assert report.block(RECORDED) in root.joinpath("docs", "benchmarks.md").read_text()


def test_a_readme_without_a_place_is_refused(tmp_path: Path) -> None:
    """The table would be nowhere."""
    root = checkout(tmp_path)
    root.joinpath("README.md").write_text("no marks\n")

    with pytest.raises(ValueError, match=r"README\.md has 0 places"):
        report.write(RECORDED, root)
    with pytest.raises(ValueError, match="nothing was measured"):
        report.write(Measurements(run()), root)


def test_every_number_is_on_the_page() -> None:
    """The page leaves out no server, protocol or size."""
    text = report.page(RECORDED, ROOT)
    lines = {
        f"| {r.contestant} | {r.cell.protocol} | {value} ({value} to {value}) |"
        for r in RECORDED.records
        for value in [f"{r.per_second:,.0f}" if r.per_second >= 100 else f"{r.per_second:.3g}"]
    }

    assert [line for line in lines if line not in text] == []
    assert len(re.findall(r"^### ", text, re.MULTILINE)) == len(
        {(r.model, r.cell.rows, r.cell.connections) for r in RECORDED.records}
    )


def test_the_page_names_machine_versions_and_what_was_left_out() -> None:
    """What a reader needs to judge the numbers, and to make them again."""
    text = report.page(RECORDED, ROOT)

    assert RECORDED.run.machine in text
    assert f"`{RECORDED.run.command}`" in text
    assert [one.name for one in FULL for _, why in one.lacks if why not in text] == []
    assert [
        p for packages in RECORDED.run.contestants.values() for p, v in packages.items() if f"{p} {v}" not in text
    ] == []
    assert "cut off" not in text
    assert "{" not in text


def test_a_run_that_was_cut_off_is_reported_as_such() -> None:
    """The report says so, and shows what was measured until then."""
    cut = Measurements(run(3), [record(0, "ours", ONE, 100)], [Start(0, "breast-cancer", "ours", 1.0, 1.0, 0.0)])

    assert "The run was cut off: 0 of 3 rounds are whole." in report.page(cut, ROOT)


def test_the_table_has_the_quickest_first() -> None:
    """A line a server, each in its plainest JSON, and ours in words that stand out."""
    head, *lines = summary.table(RECORDED)

    assert {line[0] for line in lines} == set(summary.TITLES.values())
    rates = [float(line[1].replace(",", "")) for line in lines]
    assert rates == sorted(rates, reverse=True)
    ours = next(line for line in lines if line[0] == "**this server**")
    assert ours[1:3] == [f"{of('ours', Cell('v1', 1, 32)).per_second:,.0f}", ""]
    assert {len(line) for line in lines} == {len(head)}


def test_what_was_not_measured_stays_empty() -> None:
    """A server that was cut off has no numbers, and no zeros either."""
    _, line = summary.table(Measurements(run(), [record(0, "kserve", ONE, 100)]))

    assert line == ["KServe", "100", "", "", "", "", "", ""]


def test_the_picture_has_a_bar_a_server_and_loads_nothing() -> None:
    """Its texts are texts, and the same numbers give the same picture."""
    text = plot.picture(summary.panels(RECORDED))
    root = ET.fromstring(text)  # noqa: S314 - our own text
    words = {"".join(element.itertext()).strip() for element in root.iter("{http://www.w3.org/2000/svg}text")}

    assert {title.strip("*") for title in summary.TITLES.values()} <= words
    assert f"{of('ours', Cell('v1', 1, 32)).per_second:,.0f}" in words
    assert f"{512 * of('ours', Cell('v1', 512, 8)).per_second:,.0f}" in words
    assert re.findall(r"(?:href|src|url)\s*[=(]\s*[\"']?(?!#|http://www\.w3\.org)", text) == []
    assert plot.picture(summary.panels(RECORDED)) == text


@pytest.mark.slow
def test_the_echo_is_measured_from_end_to_end(
    written: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By the command itself, in one round."""
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("a benchmark needs two cores")
    before = os.sched_getaffinity(0)
    registry, output = tmp_path / "registry", tmp_path / "measured"
    (registry / "linear").mkdir(parents=True)
    (registry / "linear" / "1.0.0").symlink_to(written / "linear" / "1.0.0")
    (registry / "linear" / "production").write_text("1.0.0\n")
    flags = ["--registry", str(registry), "--model", "linear", "--rounds", "1", "--measure-s", "0.1", "--only", "echo"]
    try:
        assert command.main(["quick", *flags, "--raw", str(output)]) == 0
    finally:
        os.sched_setaffinity(0, before)

    kinds = [json.loads(line)["kind"] for line in output.read_text().splitlines()]
    assert kinds == ["run"] + ["record"] * 4 + ["start"]
    assert measurements.load(output).rounds == 1
    told = capsys.readouterr()
    assert "linear, one row, 32 at once\n" in told.out
    assert "round 1 of 1, linear, echo: done, 0 errors" in told.err
