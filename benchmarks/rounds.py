"""Rounds: every contestant in turn, each cell for a moment, several times over; knows order and time, not verdicts.

What is compared is compared within a round, so that a slow minute of the machine slows all alike.
"""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from itertools import cycle
from typing import TYPE_CHECKING

from benchmarks import machine, payloads
from benchmarks.contestants import Running
from benchmarks.load import HttpConnection, drive
from benchmarks.rpc import RpcConnection
from benchmarks.tails import Tail, tail

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from benchmarks.contestants import Contestant, Served
    from benchmarks.load import Connection
    from benchmarks.machine import Cores


@dataclass(frozen=True)
class Cell:
    """One thing that is measured.

    Attributes:
        protocol: As ``payloads`` names it; a contestant that speaks it not is left out.
        rows: Rows of each request.
        connections: Requests on their way at any time.
    """

    protocol: str
    rows: int
    connections: int


@dataclass(frozen=True)
class Record:
    """What was measured of one contestant in one cell of one round.

    Attributes:
        round: Number of the round.
        contestant: Its name.
        cell: What was asked.
        per_second: Answered requests a second.
        p50_ms: Median latency.
        p99_ms: Latency that one request in a hundred exceeded.
        cpu_us: Processor time of the server a request, in microseconds; the least noisy of all.
        errors: Requests that were not answered with success.
        speed_ms: Time of a fixed piece of Python on the load's core right before: how noisy the machine was.
    """

    round: int
    contestant: str
    cell: Cell
    per_second: float
    p50_ms: float
    p99_ms: float
    cpu_us: float
    errors: int
    speed_ms: float


@dataclass(frozen=True)
class Start:
    """How long a contestant took to come up, in seconds, and its resident memory after the load, in megabytes."""

    round: int
    contestant: str
    start_s: float
    memory_mb: float


@dataclass(frozen=True)
class Plan:
    """What is measured, for how long.

    Attributes:
        contestants: In the order in which each round takes them.
        cells: Of each contestant, those whose protocol it speaks.
        rounds: How many.
        warm_s: Seconds of load before each measurement.
        measure_s: Seconds of each measurement.
        tail_s: Seconds of small requests beside large ones, of those who speak v1; 0 for none.
    """

    contestants: tuple[Contestant, ...]
    cells: tuple[Cell, ...]
    rounds: int
    warm_s: float
    measure_s: float
    tail_s: float = 0.0


class Bench:
    """Runs a plan against what is served."""

    def __init__(self, plan: Plan, served: Served, cores: Cores, logs: Path) -> None:
        """Bind them.

        Args:
            plan: What to measure.
            served: The model.
            cores: Of the server and of the load.
            logs: Folder for the servers' output.
        """
        self._plan = plan
        self._served = served
        self._cores = cores
        self._logs = logs
        self._table = payloads.table_of(served.bundle, served.model)

    def run(self) -> Iterator[Record | Start | Tail]:
        """Measure everything; each number as it comes."""
        os.sched_setaffinity(0, {self._cores.load})
        for number in range(self._plan.rounds):
            for contestant in self._plan.contestants:
                yield from self._one(number, contestant)

    def _one(self, number: int, contestant: Contestant) -> Iterator[Record | Start | Tail]:
        with Running(contestant, self._served, self._cores.server, self._logs / f"{contestant.name}.log") as running:
            for cell in self._plan.cells:
                if cell.protocol in contestant.protocols:
                    yield self._measured(number, running, cell)
            if self._plan.tail_s and "v1" in contestant.protocols:
                yield tail(number, running, self._table, self._plan.tail_s)
            yield Start(number, contestant.name, running.start_s, machine.memory_mb(running.pid))

    def _measured(self, number: int, running: Running, cell: Cell) -> Record:
        connect_one = connector(running, cell.protocol, payloads.requests(cell.protocol, self._table, cell.rows))
        speed_ms = machine.speed_ms()
        load = drive(
            connect_one,
            cell.connections,
            self._plan.measure_s,
            warm_s=self._plan.warm_s,
            used_s=lambda: machine.cpu_s(running.pid),
        )
        answered = max(1, len(load.latencies_s))
        return Record(
            number,
            running.contestant.name,
            cell,
            round(load.per_second, 1),
            round(load.quantile_ms(0.5), 3),
            round(load.quantile_ms(0.99), 3),
            round(load.server_s / answered * 1e6, 1),
            load.errors,
            round(speed_ms, 2),
        )


def connector(running: Running, protocol: str, requests: Sequence[bytes]) -> Callable[[], Connection]:
    """Give a function that opens a connection of a protocol; all of them take their requests from one source."""
    source = cycle(requests)
    if protocol.startswith("grpc"):
        return lambda: RpcConnection(running.ports.grpc, payloads.GRPC_METHOD, source)
    return lambda: HttpConnection(running.ports.http, source)


def document(record: Record | Start | Tail) -> dict[str, object]:
    """Lay a measurement out as JSON."""
    return {"kind": type(record).__name__.lower(), **asdict(record)}
