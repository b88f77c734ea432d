"""The machine that is measured on: cores, processes, their time and memory; knows nothing of servers.

The server has one core for itself and the load another, so that neither takes time from the other.
"""

from __future__ import annotations

import os
import platform
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_TICKS = os.sysconf("SC_CLK_TCK")
_PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class Cores:
    """Which core serves and which one asks."""

    server: int
    load: int


def cores() -> Cores:
    """Choose the first two cores that this process may use.

    Raises:
        SystemExit: There is only one.
    """
    allowed = sorted(os.sched_getaffinity(0))
    if len(allowed) < 2:
        raise SystemExit("bench: two cores are needed, one for the server and one for the load")
    return Cores(allowed[0], allowed[1])


def tree(pid: int) -> list[int]:
    """List a process and everything that it started."""
    found = [pid]
    for parent in found:
        for path in _PROC.glob(f"{parent}/task/*/children"):
            found += [int(word) for word in _read(path).split()]
    return found


def alive(pids: Iterable[int], seconds: float) -> list[int]:
    """Wait for processes to end; give those that did not."""
    end_s = time.monotonic() + seconds
    left = list(pids)
    while (left := [pid for pid in left if _is_alive(pid)]) and time.monotonic() < end_s:
        time.sleep(0.02)
    return left


def _is_alive(pid: int) -> bool:
    """Say whether there is a process that has not ended; one whose parent did not look yet has."""
    state = _read(_PROC / str(pid) / "stat").rpartition(")")[2].split()[:1]
    return bool(state) and state[0] not in {"Z", "X"}


def cpu_s(pid: int) -> float:
    """Seconds of processor time of a process and everything that it started, so far."""
    total = 0
    for one in tree(pid):
        fields = _read(_PROC / str(one) / "stat").rpartition(")")[2].split()
        total += sum(map(int, fields[11:13])) if fields else 0
    return total / _TICKS


def memory_mb(pid: int) -> float:
    """Resident memory of a process and everything that it started, in megabytes of 10**6 bytes."""
    lines = [line for one in tree(pid) for line in _read(_PROC / str(one) / "status").splitlines()]
    return sum(int(line.split()[1]) for line in lines if line.startswith("VmRSS:")) * 1024 / 1e6


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError:  # it ended meanwhile
        return ""


def speed_ms() -> float:
    """Time a fixed piece of Python, best of three, in milliseconds: how fast this core is at this moment."""
    best = float("inf")
    for _ in range(3):
        started = time.perf_counter()
        sum(number * number for number in range(200_000))
        best = min(best, time.perf_counter() - started)
    return best * 1000


def description() -> str:
    """Name processor, number of cores, system and Python."""
    models = [line.split(":", 1)[1].strip() for line in _read(_PROC / "cpuinfo").splitlines() if "model name" in line]
    processor = models[0] if models else platform.machine()
    python = f"Python {platform.python_version()}"
    return f"{processor}, {os.cpu_count()} cores, Linux {platform.release()}, {python}"
