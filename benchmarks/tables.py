"""Measurements -> tables and verdicts on the targets; knows numbers, not how they came about.

A ratio is taken within a round, between two contestants; its median over the rounds is what counts, and its smallest
and largest show how far to trust it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

from benchmarks.rounds import Cell

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from benchmarks.rounds import Record, Start
    from benchmarks.tails import Tail


@dataclass(frozen=True)
class Spread:
    """Median, smallest and largest of some numbers."""

    middle: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{_short(self.middle)} ({_short(self.low)} to {_short(self.high)})"


def spread(numbers: Iterable[float]) -> Spread | None:
    """Summarize numbers; None of none. NaN, the latency of what was never answered, is none."""
    found = sorted(number for number in numbers if not math.isnan(number))
    return Spread(median(found), found[0], found[-1]) if found else None


def _short(number: float) -> str:
    return f"{number:.0f}" if number >= 100 else f"{number:.3g}"


@dataclass(frozen=True)
class Target:
    """A promise: a ratio of one measurement of ours to one of somebody else.

    Attributes:
        text: What is promised.
        measure: Which number: ``per_second`` or ``p50_ms``.
        ours: Our cell.
        other: Who is compared with.
        cell: Its cell.
        limit: The ratio that is promised.
        at_most: Whether the ratio may be at most that, as for latencies, instead of at least.
    """

    text: str
    measure: str
    ours: Cell
    other: str
    cell: Cell
    limit: float
    at_most: bool = False

    def ratio(self, records: Sequence[Record]) -> Spread | None:
        """Take the ratio within each round; None when nothing was measured."""
        rounds = sorted({record.round for record in records})
        ratios = []
        for number in rounds:
            mine = _found(records, number, "ours", self.ours)
            theirs = _found(records, number, self.other, self.cell)
            if mine is not None and theirs is not None and mine.per_second and theirs.per_second:
                ratios.append(getattr(mine, self.measure) / getattr(theirs, self.measure))
        return spread(ratios)

    def is_met(self, ratio: Spread) -> bool:
        """Say whether the median keeps the promise."""
        return ratio.middle <= self.limit if self.at_most else ratio.middle >= self.limit


def _found(records: Sequence[Record], number: int, contestant: str, cell: Cell) -> Record | None:
    return next((r for r in records if (r.round, r.contestant, r.cell) == (number, contestant, cell)), None)


_ONE, _MANY = (1, 32), (512, 8)
TARGETS = (
    Target("one row, 32 at once: KServe v1", "per_second", Cell("v1", *_ONE), "kserve", Cell("v1", *_ONE), 14),
    Target("one row, 32 at once: KServe v2", "per_second", Cell("v2", *_ONE), "kserve", Cell("v2", *_ONE), 20),
    Target("one row, 32 at once: echo", "per_second", Cell("v1", *_ONE), "echo", Cell("echo", *_ONE), 0.65),
    Target("one row alone, p50: KServe v1", "p50_ms", Cell("v1", 1, 1), "kserve", Cell("v1", 1, 1), 0.25, at_most=True),
    Target("one row alone, p50: echo", "p50_ms", Cell("v1", 1, 1), "echo", Cell("echo", 1, 1), 2.5, at_most=True),
    Target("512 rows: KServe v1", "per_second", Cell("v1", *_MANY), "kserve", Cell("v1", *_MANY), 1.7),
    Target("512 rows: KServe v2", "per_second", Cell("v2", *_MANY), "kserve", Cell("v2", *_MANY), 3.2),
    Target("512 rows: echo", "per_second", Cell("v1", *_MANY), "echo", Cell("echo", *_MANY), 0.5),
    Target("512 rows, v2 binary: our v2 JSON", "per_second", Cell("v2 binary", *_MANY), "ours", Cell("v2", *_MANY), 1),
    Target("one row, 32 at once, gRPC: KServe", "per_second", Cell("grpc", *_ONE), "kserve", Cell("grpc", *_ONE), 4),
)


def verdicts(records: Sequence[Record], targets: Sequence[Target] = TARGETS) -> list[list[str]]:
    """Compare ratios with what is promised; cells that were not measured are left out."""
    rows = [["ours against", "ratio, median (lowest to highest)", "promised", "kept"]]
    for target in targets:
        ratio = target.ratio(records)
        if ratio is not None:
            promised = f"{'≤' if target.at_most else '≥'} {target.limit:g}"
            rows.append([target.text, str(ratio), promised, "yes" if target.is_met(ratio) else "no"])
    return rows


#: Ratios of tails and starts: ours to KServe's, and what is promised.
_BESIDE = (("one row beside 10,000, p99", "one_p99_ms"), ("probe beside 10,000 rows, p99", "live_p99_ms"))
_TAIL_LIMIT, _START_EXTRA_S, _MEMORY_EXTRA_MB = 0.25, 0.3, 40.0


def tail_verdicts(tails: Sequence[Tail]) -> list[list[str]]:
    """Compare the tails with KServe's of the same round."""
    rows = []
    for text, key in _BESIDE:
        theirs = {tail.round: getattr(tail, key) for tail in tails if tail.contestant == "kserve"}
        ratio = spread(
            getattr(tail, key) / theirs[tail.round]
            for tail in tails
            if tail.contestant == "ours" and tail.round in theirs
        )
        if ratio is not None:
            kept = "yes" if ratio.middle <= _TAIL_LIMIT else "no"
            rows.append([f"{text}: KServe v1", str(ratio), f"\u2264 {_TAIL_LIMIT:g}", kept])
    return rows


def start_verdicts(starts: Sequence[Start]) -> list[list[str]]:
    """Compare start and memory with KServe's, as differences of medians."""
    rows = []
    for text, key, limit in (
        ("start to ready, s more than KServe", "start_s", _START_EXTRA_S),
        ("memory, MB more than KServe", "memory_mb", _MEMORY_EXTRA_MB),
    ):
        ours, theirs = (
            spread(getattr(start, key) for start in starts if start.contestant == name) for name in ("ours", "kserve")
        )
        if ours is not None and theirs is not None:
            more = ours.middle - theirs.middle
            measured = f"{more:+.2f} ({ours} against {theirs})"
            rows.append([text, measured, f"\u2264 {limit:g}", "yes" if more <= limit else "no"])
    return rows


def figures(records: Sequence[Record]) -> list[list[str]]:
    """Lay out every measurement, by cell and contestant."""
    rows = [["protocol", "rows", "at once", "server", "requests/s", "p50 ms", "p99 ms", "CPU µs a request", "errors"]]
    for cell in dict.fromkeys(record.cell for record in records):
        for name in dict.fromkeys(record.contestant for record in records):
            found = [record for record in records if (record.cell, record.contestant) == (cell, name)]
            if found:
                numbers = [
                    str(spread(getattr(record, key) for record in found) or "none")
                    for key in ("per_second", "p50_ms", "p99_ms", "cpu_us")
                ]
                errors = str(sum(record.errors for record in found))
                rows.append([cell.protocol, str(cell.rows), str(cell.connections), name, *numbers, errors])
    return rows


def markdown(rows: Sequence[Sequence[str]]) -> str:
    """Write a table."""
    head, *body = rows
    lines = [head, ["---"] * len(head), *body]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def plain(rows: Sequence[Sequence[str]]) -> str:
    """Write a table for a terminal."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in rows) + "\n"
