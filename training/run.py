"""Run: what the command does with a registry around the training; knows versions and reuse, not the command line."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from model_server import bundle
from model_server.checks import Check, Status, worst
from model_server.errors import BundleExists
from training import config as configs
from training import conversion, data, provenance, publish
from training.errors import GatesFailed
from training.figures import Figures
from training.train import train

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime
    from pathlib import Path

    from model_server.bundle import Verified
    from training.config import TrainConfig
    from training.data import Table
    from training.provenance import Provenance
    from training.registry import Registry
    from training.sections import Onnx


@dataclass(frozen=True, slots=True)
class Order:
    """What is asked of ``run``.

    Attributes:
        path: The configuration file.
        version: A version that replaces the file's, or None.
        bump: Whether a version that is taken by another training gives way to the next free one.
        keep_rejected: Whether a model that fails its gates is written all the same, to be looked at, never promoted.
        onnx: A section whose keys replace the file's, or None.
    """

    path: Path
    version: str | None = None
    bump: bool = False
    keep_rejected: bool = False
    onnx: Onnx | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What ``run`` came to.

    Attributes:
        verified: The bundle.
        checks: The gates' verdicts.
        reused: Whether it was there already.
    """

    verified: Verified
    checks: tuple[Check, ...]
    reused: bool


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a run takes from outside: the registry, the code's origin, a clock, a host name and an ear."""

    registry: Registry
    provenance: Provenance
    clock: Callable[[], datetime]
    host: str
    say: Callable[[str], None]


def run(order: Order, around: Surroundings) -> Outcome:
    """Train a model into the registry, unless the same training is there already.

    Args:
        order: What to train.
        around: Registry, clock and the like.

    Returns:
        The bundle, which is now the candidate.

    Raises:
        TrainingError: The configuration, the table or the model is not good enough.
        BundleExists: The version is taken by a training with other inputs; the text names the next free one.
    """
    started = around.clock()
    config = configs.load(order.path, order.version, order.onnx)
    if config.onnx is not None:
        conversion.require()
    around.say(f"reading the table of {config.name}")
    table = data.load(config, order.path.parent)
    around.say(f"{table.source}: {table.n_rows} rows, {len(config.features)} features, SHA-256 {table.sha256[:12]}…")
    config, existing = _place(config, table, around, bump=order.bump)
    if existing is not None:
        return _reused(config, existing)
    trained, figures = train(config, table, around.say)
    checks = [check.as_check() for check in figures.gates.checks]
    checks += around.registry.relative_checks(config.name, figures)
    passed = worst(checks) is Status.PASS
    if not passed and not order.keep_rejected:
        raise GatesFailed(_failure(config, checks, "nothing was written (--keep-rejected keeps the bundle to look at)"))
    around.say("writing the bundle and asking it its golden rows")
    finished = around.clock()
    directory = around.registry.directory(config.name, config.version)
    facts = {
        "started_at": started.isoformat(timespec="seconds"),
        "finished_at": finished.isoformat(timespec="seconds"),
        "train_duration_s": round((finished - started).total_seconds(), 3),
        "host": around.host,
        "gates": [str(check) for check in checks],
    }
    verified = publish.write(directory, publish.draft(trained, figures, around.provenance), facts)
    if not passed:
        raise GatesFailed(_failure(config, checks, f"kept in {directory}, and it cannot be promoted"))
    around.registry.offer(config.name, config.version)
    return Outcome(verified, tuple(checks), reused=False)


def _reused(config: TrainConfig, existing: Verified) -> Outcome:
    checks = tuple(check.as_check() for check in Figures.from_bytes(existing.read("metrics.json")).gates.checks)
    if worst(checks) is not Status.PASS:
        raise GatesFailed(
            _failure(config, list(checks), f"it was kept in {existing.directory}, and it cannot be promoted")
        )
    return Outcome(existing, checks, reused=True)


def _place(
    config: TrainConfig, table: Table, around: Surroundings, *, bump: bool
) -> tuple[TrainConfig, Verified | None]:
    while (directory := around.registry.directory(config.name, config.version)).exists():
        existing = bundle.verify(directory)
        if existing.manifest.lineage.run_id == provenance.run_id(around.provenance, config.sha256, table.sha256):
            return config, existing
        free = around.registry.next_version(config.name, config.version)
        if not bump:
            raise BundleExists(
                f"{config.name} {config.version} exists and was made from another configuration, table or code; a "
                f"bundle is never changed: give the new one its own version, for example the next free one "
                f"(--version {free}, or --bump)"
            )
        config = config.model_copy(update={"version": _following(config.version)})
    return config, None


def _following(version: str) -> str:
    major, minor, patch = version.split("-", 1)[0].split(".")
    return f"{major}.{minor}.{int(patch) + 1}"


def _failure(config: TrainConfig, checks: list[Check], ending: str) -> str:
    failed = "; ".join(str(check) for check in checks if check.status is not Status.PASS)
    return f"{config.name} {config.version} is not good enough: {' '.join(failed.split())}; {ending}"
