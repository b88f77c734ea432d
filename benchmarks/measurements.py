"""What is measured and how it is written down: one JSON object a line; knows no servers and judges nothing.

A line is on disk as soon as it is known, so that a run that was cut off can be reported, or continued.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path


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
        model: What was served.
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
    model: str
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
    """How a contestant came up; the last thing that is written of it in a round.

    Attributes:
        round: Number of the round.
        model: What was served.
        contestant: Its name.
        start_s: Seconds from its command to its first good answer.
        memory_mb: Resident memory after the load, in megabytes, with all that it started.
        difference: Largest difference of its probabilities to the pipeline's, seen before anything was measured.
    """

    round: int
    model: str
    contestant: str
    start_s: float
    memory_mb: float
    difference: float


@dataclass(frozen=True)
class Tail:
    """Latencies beside large requests.

    Attributes:
        round: Number of the round.
        model: What was served.
        contestant: Whose.
        one_p99_ms: Of one row, the 99th percentile.
        live_p99_ms: Of the probe for liveness.
        large_per_second: Large requests answered meanwhile.
        errors: Requests that were not answered with success, of all three kinds.
    """

    round: int
    model: str
    contestant: str
    one_p99_ms: float
    live_p99_ms: float
    large_per_second: float
    errors: int


@dataclass(frozen=True)
class Run:
    """Where and how a run was made.

    Attributes:
        plan: Its name.
        command: That begins it again.
        date: Of its beginning, in UTC.
        machine: Processor, cores, system and Python.
        commit: Whose serving path was measured; empty when it had changes that were in none.
        serving_sha256: Hash of that serving path.
        rounds: How many were asked for.
        seconds: Seconds of each measurement: ``warm``, ``measure`` and ``tail``.
        models: Who serves each model, in order.
        contestants: Versions by contestant and package.
    """

    plan: str
    command: str
    date: str
    machine: str
    commit: str
    serving_sha256: str
    rounds: int
    seconds: dict[str, float]
    models: dict[str, list[str]]
    contestants: dict[str, dict[str, str]]


Measured = Record | Start | Tail


@dataclass(frozen=True)
class Measurements:
    """Everything of a run."""

    run: Run
    records: list[Record] = field(default_factory=list)
    starts: list[Start] = field(default_factory=list)
    tails: list[Tail] = field(default_factory=list)

    def add(self, measured: Measured) -> None:
        """Put a measurement where it belongs."""
        kept: dict[type, list[Any]] = {Record: self.records, Start: self.starts, Tail: self.tails}
        kept[type(measured)].append(measured)

    def before(self, number: int) -> Measurements:
        """Give what the rounds before one measured."""
        return Measurements(
            self.run,
            [record for record in self.records if record.round < number],
            [start for start in self.starts if start.round < number],
            [tail for tail in self.tails if tail.round < number],
        )

    @property
    def rounds(self) -> int:
        """How many rounds came to their end: in which every contestant did."""
        ended = Counter((start.model, start.contestant) for start in self.starts)
        return min((ended[model, name] for model, names in self.run.models.items() for name in names), default=0)


def line(measured: Measured | Run) -> str:
    """Write something as a line."""
    return json.dumps({"kind": type(measured).__name__.lower(), **asdict(measured)}) + "\n"


def load(path: Path) -> Measurements:
    """Read the file of a run, whole or cut off.

    Raises:
        ValueError: It does not begin with a run.
    """
    found: Measurements | None = None
    for text in path.read_text("utf-8").splitlines(keepends=True):
        # What was being written when the run was ended is no measurement.
        if not text.endswith("\n"):
            break
        read = json.loads(text)
        kind = read.pop("kind")
        if kind == "run":
            found = Measurements(Run(**read))
        elif found is not None:
            found.add(_measured(kind, read))
    if found is None:
        raise ValueError(f"{path} does not begin with a run; make one with 'make bench'")
    return found


def _measured(kind: str, read: dict[str, Any]) -> Measured:
    if kind == "record":
        return Record(**{**read, "cell": Cell(**read["cell"])})
    return Start(**read) if kind == "start" else Tail(**read)


def save(path: Path, measurements: Measurements) -> None:
    """Write a file anew."""
    kept: list[Measured] = [*measurements.records, *measurements.tails, *measurements.starts]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(map(line, [measurements.run, *kept])), "utf-8")
