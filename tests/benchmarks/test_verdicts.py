"""Verdicts: promises that are kept or not, by ratios within a round."""

from __future__ import annotations

from dataclasses import replace

from benchmarks import plans, verdicts
from benchmarks.measurements import Cell, Measurements, Record, Start, Tail
from benchmarks.verdicts import BEST_PEER, Target
from tests.benchmarks.records import ONE, OTHER, record, run


def test_ratios_are_taken_within_a_round() -> None:
    """A slow minute slows both: the medians' ratio would be another number."""
    records = [
        record(0, "ours", ONE, 100),
        record(0, "kserve", OTHER, 10),
        record(1, "ours", ONE, 40),
        record(1, "kserve", OTHER, 2),
        record(2, "ours", ONE, 90),
        record(2, "kserve", OTHER, 6),
        record(3, "ours", ONE, 90),
    ]
    target = Target("x", "per_second", ONE, "kserve", OTHER, 14)

    ratio = target.ratio(records)

    assert ratio is not None
    assert str(ratio) == "15 (10 to 20)"
    assert target.is_met(ratio)
    assert not Target("x", "per_second", ONE, "kserve", OTHER, 16).is_met(ratio)
    assert not Target("x", "per_second", ONE, "kserve", OTHER, 14, at_most=True).is_met(ratio)


def test_the_best_peer_is_the_quickest_of_its_round() -> None:
    """Whatever JSON it speaks; neither ours nor the echo is a peer, nor is gRPC JSON."""
    records = [
        record(0, "ours", ONE, 100),
        record(0, "kserve", ONE, 10),
        record(0, "mlserver", OTHER, 20),
        record(1, "ours", ONE, 100),
        record(1, "kserve", ONE, 25),
        record(1, "mlserver", OTHER, 5),
        record(1, "mlserver", Cell("grpc", 1, 32), 90),
        record(1, "echo", Cell("echo", 1, 32), 90),
        record(1, "fastapi", Cell("own", 1, 1), 90),
    ]

    ratio = Target("x", "per_second", ONE, BEST_PEER, Cell("any", 1, 32), 9).ratio(records)

    assert str(ratio) == "4.5 (4 to 5)"
    assert Target("x", "per_second", ONE, BEST_PEER, Cell("any", 1, 32), 9).ratio(records[:2]) is None


def test_what_was_not_measured_is_left_out() -> None:
    """Nor is a ratio taken of a server that answered nothing."""
    records = [record(0, "ours", ONE, 100), record(0, "kserve", ONE, 0)]

    assert Target("x", "per_second", ONE, "kserve", ONE, 1).ratio(records) is None
    assert verdicts.verdicts(Measurements(run())) == [
        ["ours against", "median (lowest to highest)", "promised", "kept"]
    ]


def test_verdicts_name_the_promise_and_whether_it_was_kept() -> None:
    """Each model has a promise of its own."""
    objects = Cell("v1 objects", 1, 32)
    churn = [
        Record(0, "churn", name, objects, rate, 1, 1, 1, 0, 1) for name, rate in (("ours", 90.0), ("kserve", 10.0))
    ]
    numbers = [
        record(0, "ours", ONE, 1400),
        record(0, "kserve", ONE, 100),
        record(0, "echo", Cell("echo", 1, 32), 9999),
    ]

    both = replace(run(), models={"breast-cancer": ["ours", "kserve", "echo"], "churn": ["ours", "kserve"]})

    _, kserve, echo, columns = verdicts.verdicts(Measurements(both, [*numbers, *churn]))

    assert kserve == ["one row, 32 at once: KServe v1", "14 (14 to 14)", "≥ 14", "yes"]
    assert echo[2:] == ["≥ 0.65", "no"]
    assert columns[1:] == ["9 (9 to 9)", "≥ 10", "no"]


def test_tails_and_starts_are_compared_with_kserve() -> None:
    """Tails as ratios within a round, starts and memory as differences."""
    numbers = "breast-cancer"
    tails = [
        Tail(0, numbers, "ours", 40.0, 50.0, 3.0, 0),
        Tail(0, numbers, "kserve", 200.0, 100.0, 2.0, 0),
        Tail(1, numbers, "ours", 1.0, 1.0, 1.0, 0),
    ]
    starts = [Start(0, numbers, "ours", 3.0, 210.0, 0.0), Start(0, numbers, "kserve", 2.5, 200.0, 0.0)]

    assert [row[1:] for row in verdicts.tails(tails)] == [
        ["0.2 (0.2 to 0.2)", "≤ 0.25", "yes"],
        ["0.5 (0.5 to 0.5)", "≤ 0.25", "no"],
    ]
    assert [(row[1].split()[0], row[3]) for row in verdicts.starts(starts)] == [("+0.5", "no"), ("+10", "yes")]


def test_every_promise_is_measured_by_the_full_plan() -> None:
    """A promise about a cell that nobody measures would be one that nobody checks."""
    numbers, columns = plans.full().parts
    promised = [(target, numbers) for target in verdicts.TARGETS]
    promised += [(target, columns) for target in verdicts.COLUMN_TARGETS]

    for target, part in promised:
        assert target.ours in part.cells
        assert target.cell in part.cells or target.other == BEST_PEER
        assert target.other == BEST_PEER or target.other in {one.name for one in part.contestants}
