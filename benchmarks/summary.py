"""The few numbers that a reader wants first, a line a server; knows which cells those are, not their making."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.measurements import Cell
from benchmarks.plans import COLUMNS, NUMBERS
from benchmarks.plot import Bar, Panel
from benchmarks.tables import Spread, compared, short, speed, spread, times

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.measurements import Measurements, Record

TITLES = {
    "ours": "**this server**",
    "kserve": "KServe",
    "mlserver": "MLServer",
    "mlserver batching": "MLServer, batching",
    "bentoml": "BentoML, batching",
    "fastapi": "FastAPI, by hand",
    "echo": "no model, only JSON",
}
#: The JSON of each server, the one that most clients speak first.
_JSON = ("v1", "v2", "own", "echo", "v1 objects", "own objects")
HEAD = [
    "server",
    "one row, 32 at once: requests/s",
    "ours is",
    "one row alone: p50 ms",
    "512 rows, 8 at once: rows/s",
    "mixed columns, 32 at once: requests/s",
    "start s",
    "memory MB",
]


def table(measured: Measurements) -> list[list[str]]:
    """Lay out a line a server, the quickest first; what was not measured stays empty."""
    numbers = _of(measured, NUMBERS)
    names = dict.fromkeys(record.contestant for record in numbers)
    ordered = sorted(names, key=lambda name: -_speed(numbers, name, 1, 32))
    return [HEAD, *(_line(measured, name) for name in ordered)]


def _of(measured: Measurements, model: str) -> list[Record]:
    return [record for record in measured.records if record.model == model]


def _cell(records: Sequence[Record], name: str, rows: int, connections: int) -> Cell | None:
    """Give the cell of that size in a server's plainest JSON."""
    cells = {record.cell for record in records if record.contestant == name}
    fitting = (Cell(protocol, rows, connections) for protocol in _JSON)
    return next((cell for cell in fitting if cell in cells), None)


def _speed(records: Sequence[Record], name: str, rows: int, connections: int) -> float:
    cell = _cell(records, name, rows, connections)
    return speed(records, name, cell) if cell is not None else 0.0


def _line(measured: Measurements, name: str) -> list[str]:
    numbers, columns = _of(measured, NUMBERS), _of(measured, COLUMNS)
    main, alone = _cell(numbers, name, 1, 32), _cell(numbers, name, 1, 1)
    ratio = times(numbers, name, main) if main is not None and name != "ours" else None
    p50 = spread(r.p50_ms for r in numbers if (r.contestant, r.cell) == (name, alone))
    starts = [start for start in measured.starts if (start.model, start.contestant) == (NUMBERS, name)]
    return [
        TITLES.get(name, name),
        _number(_speed(numbers, name, 1, 32)),
        compared(ratio) if ratio else "",
        short(p50.middle) if p50 else "",
        _number(512 * _speed(numbers, name, 512, 8)),
        _number(_speed(columns, name, 1, 32)),
        _middle(spread(start.start_s for start in starts)),
        _middle(spread(start.memory_mb for start in starts)),
    ]


def _number(value: float) -> str:
    return f"{value:,.0f}" if value else ""


def _middle(value: Spread | None) -> str:
    return short(value.middle) if value is not None else ""


def panels(measured: Measurements) -> list[Panel]:
    """Give the bars of the picture: single rows with many at once, and large requests."""
    numbers = _of(measured, NUMBERS)
    return [
        Panel("One row each, 32 at once: requests/s", _bars(numbers, 1, 32)),
        Panel("512 rows each, 8 at once: rows/s", _bars(numbers, 512, 8)),
    ]


def _bars(records: Sequence[Record], rows: int, connections: int) -> list[Bar]:
    bars = []
    for name in dict.fromkeys(record.contestant for record in records):
        cell = _cell(records, name, rows, connections)
        value = spread(rows * r.per_second for r in records if (r.contestant, r.cell) == (name, cell))
        if value is not None:
            kind = {"ours": "ours", "echo": "limit"}.get(name, "peer")
            bars.append(Bar(TITLES.get(name, name).strip("*"), value, kind))
    return sorted(bars, key=lambda bar: -bar.value.middle)
