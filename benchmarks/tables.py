"""Measurements -> rows of tables, and tables -> text; knows numbers, not how they came about nor what was promised.

A ratio is taken within a round, between two contestants; its median over the rounds is what counts, and its smallest
and largest show how far to trust it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

from benchmarks.measurements import Cell

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from benchmarks.measurements import Record

#: Whom a cell of ours is compared with where they have another protocol for the same rows.
SAME_AS = {"own": "v1", "echo": "v1", "own objects": "v1 objects"}


@dataclass(frozen=True)
class Spread:
    """Median, smallest and largest of some numbers."""

    middle: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{short(self.middle)} ({short(self.low)} to {short(self.high)})"


def spread(numbers: Iterable[float]) -> Spread | None:
    """Summarize numbers; None of none. NaN, the latency of what was never answered, is none."""
    found = sorted(number for number in numbers if not math.isnan(number))
    return Spread(median(found), found[0], found[-1]) if found else None


def short(number: float) -> str:
    """Write a number with three digits that say something."""
    return f"{number:,.0f}" if abs(number) >= 100 else f"{number:.3g}"


def compared(ratio: Spread) -> str:
    """Write a ratio, with a sign for times."""
    return f"{short(ratio.middle)} \N{MULTIPLICATION SIGN} ({short(ratio.low)} to {short(ratio.high)})"


def found(records: Sequence[Record], number: int, contestant: str, cell: Cell) -> Record | None:
    """Look a measurement up."""
    return next((r for r in records if (r.round, r.contestant, r.cell) == (number, contestant, cell)), None)


def ours_as(cell: Cell) -> Cell:
    """Give the cell of ours that another's is compared with."""
    return Cell(SAME_AS.get(cell.protocol, cell.protocol), cell.rows, cell.connections)


def times(records: Sequence[Record], contestant: str, cell: Cell) -> Spread | None:
    """Say how many times as many requests a second ours answers, round by round.

    Args:
        records: Of one model.
        contestant: Who is compared with.
        cell: Its cell.

    Returns:
        None when there is nothing to compare.
    """
    ratios = []
    for record in records:
        if (record.contestant, record.cell) == (contestant, cell) and record.per_second:
            mine = found(records, record.round, "ours", ours_as(cell))
            ratios += [mine.per_second / record.per_second] if mine is not None else []
    return spread(ratios)


HEAD = ["server", "protocol", "requests/s", "ours is", "p50 ms", "p99 ms", "CPU µs a request", "errors"]


def figures(records: Sequence[Record], rows: int, connections: int) -> list[list[str]]:
    """Lay out what was measured with requests of one size, by server and protocol, the most requests a second first.

    Args:
        records: Of one model.
        rows: Rows a request.
        connections: Requests at once.

    Returns:
        A table with its head; the head alone when there is nothing.
    """
    fitting = [record for record in records if (record.cell.rows, record.cell.connections) == (rows, connections)]
    pairs = dict.fromkeys((record.contestant, record.cell) for record in fitting)
    lines = [(_line(records, *pair), speed(fitting, *pair)) for pair in pairs]
    return [HEAD, *(line for line, _ in sorted(lines, key=lambda pair: -pair[1]))]


def speed(records: Sequence[Record], contestant: str, cell: Cell) -> float:
    """Give the median of the requests a second; 0 when nothing was measured."""
    of = spread(record.per_second for record in records if (record.contestant, record.cell) == (contestant, cell))
    return of.middle if of is not None else 0.0


def _line(records: Sequence[Record], contestant: str, cell: Cell) -> list[str]:
    mine = [record for record in records if (record.contestant, record.cell) == (contestant, cell)]
    per_second, p50, p99, cpu = (
        str(spread(getattr(record, key) for record in mine) or "none")
        for key in ("per_second", "p50_ms", "p99_ms", "cpu_us")
    )
    ratio = times(records, contestant, cell)
    ratio_text = compared(ratio) if ratio is not None and contestant != "ours" else ""
    errors = str(sum(record.errors for record in mine))
    return [contestant, cell.protocol, per_second, ratio_text, p50, p99, cpu, errors]


def sizes(records: Sequence[Record]) -> list[tuple[int, int]]:
    """List the rows and connections that were measured, the smallest first."""
    return sorted({(record.cell.rows, record.cell.connections) for record in records})


def markdown(rows: Sequence[Sequence[str]]) -> str:
    """Write a table."""
    head, *body = rows
    lines = [head, ["---"] * len(head), *body]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def plain(rows: Sequence[Sequence[str]]) -> str:
    """Write a table for a terminal."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in rows) + "\n"
