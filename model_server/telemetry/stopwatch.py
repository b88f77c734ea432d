"""A stopwatch on the monotonic clock."""

from __future__ import annotations

import time


class Stopwatch:
    """Seconds since it was made."""

    __slots__ = ("_started",)

    def __init__(self) -> None:
        """Start it."""
        self._started = time.perf_counter()

    @property
    def elapsed_s(self) -> float:
        """Seconds so far."""
        return time.perf_counter() - self._started
