"""A run from its beginning, or from where it was cut off, to its end; knows files and progress, not measuring."""

from __future__ import annotations

import compileall
import datetime as dt
import sys
import tempfile
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import environments, machine, measurements, serving_path
from benchmarks.contestants import ROOT, Served
from benchmarks.measurements import Measurements, Run, Start
from benchmarks.rounds import Bench

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.measurements import Measured
    from benchmarks.plans import Plan

#: Seconds that a cell takes beside what it measures, and a start with its checks.
_CELL_EXTRA_S, _START_S = 0.3, 6.0


def served(registry: Path, model: str) -> Served:
    """Find what is in production.

    Raises:
        SystemExit: Nothing is.
    """
    folder = (registry / model).resolve()
    pointer = folder / "production"
    if not pointer.is_file():
        raise SystemExit(f"bench: no version of {model} is in production in {registry}; train it with 'make train'")
    return Served(registry.resolve(), model, folder / pointer.read_text("utf-8").strip())


def describe(plan: Plan, command: str) -> Run:
    """Say where and how a plan is run, with every contestant's versions."""
    contestants = {one.name: one for part in plan.parts for one in part.contestants}
    return Run(
        plan.name,
        command,
        f"{dt.datetime.now(dt.UTC):%Y-%m-%d}",
        machine.description(),
        serving_path.commit(ROOT),
        serving_path.sha256(ROOT),
        plan.rounds,
        {"warm": plan.warm_s, "measure": plan.measure_s, "tail": plan.tail_s},
        {part.model: [one.name for one in part.contestants] for part in plan.parts},
        {n: environments.versions(environments.python(one.lock), one.packages) for n, one in contestants.items()},
    )


def continued(path: Path, run: Run) -> Measurements:
    """Give what a run that was cut off had measured in whole rounds.

    Raises:
        SystemExit: That was another run: other code, versions, times or models, or another machine.
    """
    before = measurements.load(path)
    if replace(before.run, date=run.date, command=run.command, commit=run.commit, rounds=run.rounds) != run:
        raise SystemExit(f"bench: {path} is of another plan, machine, code or versions; begin anew without --resume")
    whole = before.before(before.rounds)
    return replace(whole, run=replace(before.run, rounds=run.rounds))


@dataclass
class Progress:
    """Says how far a run is, and how long it will take."""

    plan: Plan
    first: int
    write: Callable[[str], None] = lambda text: print(text, file=sys.stderr, flush=True)
    clock: Callable[[], float] = time.monotonic
    _done_s: float = 0.0
    _errors: int = 0
    _begun_s: float = field(init=False)

    def __post_init__(self) -> None:
        self._begun_s = self.clock()

    def add(self, measured: Measured) -> None:
        """Take note of a measurement; the last one of a contestant is told."""
        self._done_s += self._cost_s(type(measured).__name__)
        self._errors += 0 if isinstance(measured, Start) else measured.errors
        if isinstance(measured, Start):
            self.write(self._told(measured))
            self._errors = 0

    def _told(self, start: Start) -> str:
        gone_s = self.clock() - self._begun_s
        left_s = max(0.0, gone_s / self._done_s * (self._whole_s() - self._done_s))
        where = f"round {start.round + 1} of {self.plan.rounds}, {start.model}, {start.contestant}"
        return f"bench: {where}: done, {self._errors} errors; {gone_s / 60:.1f} min gone, {left_s / 60:.1f} left"

    def _cost_s(self, kind: str) -> float:
        plan = self.plan
        cell_s = plan.warm_s + plan.measure_s + _CELL_EXTRA_S
        return {"Record": cell_s, "Start": _START_S, "Tail": plan.tail_s}[kind]

    def _whole_s(self) -> float:
        round_s = 0.0
        for part in self.plan.parts:
            for one in part.contestants:
                spoken = {*one.rows, *one.objects}
                cells = sum(cell.protocol in spoken for cell in part.cells)
                tails = part.has_tails and "echo" not in spoken
                round_s += cells * self._cost_s("Record") + self._cost_s("Start") + tails * self._cost_s("Tail")
        return round_s * (self.plan.rounds - self.first)


def perform(plan: Plan, registry: Path, path: Path, *, command: str, resume: bool = False) -> Measurements:
    """Run a plan; every measurement is in the file as soon as it is known.

    Args:
        plan: What to measure.
        registry: Where the models are.
        path: The file; written over, or continued.
        command: That a reader would run.
        resume: Whether to go on after the last whole round that is in the file.

    Returns:
        All that was measured, also before.

    Raises:
        SystemExit: Something does not come up, answers otherwise, or is not there.
    """
    for code in ("model_server", "benchmarks"):
        # As every installed server has it: none is to be slower to start because its code was never compiled.
        compileall.compile_dir(ROOT / code, quiet=1)
    models = {part.model: served(registry, part.model) for part in plan.parts}
    run = describe(plan, command)
    kept = continued(path, run) if resume and path.is_file() else Measurements(run)
    measurements.save(path, kept)
    progress = Progress(plan, kept.rounds)
    with tempfile.TemporaryDirectory() as folder, path.open("a", encoding="utf-8", buffering=1) as output:
        for measured in Bench(plan, models, machine.cores(), Path(folder)).run(kept.rounds):
            output.write(measurements.line(measured))
            kept.add(measured)
            progress.add(measured)
    return kept
