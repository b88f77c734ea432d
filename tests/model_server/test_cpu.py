"""CPU limits: what cgroups and affinity allow, and that thread pools keep to it."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import orjson
import pytest

from model_server.cpu import cpu_limit

if TYPE_CHECKING:
    from pathlib import Path

ALLOWED = len(os.sched_getaffinity(0))

# In a process of its own: the pools of this one are shared with the servers of other tests.
LIMITED = """
import json, sklearn.ensemble
from threadpoolctl import threadpool_info
from model_server.cpu import limit_threads
limit_threads(1)
print(json.dumps({pool["internal_api"]: pool["num_threads"] for pool in threadpool_info()}))
"""


def v1(folder: Path, quota: str, period: str) -> None:
    """Write the files of cgroup v1."""
    (folder / "cpu").mkdir()
    (folder / "cpu" / "cpu.cfs_quota_us").write_text(quota, encoding="ascii")
    (folder / "cpu" / "cpu.cfs_period_us").write_text(period, encoding="ascii")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("10000 100000\n", 1),
        ("100000 100000\n", 1),
        ("150000 100000\n", min(2, ALLOWED)),
        ("6400000 100000\n", ALLOWED),
        ("max 100000\n", ALLOWED),
        ("", ALLOWED),
    ],
    ids=["a tenth", "one", "one and a half", "64", "no limit", "empty"],
)
def test_a_quota_of_cgroup_v2_is_rounded_up(text: str, expected: int, tmp_path: Path) -> None:
    """A pod with 1.5 CPUs keeps two threads busy; one with a tenth still needs one."""
    (tmp_path / "cpu.max").write_text(text, encoding="ascii")

    assert cpu_limit(tmp_path) == expected


@pytest.mark.parametrize(("quota", "expected"), [("50000\n", 1), ("150000\n", min(2, ALLOWED)), ("-1\n", ALLOWED)])
def test_a_quota_of_cgroup_v1_counts_too(quota: str, expected: int, tmp_path: Path) -> None:
    """There, minus one means that there is no limit."""
    v1(tmp_path, quota, "100000\n")

    assert cpu_limit(tmp_path) == expected


def test_without_cgroups_the_affinity_counts(tmp_path: Path) -> None:
    """A developer's machine has no quota, and still fewer processors for us than it has."""
    assert cpu_limit(tmp_path) == ALLOWED


def test_a_quota_of_v1_without_its_period_is_none(tmp_path: Path) -> None:
    """Half a description says nothing."""
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text("50000", encoding="ascii")

    assert cpu_limit(tmp_path) == ALLOWED


def test_this_machine_has_a_limit() -> None:
    """Whatever it is, one thread may run."""
    assert 1 <= cpu_limit() <= ALLOWED


def test_thread_pools_keep_to_the_limit() -> None:
    """Without it each pool starts a thread a core of the node, and they fight for the pod's share."""
    done = subprocess.run([sys.executable, "-c", LIMITED], capture_output=True, check=True, text=True, timeout=60)

    counts = orjson.loads(done.stdout)
    assert {"openblas", "openmp"} <= counts.keys()
    assert set(counts.values()) == {1}
