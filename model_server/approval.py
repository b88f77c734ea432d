"""Approval: whether a version may be served; knows gates and promotions, not how a registry keeps them on a disk.

A version is approved when its gates passed and the registry that it lies in names it in production, or did so before
without having taken it back. A bundle that lies by itself has no promotion to look at: there its gates alone count.
Anything else is served only where an operator says so in words, with ``allow_unapproved``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from model_server.checks import Check, Status, worst
from model_server.errors import BundleNotApproved, BundleTampered, describe
from model_server.manifest import SemVer, Sha256

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from model_server.bundle import Verified

METRICS = "metrics.json"

Approval = Literal["production", "previous", "unknown", "unapproved", "gates-failed"]

#: What is served without further words.
_SERVED: tuple[Approval, ...] = ("production", "previous", "unknown")
_IN_WORDS = "allow_unapproved: true (--allow_unapproved true, MODEL_SERVER_ALLOW_UNAPPROVED=true)"

# What training writes beside these is none of the server's business.
_READ = ConfigDict(frozen=True, extra="ignore", strict=True)


class Promotion(BaseModel):
    """One line of a registry's history: a version that was put into production, and the digest that it had."""

    model_config = _READ

    action: Literal["promote", "rollback"]
    version: SemVer
    digest: Sha256


@dataclass(frozen=True, slots=True)
class Record:
    """What a registry says of one model's versions.

    Attributes:
        folder: The model's folder in the registry.
        production: The version in production, or None.
        history: Every change of production, oldest first.
    """

    folder: Path
    production: str | None
    history: tuple[Promotion, ...] = ()


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a version may be served.

    Attributes:
        approval: In one word.
        why: What it is, where it is not approved.
        fix: What makes it approved.
    """

    approval: Approval
    why: str = ""
    fix: str = ""

    @property
    def is_served(self) -> bool:
        """Whether it is served without further words."""
        return self.approval in _SERVED


def admit(verified: Verified, record: Record | None, *, allow_unapproved: bool) -> Verdict:
    """Let a version pass that is approved, or for which an operator answers.

    Args:
        verified: The bundle.
        record: What its registry says, or None for a bundle that lies by itself.
        allow_unapproved: Whether an operator said in words that any version may be served.

    Returns:
        The verdict.

    Raises:
        BundleNotApproved: It is not approved, and nobody said that it may be served all the same.
        BundleTampered: Its metrics do not say how the gates ended.
    """
    verdict = judge(verified, record)
    if not verdict.is_served and not allow_unapproved:
        raise BundleNotApproved(
            f"{verified.directory} is not served: {verdict.why}; {verdict.fix}, or say that it is to be served "
            f"all the same: {_IN_WORDS}"
        )
    return verdict


def judge(verified: Verified, record: Record | None) -> Verdict:
    """Hold a version against its gates, then against its registry.

    Raises:
        BundleTampered: Its metrics do not say how the gates ended.
    """
    gates = _gates(verified)
    if worst(gates) is not Status.PASS:
        failed = ", ".join(f"{gate.name}: {gate.status.name}" for gate in gates if gate.status is not Status.PASS)
        why = f"its gates did not pass ({failed})" if failed else "no gate was asked when it was made"
        return Verdict("gates-failed", why, "train a version whose gates pass")
    if record is None:
        return Verdict("unknown")
    return _promoted(verified, record)


def _promoted(verified: Verified, record: Record) -> Verdict:
    version = verified.manifest.version
    if version == record.production:
        return Verdict("production")
    standing = standing_versions((change.action, change.version) for change in record.history)
    if version in standing and any((c.version, c.digest) == (version, verified.digest) for c in record.history):
        return Verdict("previous")
    name, root = record.folder.name, record.folder.parent
    return Verdict(
        "unapproved",
        f"version {version} of {name} is not in production ({record.production or 'nothing'} is)",
        f"promote it with 'python -m training promote {name} {version} --registry {root}'",
    )


def standing_versions(changes: Iterable[tuple[str, str]]) -> list[str]:
    """Say which versions were in production and were not taken back, oldest first; the last one is in production.

    A rollback takes promotions away, so that a second one goes a further step back and not forth again.

    >>> standing_versions([("promote", "1.0.0"), ("promote", "1.1.0"), ("rollback", "1.0.0"), ("promote", "1.2.0")])
    ['1.0.0', '1.2.0']

    Args:
        changes: Action (``promote`` or ``rollback``) and version of each change, oldest first.
    """
    stack: list[str] = []
    for action, version in changes:
        if action == "rollback":
            while stack and stack[-1] != version:
                stack.pop()
        if stack[-1:] != [version]:
            stack.append(version)
    return stack


class _Gate(BaseModel):
    model_config = _READ

    name: str
    status: Literal["PASS", "INCONCLUSIVE", "ERROR", "FAIL"]


class _Gates(BaseModel):
    model_config = _READ

    checks: tuple[_Gate, ...]


class _Metrics(BaseModel):
    model_config = _READ

    gates: _Gates


def _gates(verified: Verified) -> list[Check]:
    try:
        gates = _Metrics.model_validate_json(verified.read(METRICS)).gates.checks
    except ValidationError as error:
        raise BundleTampered(
            f"{METRICS} of {verified.directory} does not say how the gates ended ({describe(error)}): "
            "fetch the bundle again or train it again"
        ) from error
    return [Check(gate.name, Status[gate.status]) for gate in gates]
