"""An environment for each server that is compared with, made once from its lock; knows installing, not measuring.

They lie in the user's cache, in folders named after what they hold, so another lock is another folder.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tools import environment, gotools

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_LOCKS = Path(__file__).resolve().parent.parent / "locks"
_ASK = "import importlib.metadata as m, json, sys; print(json.dumps({p: m.version(p) for p in sys.argv[1:]}))"


def cache(variables: Mapping[str, str] = os.environ) -> Path:
    """Give the folder that outlives the checkout.

    >>> str(cache({"XDG_CACHE_HOME": "/var/cache"}))
    '/var/cache/model-server/bench'
    """
    return gotools.cache(variables, "bench")


def folder(lock: str) -> Path:
    """Say where the environment of a lock lies, made or not; another Python makes it another one."""
    held = _LOCKS.joinpath(f"{lock}.txt").read_bytes() + sys.version.encode()
    return cache() / f"{lock}-{hashlib.sha256(held).hexdigest()[:12]}"


def python(lock: str) -> str:
    """Give the interpreter of a lock's environment; without a lock, the checkout's own.

    Raises:
        SystemExit: The environment is not there.
    """
    if not lock:
        return sys.executable
    if not folder(lock).joinpath("done").is_file():
        raise SystemExit(
            f"bench: there is no environment from locks/{lock}.txt; make it with 'make bench-environments'"
        )
    return str(folder(lock) / "bin" / "python")


def make(lock: str) -> None:
    """Make the environment of a lock, unless it is there.

    Raises:
        environment.SetupError: It cannot be made here.
    """
    target = folder(lock)
    if target.joinpath("done").is_file():
        return
    print(f"bench: {target} from locks/{lock}.txt", flush=True)
    target.parent.mkdir(parents=True, exist_ok=True)
    environment.create(target)
    uv, variables = environment.uv_for(target)
    words: list[str | Path] = [
        "pip",
        "sync",
        "--quiet",
        "--require-hashes",
        "--compile-bytecode",
        _LOCKS / f"{lock}.txt",
    ]
    environment.run(uv, *words, **variables, VIRTUAL_ENV=str(target))
    target.joinpath("done").touch()


def versions(interpreter: str, packages: Sequence[str]) -> dict[str, str]:
    """Ask an environment for the versions of some packages."""
    answer = subprocess.run([interpreter, "-c", _ASK, *packages], check=True, capture_output=True, text=True)
    found: dict[str, str] = json.loads(answer.stdout)
    return found
