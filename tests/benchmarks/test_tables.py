"""Tables: ratios within a round, medians over rounds, and promises that are kept or not."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

from benchmarks import __main__ as command
from benchmarks import tables
from benchmarks.contestants import ECHO, KSERVE, OURS, Contestant, Running, Served
from benchmarks.rounds import Cell, Record, Start, document
from benchmarks.tables import Target
from benchmarks.tails import Tail

if TYPE_CHECKING:
    from pathlib import Path

CELL, OTHER = Cell("v1", 1, 32), Cell("v2", 1, 32)


def record(number: int, name: str, cell: Cell, per_second: float, p50_ms: float = 1.0) -> Record:
    """Make a measurement."""
    return Record(number, name, cell, per_second, p50_ms, 2.0, 100.0, 0, 20.0)


def test_ratios_are_taken_within_a_round() -> None:
    """A slow minute slows both: the medians' ratio would be another number."""
    records = [
        record(0, "ours", CELL, 100),
        record(0, "kserve", OTHER, 10),
        record(1, "ours", CELL, 40),
        record(1, "kserve", OTHER, 2),
        record(2, "ours", CELL, 90),
        record(2, "kserve", OTHER, 6),
        record(3, "ours", CELL, 90),
    ]
    target = Target("x", "per_second", CELL, "kserve", OTHER, 14)

    ratio = target.ratio(records)

    assert ratio is not None
    assert str(ratio) == "15 (10 to 20)"
    assert target.is_met(ratio)
    assert not Target("x", "per_second", CELL, "kserve", OTHER, 16).is_met(ratio)
    assert not Target("x", "per_second", CELL, "kserve", OTHER, 14, at_most=True).is_met(ratio)


def test_what_was_not_measured_is_left_out() -> None:
    """Nor is a ratio taken of a server that answered nothing."""
    records = [record(0, "ours", CELL, 100), record(0, "kserve", CELL, 0)]

    assert Target("x", "per_second", CELL, "kserve", CELL, 1).ratio(records) is None
    assert tables.verdicts(records) == [["ours against", "ratio, median (lowest to highest)", "promised", "kept"]]
    assert tables.spread([float("nan")]) is None


def test_verdicts_name_the_promise() -> None:
    """And whether it was kept."""
    records = [
        record(0, "ours", CELL, 1400),
        record(0, "kserve", CELL, 100),
        record(0, "echo", Cell("echo", 1, 32), 9999),
    ]

    _, kserve, echo = tables.verdicts(records)

    assert kserve == ["one row, 32 at once: KServe v1", "14 (14 to 14)", "≥ 14", "yes"]
    assert echo[2:] == ["≥ 0.65", "no"]


def test_tails_and_starts_are_compared_with_kserve() -> None:
    """Tails as ratios within a round, starts and memory as differences."""
    tails = [Tail(0, "ours", 40.0, 50.0, 3.0), Tail(0, "kserve", 200.0, 100.0, 2.0), Tail(1, "ours", 1.0, 1.0, 1.0)]
    starts = [Start(0, "ours", 3.0, 210.0), Start(0, "kserve", 2.5, 200.0)]

    assert [row[1:] for row in tables.tail_verdicts(tails)] == [
        ["0.2 (0.2 to 0.2)", "≤ 0.25", "yes"],
        ["0.5 (0.5 to 0.5)", "≤ 0.25", "no"],
    ]
    assert [(row[1].split()[0], row[3]) for row in tables.start_verdicts(starts)] == [
        ("+0.50", "no"),
        ("+10.00", "yes"),
    ]


def test_figures_have_a_line_a_cell_and_server() -> None:
    """With every round in its spread."""
    records = [record(0, "ours", CELL, 100), record(1, "ours", CELL, 300), record(0, "echo", CELL, 7, float("nan"))]

    head, ours, echo = tables.figures(records)

    assert ours[:5] == ["v1", "1", "32", "ours", "200 (100 to 300)"]
    assert echo[5] == "none"
    assert len(head) == len(ours)


def test_tables_can_be_read_anywhere() -> None:
    """In a terminal and on a page."""
    rows = [["a", "bb"], ["ccc", "d"]]

    assert tables.plain(rows) == "a    bb\nccc  d\n"
    assert tables.markdown(rows) == "| a | bb |\n| --- | --- |\n| ccc | d |\n"


def test_measurements_are_written_as_json() -> None:
    """One kind a line."""
    line = json.loads(json.dumps(document(record(0, "ours", CELL, 1.5))))

    assert (line["kind"], line["cell"], line["per_second"]) == (
        "record",
        {"protocol": "v1", "rows": 1, "connections": 32},
        1.5,
    )


def test_a_contestant_that_does_not_come_up_says_why(tmp_path: Path) -> None:
    """With the end of what it wrote."""
    broken = Contestant("broken", lambda _, __: ["-c", "raise SystemExit('no model')"], ("v1",), "/")

    with pytest.raises(SystemExit, match="broken did not come up:\nno model"):
        Running(broken, Served(tmp_path, "x", tmp_path), min(os.sched_getaffinity(0)), tmp_path / "log")


def test_every_contestant_speaks_what_it_is_asked() -> None:
    """A cell that nobody measures would be a promise that nobody checks."""
    asked = {cell.protocol for cell in command.QUICK_PLAN.cells}
    promised = {target.ours.protocol for target in tables.TARGETS} | {target.cell.protocol for target in tables.TARGETS}

    assert asked <= {*OURS.protocols, *ECHO.protocols}
    assert promised <= asked
    assert KSERVE.protocols == OURS.protocols


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
    flags = ["--registry", str(registry), "--model", "linear", "--rounds", "1", "--only", "echo", "--json", str(output)]
    try:
        assert command.main(["quick", *flags]) == 0
    finally:
        os.sched_setaffinity(0, before)

    kinds = [json.loads(line)["kind"] for line in output.read_text().splitlines()]
    assert kinds == ["record"] * 4 + ["start"]
    assert "echo" in capsys.readouterr().out
