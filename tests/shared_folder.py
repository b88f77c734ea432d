"""What test processes that run side by side share: the first to come makes it, the rest wait; knows not what it is."""

from __future__ import annotations

import fcntl
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pytest


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """Give a folder that is made once in a run of the tests, whatever the number of its processes.

    Args:
        factory: pytest's own; each process has a folder of its own in the run's.
        name: The folder's name.
        make: Fills the folder it is given; what it does is kept only if it raises nothing.

    Returns:
        The folder, to be read only.
    """
    own = factory.getbasetemp()
    folder = (own.parent if own.name.startswith("popen-") else own) / name
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.is_dir():
            draft = folder.with_suffix(".draft")
            draft.mkdir(exist_ok=True)
            make(draft)
            draft.rename(folder)
    return folder
