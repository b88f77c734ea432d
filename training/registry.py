"""The local registry, written: versions, pointers and their history; knows folders and approval, not training.

``<root>/<name>/<version>/`` holds a bundle, ``<root>/<name>/production`` and ``candidate`` hold a version each, and
``<root>/<name>/history.jsonl`` has one line a change of production; ``<root>/policy.yaml`` says whose name that needs.
Pointers are replaced whole, so a reader sees the old or the new version and nothing between.
"""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import orjson
from pydantic import BaseModel, ConfigDict

from model_server import bundle
from model_server.approval import standing_versions
from model_server.checks import Check, Status, worst
from model_server.errors import BundleIncompatible, BundleNotFound
from model_server.sources import local
from training import gates, policy
from training.errors import NotApproved
from training.figures import Figures
from training.publish import check_answers

if TYPE_CHECKING:
    from datetime import datetime

    from model_server.bundle import Verified


class Change(BaseModel):
    """One change of what is in production.

    Attributes:
        time: When, ISO 8601.
        action: ``promote`` or ``rollback``.
        version: What is in production since.
        previous: What was before, if anything.
        digest: SHA-256 of the manifest that was put into production.
        who: Who decided.
        why: In their words.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    time: str
    action: Literal["promote", "rollback"]
    version: str
    previous: str | None
    digest: str
    who: str
    why: str = ""


@dataclass(frozen=True, slots=True)
class Approval:
    """Who changes production, when, and why.

    Attributes:
        who: The name that was given, or empty.
        when: Now.
        why: In their words.
        account: The account that the process runs under; who decides where no name is given and none is wanted.
    """

    who: str
    when: datetime
    why: str = ""
    account: str = ""


@dataclass(frozen=True, slots=True)
class Registry:
    """A folder of models."""

    root: Path

    def models(self) -> list[str]:
        """List the models, by name."""
        return local.models(self.root)

    def versions(self, name: str) -> list[str]:
        """List the versions of a model, oldest first."""
        return local.versions(self.root / name)

    def directory(self, name: str, version: str) -> Path:
        """Say where a version lies, or would lie."""
        return self.root / name / version

    def production(self, name: str) -> str | None:
        """Read which version is in production."""
        return local.read_pointer(self.root / name, local.PRODUCTION)

    def candidate(self, name: str) -> str | None:
        """Read which version passed its gates last."""
        return local.read_pointer(self.root / name, local.CANDIDATE)

    def history(self, name: str) -> list[Change]:
        """Read the changes of production, oldest first."""
        try:
            lines = (self.root / name / local.HISTORY).read_text(encoding="utf-8").splitlines()
        except OSError:
            return []
        return [Change.model_validate_json(line) for line in lines if line.strip()]

    def next_version(self, name: str, version: str) -> str:
        """Find the next patch version that is free, from a version that is taken."""
        major, minor, patch = (int(part) for part in version.split("-", 1)[0].split("."))
        while self.directory(name, f"{major}.{minor}.{patch}").exists():
            patch += 1
        return f"{major}.{minor}.{patch}"

    def open(self, name: str, version: str) -> tuple[Verified, Figures]:
        """Verify a version and read its figures.

        Raises:
            BundleError: There is no such version, or it is not what its manifest says.
        """
        directory = local.resolve(self.root, name, version)
        verified = bundle.verify(directory)
        held = (verified.manifest.name, verified.manifest.version)
        if held != (name, version):
            raise BundleIncompatible(f"{directory} holds {held[0]} {held[1]}: the folder's name must be the manifest's")
        return verified, Figures.from_bytes(verified.read("metrics.json"))

    def relative_checks(self, name: str, figures: Figures) -> list[Check]:
        """Hold figures against the version in production; no check when nothing is."""
        approved = self.production(name)
        if approved is None:
            return []
        return [gates.relative(figures, self.open(name, approved)[1], approved)]

    def offer(self, name: str, version: str) -> None:
        """Make a version the candidate."""
        _replace(self.root / name / local.CANDIDATE, version)

    def approver(self, approval: Approval) -> str:
        """Say who a change of production is written down for.

        Raises:
            NotApproved: The registry's policy wants a person, and none was named.
            BadConfig: The policy is not valid.
        """
        return policy.load(self.root).approver_of(approval.who, approval.account)

    def promote(self, name: str, version: str, approval: Approval) -> Change | None:
        """Put a version into production.

        Args:
            name: The model.
            version: The version.
            approval: Who decides, when and why.

        Returns:
            The change; None when the version is in production already.

        Raises:
            BundleError: The version is absent, changed or cannot be opened here.
            NotApproved: Its gates failed, it is worse than what is in production, or the policy wants a named person.
            BadConfig: The policy is not valid.
        """
        who = self.approver(approval)
        verified, figures = self.open(name, version)
        before = self.production(name)
        if before == version:
            return None
        checks = [check.as_check() for check in figures.gates.checks] + self.relative_checks(name, figures)
        if worst(checks) is not Status.PASS:
            failed = "; ".join(str(check) for check in checks if check.status is not Status.PASS) or "no gate was asked"
            raise NotApproved(f"{name} {version} is not promoted, {before or 'nothing'} stays in production: {failed}")
        check_answers(bundle.open_bundle(verified))
        return self._change("promote", verified, before, replace(approval, who=who))

    def rollback(self, name: str, approval: Approval) -> Change:
        """Put the version that was in production before back.

        Args:
            name: The model.
            approval: Who decides, when and why.

        Returns:
            The change.

        Raises:
            NotApproved: There was no version before, or the policy wants a named person.
            BadConfig: The policy is not valid.
            BundleError: That version is absent, changed or cannot be opened here; production stays as it is.
        """
        who = self.approver(approval)
        current = self.production(name)
        standing = standing_versions((change.action, change.version) for change in self.history(name))
        earlier = standing[:-1] if standing and standing[-1] == current else standing
        if not earlier:
            raise NotApproved(
                f"{name} has no earlier production version to go back to: production is {current or 'empty'}; "
                f"versions are {', '.join(self.versions(name)) or 'none'}"
            )
        verified, _ = self.open(name, earlier[-1])
        check_answers(bundle.open_bundle(verified))
        return self._change("rollback", verified, current, replace(approval, who=who))

    def _change(
        self, action: Literal["promote", "rollback"], verified: Verified, before: str | None, by: Approval
    ) -> Change:
        manifest = verified.manifest
        change = Change(
            time=by.when.isoformat(timespec="seconds"),
            action=action,
            version=manifest.version,
            previous=before,
            digest=verified.digest,
            who=by.who,
            why=by.why,
        )
        # History first: a line too many is harmless, a change that nobody wrote down is not.
        _append(self.root / manifest.name / local.HISTORY, change.model_dump(mode="json"))
        _replace(self.root / manifest.name / local.PRODUCTION, manifest.version)
        return change


def _replace(path: Path, version: str) -> None:
    if not path.parent.is_dir():
        raise BundleNotFound(f"there is no model folder {path.parent}")
    handle, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(version + "\n")
    Path(name).chmod(0o644)
    Path(name).replace(path)


def _append(path: Path, line: dict[str, Any]) -> None:
    with path.open("ab") as file:
        file.write(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))
