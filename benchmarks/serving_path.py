"""The code that serves, which is what a run measures: its commit, its hash, and whether it is still the same."""

from __future__ import annotations

import hashlib
import re
import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

#: All that decides how fast this server is: its code, and the packages beside it.
PATHS = ("model_server", "locks/serve.txt")


def sha256(root: Path) -> str:
    """Hash the serving path of a checkout: names and contents of its files, whatever git knows of them."""
    found = hashlib.sha256()
    files = [*root.glob("model_server/**/*.py"), *root.glob("locks/serve.txt")]
    for path in sorted(files):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        found.update(f"{path.relative_to(root).as_posix()} {content}\n".encode())
    return found.hexdigest()


def commit(root: Path) -> str:
    """Name the commit whose serving path this is; empty where it has changes that are in none, or without git."""
    head = _git(root, "rev-parse", "HEAD").strip()
    changes = _git(root, "status", "--porcelain", "--", *PATHS).strip()
    return head if re.fullmatch(r"[0-9a-f]{40}", head) and not changes else ""


def admission(measured_commit: str, *, is_same: bool) -> str:
    """Say on the page which code was measured, and whether it is the code beside the page.

    >>> admission("", is_same=True)
    'Measured on code that is in no commit; `model_server` and `locks/serve.txt` are still the same.'
    """
    short = measured_commit[:12]
    measured = f"at commit `{short}`" if short else "on code that is in no commit"
    if is_same:
        return f"Measured {measured}; {_paths()} are still the same."
    later = f": `git log --oneline {short}.. -- {' '.join(PATHS)}` lists the commits" if short else ""
    return f"Measured {measured}. {_paths()} have changed since{later}."


def _paths() -> str:
    return " and ".join(f"`{path}`" for path in PATHS)


def _git(root: Path, *words: str) -> str:
    try:
        done = subprocess.run(["git", "-C", str(root), *words], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return ""
    return done.stdout if done.returncode == 0 else ""
