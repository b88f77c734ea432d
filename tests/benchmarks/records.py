"""Measurements made by hand, for tests of what follows from them."""

from __future__ import annotations

from benchmarks.measurements import Cell, Record, Run

ONE, OTHER = Cell("v1", 1, 32), Cell("v2", 1, 32)


def record(number: int, name: str, cell: Cell, per_second: float, p50_ms: float = 1.0) -> Record:
    """Make a measurement of the model of numbers."""
    return Record(number, "breast-cancer", name, cell, per_second, p50_ms, 2.0, 100.0, 0, 20.0)


def run(rounds: int = 2) -> Run:
    """Make the head of a run."""
    return Run(
        "full",
        f"make bench ROUNDS={rounds}",
        "2026-01-02",
        "a processor, 2 cores",
        "c" * 40,
        "5" * 64,
        rounds,
        {"warm": 0.1, "measure": 0.2, "tail": 1.0},
        {"breast-cancer": ["ours", "kserve"]},
        {"ours": {"numpy": "2.0"}, "kserve": {"kserve": "0.21"}},
    )
