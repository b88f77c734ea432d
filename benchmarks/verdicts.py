"""What is promised, and whether measurements keep it; knows ratios, not how they were measured or shown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.measurements import Cell
from benchmarks.plans import COLUMNS
from benchmarks.tables import Spread, found, short, spread

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.measurements import Measurements, Record, Start, Tail

#: Stands for whichever peer answers the most requests of that size in a round, by whatever JSON it has.
BEST_PEER = "best peer"
_NO_PEERS = {"ours", "echo"}
_JSON = {"v1", "v2", "own"}


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
        ratios = []
        for number in sorted({record.round for record in records}):
            mine = found(records, number, "ours", self.ours)
            theirs = self._others(records, number)
            if mine is not None and theirs is not None and mine.per_second and theirs.per_second:
                ratios.append(getattr(mine, self.measure) / getattr(theirs, self.measure))
        return spread(ratios)

    def _others(self, records: Sequence[Record], number: int) -> Record | None:
        if self.other != BEST_PEER:
            return found(records, number, self.other, self.cell)
        size = self.cell.rows, self.cell.connections
        peers = [
            record
            for record in records
            if record.round == number
            and record.contestant not in _NO_PEERS
            and record.cell.protocol in _JSON
            and (record.cell.rows, record.cell.connections) == size
        ]
        # One alone is no best of several, and has a promise of its own.
        several = len({record.contestant for record in peers}) > 1
        return max(peers, key=lambda record: record.per_second) if several else None

    def is_met(self, ratio: Spread) -> bool:
        """Say whether the median keeps the promise."""
        return ratio.middle <= self.limit if self.at_most else ratio.middle >= self.limit


_ONE, _MANY = (1, 32), (512, 8)
TARGETS = (
    Target("one row, 32 at once: KServe v1", "per_second", Cell("v1", *_ONE), "kserve", Cell("v1", *_ONE), 14),
    Target("one row, 32 at once: KServe v2", "per_second", Cell("v2", *_ONE), "kserve", Cell("v2", *_ONE), 20),
    Target("one row, 32 at once: best peer", "per_second", Cell("v1", *_ONE), BEST_PEER, Cell("any", *_ONE), 9),
    Target("one row, 32 at once: echo", "per_second", Cell("v1", *_ONE), "echo", Cell("echo", *_ONE), 0.65),
    Target("one row alone, p50: KServe v1", "p50_ms", Cell("v1", 1, 1), "kserve", Cell("v1", 1, 1), 0.25, at_most=True),
    Target("one row alone, p50: echo", "p50_ms", Cell("v1", 1, 1), "echo", Cell("echo", 1, 1), 2.5, at_most=True),
    Target("512 rows: KServe v1", "per_second", Cell("v1", *_MANY), "kserve", Cell("v1", *_MANY), 1.7),
    Target("512 rows: KServe v2", "per_second", Cell("v2", *_MANY), "kserve", Cell("v2", *_MANY), 3.2),
    Target("512 rows: echo", "per_second", Cell("v1", *_MANY), "echo", Cell("echo", *_MANY), 0.5),
    Target("512 rows, v2 binary: our v2 JSON", "per_second", Cell("v2 binary", *_MANY), "ours", Cell("v2", *_MANY), 1),
    Target("one row, 32 at once, gRPC: KServe", "per_second", Cell("grpc", *_ONE), "kserve", Cell("grpc", *_ONE), 4),
)
_OBJECTS = Cell("v1 objects", *_ONE)
COLUMN_TARGETS = (
    Target("one row of mixed columns, 32 at once: KServe v1", "per_second", _OBJECTS, "kserve", _OBJECTS, 10),
)
#: Ratios of tails and starts: ours to KServe's, and what is promised.
_BESIDE = (("one row beside 10,000, p99", "one_p99_ms"), ("probe beside 10,000 rows, p99", "live_p99_ms"))
_TAIL_LIMIT, _START_EXTRA_S, _MEMORY_EXTRA_MB = 0.25, 0.3, 40.0


def verdicts(measurements: Measurements) -> list[list[str]]:
    """Compare everything with what is promised; what was not measured is left out."""
    rows = [["ours against", "median (lowest to highest)", "promised", "kept"]]
    for model in measurements.run.models:
        targets = COLUMN_TARGETS if model == COLUMNS else TARGETS
        rows += ratios([record for record in measurements.records if record.model == model], targets)
    main = next(iter(measurements.run.models))
    rows += tails([tail for tail in measurements.tails if tail.model == main])
    return rows + starts([start for start in measurements.starts if start.model == main])


def ratios(records: Sequence[Record], targets: Sequence[Target]) -> list[list[str]]:
    """Compare the ratios of one model with some promises."""
    rows = []
    for target in targets:
        ratio = target.ratio(records)
        if ratio is not None:
            rows.append([target.text, str(ratio), _promised(target), _yes(is_kept=target.is_met(ratio))])
    return rows


def _promised(target: Target) -> str:
    return f"{'≤' if target.at_most else '≥'} {target.limit:g}"


def _yes(*, is_kept: bool) -> str:
    return "yes" if is_kept else "no"


def tails(measured: Sequence[Tail]) -> list[list[str]]:
    """Compare the tails with KServe's of the same round."""
    rows = []
    for text, key in _BESIDE:
        theirs = {tail.round: getattr(tail, key) for tail in measured if tail.contestant == "kserve"}
        ours = [tail for tail in measured if tail.contestant == "ours" and tail.round in theirs]
        ratio = spread(getattr(tail, key) / theirs[tail.round] for tail in ours)
        if ratio is not None:
            kept = _yes(is_kept=ratio.middle <= _TAIL_LIMIT)
            rows.append([f"{text}: KServe", str(ratio), f"≤ {_TAIL_LIMIT:g}", kept])
    return rows


def starts(measured: Sequence[Start]) -> list[list[str]]:
    """Compare start and memory with KServe's, as differences of medians."""
    rows = []
    for text, key, limit in (
        ("start to ready, s more than KServe", "start_s", _START_EXTRA_S),
        ("memory, MB more than KServe", "memory_mb", _MEMORY_EXTRA_MB),
    ):
        ours, theirs = (
            spread(getattr(start, key) for start in measured if start.contestant == name) for name in ("ours", "kserve")
        )
        if ours is not None and theirs is not None:
            more = ours.middle - theirs.middle
            compared = f"{'+' if more >= 0 else ''}{short(more)} ({ours} against {theirs})"
            rows.append([text, compared, f"≤ {limit:g}", _yes(is_kept=more <= limit)])
    return rows
