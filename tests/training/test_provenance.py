"""Provenance: which commit, lock and code; inside a repository, outside one, and where git is absent."""

from __future__ import annotations

import ast
import shutil
import subprocess
from pathlib import Path

import pytest

from training import provenance

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of the packages, in no repository and without locks."""
    for package in ("model_server", "training"):
        shutil.copytree(ROOT / package, tmp_path / "copy" / package, ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path / "copy"


def _told(checkout: Path) -> list[str]:
    told = provenance.here(root=checkout)
    return [told.git_commit, str(told.git_dirty), told.lock_sha256, told.code_sha256]


def _git(checkout: Path, *words: str) -> str:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
    done = subprocess.run(["git", *identity, *words], cwd=checkout, capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_a_repository_gives_its_commit_and_whether_files_differ_from_it(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Untracked files (data, registries) are not changes of the code."""
    _git(checkout, "init", "-q")
    assert _told(checkout)[0] == "unknown"
    _git(checkout, "add", ".")
    _git(checkout, "commit", "-qm", "first")
    commit = _git(checkout, "rev-parse", "HEAD")
    with monkeypatch.context() as without_git:
        without_git.setenv("PATH", "")
        assert _told(checkout)[0] == "unknown"
    (checkout / "mine.csv").write_text("a\n", encoding="utf-8")
    assert _told(checkout)[:2] == [commit, "False"]
    with (checkout / "training" / "__init__.py").open("a", encoding="utf-8") as file:
        file.write("# changed\n")
    assert _told(checkout)[:2] == [commit, "True"]


def test_outside_a_repository_the_commit_is_unknown_and_the_code_still_has_a_hash(checkout: Path) -> None:
    """An image has no .git; what made the model is named all the same."""
    commit, dirty, lock, code = _told(checkout)
    assert (commit, dirty, lock) == ("unknown", "False", "unknown")
    (checkout / "model_server" / "contract.py").write_bytes(
        (checkout / "model_server" / "contract.py").read_bytes() + b"# changed\n"
    )
    (checkout / "locks").mkdir()
    (checkout / "locks" / "train.txt").write_text("numpy==2\n", encoding="utf-8")
    _, _, lock_after, code_after = _told(checkout)
    assert code_after != code
    assert len(lock_after) == 64


def test_a_given_commit_is_recorded_as_clean() -> None:
    """A build that knows its commit says so."""
    told = provenance.here("c0ffee")
    assert (told.git_commit, told.git_dirty) == ("c0ffee", False)


def test_the_hashed_core_is_what_training_uses_of_the_server() -> None:
    """A module that decides what is in a bundle must change the run when it changes."""
    used: set[str] = set()
    for path in (ROOT / "training").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("model_server"):
                names = [alias.name for alias in node.names] if node.module == "model_server" else [node.module]
                used |= {name.removeprefix("model_server.").split(".")[0] for name in names}
    reads_only = {"approval", "sources"}
    assert used - reads_only <= set(provenance.CORE)


def test_every_part_of_the_hashed_core_exists() -> None:
    """A part that was renamed would no longer be hashed, and a change in it no longer be noticed."""
    server = ROOT / "model_server"
    assert [
        name for name in provenance.CORE if not (server / f"{name}.py").exists() and not (server / name).is_dir()
    ] == []
