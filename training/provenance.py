"""Provenance: which code, which commit and which lock made a model; knows this installation, not any model."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from model_server.manifest import canonical_json, digest_of, installed_libraries

#: Modules of the server whose code decides what is in a bundle; its edge and its settings have no part in that.
CORE = (
    "admission",
    "bundle",
    "checks",
    "columns",
    "compiled",
    "contract",
    "errors",
    "feature",
    "frame",
    "manifest",
    "monitoring",
    "onnx",
    "output",
    "parity",
    "predictor",
)
_ROOT = Path(__file__).resolve().parent.parent
_LOCKS = ("locks/train.txt", "locks/dev.txt", "uv.lock")


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where the code of a training comes from.

    Attributes:
        git_commit: Commit of the checkout, or ``unknown`` outside one.
        git_dirty: Whether tracked files differ from that commit.
        lock_sha256: Hash of the dependency lock, or ``unknown`` where there is none (an installed package).
        code_sha256: Hash of the sources that make a bundle, whatever the commit.
        libraries: Versions of Python and of the libraries a pipeline depends on.
    """

    git_commit: str
    git_dirty: bool
    lock_sha256: str
    code_sha256: str
    libraries: dict[str, str]


def here(git_commit: str | None = None, root: Path = _ROOT) -> Provenance:
    """Look at this installation.

    Args:
        git_commit: The commit to record where the repository itself is absent, for example in an image; None asks git.
        root: Folder that holds the packages, and the repository if there is one.

    Returns:
        The provenance.
    """
    commit, dirty = (git_commit, False) if git_commit else _git_state(root)
    return Provenance(commit, dirty, _lock(root), _code(root), installed_libraries())


def run_id(provenance: Provenance, config_sha256: str, dataset_sha256: str) -> str:
    """Name a training by its inputs: equal configuration, data, code and libraries share it.

    Returns:
        16 hex digits.
    """
    inputs = [config_sha256, dataset_sha256, provenance.code_sha256, provenance.lock_sha256, provenance.libraries]
    return digest_of(canonical_json(inputs))[:16]


def _git_state(root: Path) -> tuple[str, bool]:
    commit = _git(root, "rev-parse", "HEAD")
    if not commit:
        return "unknown", False
    return commit, bool(_git(root, "status", "--porcelain", "--untracked-files=no"))


def _git(root: Path, *arguments: str) -> str:
    git = shutil.which("git")
    if git is None or not (root / ".git").exists():
        return ""
    command = [git, "-C", str(root), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own words, no shell
    return done.stdout.strip() if done.returncode == 0 else ""


def _lock(root: Path) -> str:
    found = next((root / name for name in _LOCKS if (root / name).is_file()), None)
    return digest_of(found.read_bytes()) if found else "unknown"


def _code(root: Path) -> str:
    digest = hashlib.sha256()
    server = root / "model_server"
    core = [path for name in CORE for path in (*server.glob(f"{name}.py"), *(server / name).glob("*.py"))]
    for path in sorted([*core, *(root / "training").rglob("*.py")]):
        digest.update(f"{path.relative_to(root).as_posix()}\0".encode() + path.read_bytes() + b"\0")
    return digest.hexdigest()
