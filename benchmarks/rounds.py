"""Rounds: every contestant in turn, each cell for a moment, several times over; knows order and time, not verdicts.

What is compared is compared within a round, so that a slow minute of the machine slows all alike. Before a server is
measured, its answers are compared with the pipeline's.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from itertools import cycle
from typing import TYPE_CHECKING

from benchmarks import answers, machine, payloads
from benchmarks.load import HttpConnection, drive
from benchmarks.measurements import Cell, Record, Start
from benchmarks.rpc import RpcConnection
from benchmarks.running import Running
from benchmarks.tails import LARGE_ROWS, tail

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from benchmarks.contestants import Contestant, Served
    from benchmarks.load import Connection
    from benchmarks.machine import Cores
    from benchmarks.measurements import Measured
    from benchmarks.payloads import Table
    from benchmarks.plans import Part, Plan


@dataclass(frozen=True)
class Turn:
    """One contestant's turn: in which round, with which model, and what it is asked."""

    round: int
    contestant: Contestant
    served: Served
    table: Table
    cells: tuple[Cell, ...]
    tail_s: float


class Bench:
    """Runs a plan against what is served."""

    def __init__(self, plan: Plan, served: Mapping[str, Served], cores: Cores, folder: Path) -> None:
        """Bind them.

        Args:
            plan: What to measure.
            served: The models, by name.
            cores: Of the server and of the load.
            folder: For the servers' files and output.
        """
        self._plan = plan
        self._served = served
        self._cores = cores
        self._folder = folder

    def run(self, first: int = 0) -> Iterator[Measured]:
        """Measure everything, from a round on; each number as it comes.

        Raises:
            SystemExit: A contestant does not come up, or does not answer what the pipeline does.
        """
        os.sched_setaffinity(0, {self._cores.load})
        for number in range(first, self._plan.rounds):
            for part in self._plan.parts:
                for turn in self._turns(number, part):
                    yield from self._one(turn)

    def _turns(self, number: int, part: Part) -> Iterator[Turn]:
        served = self._served[part.model]
        table = payloads.table_of(served.bundle, part.model)
        tail_s = self._plan.tail_s if part.has_tails else 0.0
        for contestant in part.contestants:
            spoken = contestant.protocols(numeric=table.is_numeric)
            cells = tuple(cell for cell in part.cells if cell.protocol in spoken)
            yield Turn(number, contestant, served, table, cells, 0.0 if "echo" in spoken else tail_s)

    def _one(self, turn: Turn) -> Iterator[Measured]:
        folder = self._folder / f"{turn.served.model} {turn.contestant.name}"
        folder.mkdir(exist_ok=True)
        with Running(turn.contestant, turn.served, self._cores.server, folder) as running:
            difference = _checked(turn, running)
            for cell in turn.cells:
                yield self._measured(turn, running, cell)
            if turn.tail_s:
                yield tail(turn.round, running, turn.table, turn.tail_s)
            memory_mb = round(machine.memory_mb(running.pid), 1)
        names = turn.served.model, turn.contestant.name
        yield Start(turn.round, *names, round(running.start_s, 3), memory_mb, difference)

    def _measured(self, turn: Turn, running: Running, cell: Cell) -> Record:
        connect_one = connector(running, cell.protocol, payloads.requests(cell.protocol, turn.table, cell.rows))
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
            turn.round,
            turn.served.model,
            turn.contestant.name,
            cell,
            round(load.per_second, 1),
            round(load.quantile_ms(0.5), 3),
            round(load.quantile_ms(0.99), 3),
            round(load.server_s / answered * 1e6, 1),
            load.errors,
            round(speed_ms, 2),
        )


def _checked(turn: Turn, running: Running) -> float:
    """Compare answers to each kind of request that will be measured; give the largest difference."""
    asked = dict.fromkeys((cell.protocol, cell.rows) for cell in turn.cells)
    if turn.tail_s:
        asked[(turn.contestant.protocols(numeric=turn.table.is_numeric)[0], LARGE_ROWS)] = None
    try:
        return answers.check(running.ports, turn.table, asked)
    except answers.Differs as error:
        text = f"bench: {turn.contestant.name}: {error}; servers that answer differently are not compared"
        raise SystemExit(text) from error


def connector(running: Running, protocol: str, requests: Sequence[bytes]) -> Callable[[], Connection]:
    """Give a function that opens a connection of a protocol; all of them take their requests from one source."""
    source = cycle(requests)
    if protocol.startswith("grpc"):
        return lambda: RpcConnection(running.ports.grpc, payloads.GRPC_METHOD, source)
    return lambda: HttpConnection(running.ports.http, source)
