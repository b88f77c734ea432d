"""Measurements are on disk as soon as they are known, and a run that was cut off is no loss."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from benchmarks import measurements, plans, runs
from benchmarks.measurements import Cell, Measurements, Start, Tail
from benchmarks.runs import Progress
from tests.benchmarks.records import ONE, record, run

if TYPE_CHECKING:
    from pathlib import Path

MODEL = "breast-cancer"


def measured(rounds: int) -> Measurements:
    """Make a run of two contestants with that many whole rounds."""
    found = Measurements(run(rounds))
    for number in range(rounds):
        for name in ("ours", "kserve"):
            found.add(record(number, name, ONE, 10 + number))
            found.add(Tail(number, MODEL, name, 1.5, 2.5, 3.5, 0))
            found.add(Start(number, MODEL, name, 1.0, 100.0, 1e-16))
    return found


def test_what_is_written_is_what_is_read(tmp_path: Path) -> None:
    """Every kind of line survives, so a report can be made again without measuring again."""
    path = tmp_path / "new" / "raw.jsonl"
    measurements.save(path, measured(2))

    assert measurements.load(path) == measured(2)


def test_a_line_that_was_being_written_is_left_out(tmp_path: Path) -> None:
    """A run may be cut off at any moment; all lines before it count."""
    path = tmp_path / "raw.jsonl"
    measurements.save(path, measured(1))
    path.write_text(path.read_text() + measurements.line(record(1, "ours", ONE, 10))[:30])

    assert measurements.load(path) == measured(1)


@pytest.mark.parametrize("text", ["", measurements.line(record(0, "ours", ONE, 1))], ids=["empty", "no head"])
def test_a_file_that_is_no_run_is_refused(text: str, tmp_path: Path) -> None:
    """It would be a table without a machine."""
    path = tmp_path / "raw.jsonl"
    path.write_text(text)

    with pytest.raises(ValueError, match="does not begin with a run"):
        measurements.load(path)


def test_only_whole_rounds_count_as_such() -> None:
    """A round is whole when every contestant that took part before has come to its end."""
    found = measured(2)
    found.add(record(2, "ours", ONE, 10))
    found.add(Start(2, MODEL, "ours", 1.0, 100.0, 0.0))

    assert found.rounds == 2
    assert Measurements(run()).rounds == 0
    assert {r.round for r in found.records} == {0, 1, 2}
    assert found.before(2) == replace(measured(2), run=found.run)


def test_a_first_round_that_was_cut_off_is_not_whole() -> None:
    """Although all that began it ended: the others are known from the head of the run."""
    found = Measurements(run())
    found.add(Start(0, MODEL, "ours", 1.0, 100.0, 0.0))

    assert found.rounds == 0


def test_a_run_goes_on_after_its_last_whole_round(tmp_path: Path) -> None:
    """With date and commit of its beginning, and as many rounds as are asked for now."""
    path = tmp_path / "raw.jsonl"
    cut = measured(2)
    cut.add(record(2, "ours", ONE, 10))
    measurements.save(path, cut)

    kept = runs.continued(path, replace(cut.run, date="2026-02-03", commit="d" * 40, rounds=5))

    assert kept == replace(measured(2), run=replace(cut.run, rounds=5))


@pytest.mark.parametrize("other", [{"contestants": {"ours": {"numpy": "3.0"}}}, {"serving_sha256": "6" * 64}], ids=str)
def test_another_run_is_not_continued(tmp_path: Path, other: dict[str, Any]) -> None:
    """Its numbers would be compared with those of other versions, or of other code."""
    path = tmp_path / "raw.jsonl"
    measurements.save(path, measured(1))

    with pytest.raises(SystemExit, match="of another plan, machine, code or versions"):
        runs.continued(path, replace(run(), **other))


def test_progress_tells_what_is_left() -> None:
    """By what was done in the time that is gone; errors are those of the contestant."""
    told: list[str] = []
    times = iter([0.0, 60.0, 90.0])
    full = plans.full()
    one = replace(full.parts[0], contestants=full.parts[0].contestants[-1:], cells=(Cell("echo", 1, 1),))
    plan = replace(full, parts=(one,), rounds=3)
    progress = Progress(plan, 1, told.append, lambda: next(times))

    for number in (1, 2):
        progress.add(replace(record(number, "echo", Cell("echo", 1, 1), 1.0), errors=2))
        progress.add(Start(number, MODEL, "echo", 1.0, 100.0, 0.0))

    assert told == [
        "bench: round 2 of 3, breast-cancer, echo: done, 2 errors; 1.0 min gone, 1.0 left",
        "bench: round 3 of 3, breast-cancer, echo: done, 2 errors; 1.5 min gone, 0.0 left",
    ]


def test_a_model_that_is_not_there_says_what_to_do(tmp_path: Path) -> None:
    """It is said before anything is started, not after minutes of measuring."""
    with pytest.raises(SystemExit, match=r"no version of churn is in production .*make train"):
        runs.served(tmp_path, "churn")
