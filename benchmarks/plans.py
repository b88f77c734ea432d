"""What is measured of whom, for how long: the short plan, the full one, what they leave out; knows no processes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.contestants import FULL, QUICK
from benchmarks.measurements import Cell

if TYPE_CHECKING:
    from benchmarks.contestants import Contestant

NUMBERS, COLUMNS = "breast-cancer", "churn"


@dataclass(frozen=True)
class Part:
    """What is measured with one model.

    Attributes:
        model: Its name in the registry.
        contestants: In the order in which each round takes them.
        cells: Of each contestant, those whose protocol it speaks.
        has_tails: Whether small requests are timed beside large ones.
    """

    model: str
    contestants: tuple[Contestant, ...]
    cells: tuple[Cell, ...]
    has_tails: bool = False


@dataclass(frozen=True)
class Plan:
    """Everything that is measured, for how long.

    Attributes:
        name: Its command.
        parts: One a model; a round goes through all of them.
        rounds: How many.
        warm_s: Seconds of load before each measurement.
        measure_s: Seconds of each measurement.
        tail_s: Seconds of small requests beside large ones.
    """

    name: str
    parts: tuple[Part, ...]
    rounds: int
    warm_s: float
    measure_s: float
    tail_s: float


def _cells(protocols: tuple[str, ...], *sizes: tuple[int, int]) -> tuple[Cell, ...]:
    return tuple(Cell(protocol, *size) for size in sizes for protocol in protocols)


_JSON, _REST = ("v1", "v2", "own", "echo"), ("v2 binary", "grpc")
_NAMED = ("v1 objects", "own objects")
_ONE_ROW = ((1, 1), (1, 32), (1, 256))

_QUICK_CELLS = (
    *_cells(("v1", "echo"), *_ONE_ROW),
    *_cells(("v2", *_REST), (1, 32)),
    *_cells(("v1", "v2", "echo", *_REST), (512, 8)),
)
_FULL_CELLS = (
    *_cells(_JSON, *_ONE_ROW, (32, 1), (32, 32), (32, 256), (512, 1), (512, 8)),
    *_cells(_REST, *_ONE_ROW, (32, 32), (512, 8)),
    *_cells(("grpc raw",), (1, 32), (512, 8)),
)
_CHURN_CELLS = (*_cells(_NAMED, *_ONE_ROW, (32, 32)), *_cells(("v2", *_REST), (1, 32), (32, 32)))

#: What nobody is asked.
LEFT_OUT = (
    ("512 rows, 256 at once", "131,072 rows on their way: seconds of waiting for everybody, and the same order"),
    (
        "512 rows of mixed columns",
        "KServe and the tutorial make a table of objects for each request, which takes them long",
    ),
)


def quick(model: str) -> Plan:
    """Two minutes: ours, KServe and the echo."""
    return Plan("quick", (Part(model, QUICK, _QUICK_CELLS, has_tails=True),), 3, 0.25, 0.6, 4.0)


def full() -> Plan:
    """Everybody, with a model of numbers and one of mixed columns."""
    numbers = Part(NUMBERS, FULL, _FULL_CELLS, has_tails=True)
    columns = Part(COLUMNS, tuple(one for one in FULL if one.objects), _CHURN_CELLS)
    return Plan("full", (numbers, columns), 5, 0.3, 0.6, 4.0)
