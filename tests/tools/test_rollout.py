"""The parts of a rollout that need no cluster: which shares are taken, how the reported ones read, and the commands."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tools.deploy.rollout import traffic
from tools.errors import ClusterError

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.mark.parametrize("given", [None, -1, 101])
def test_a_share_that_is_no_percentage_is_refused(given: int | None) -> None:
    """The text says what to give instead."""
    with pytest.raises(ClusterError, match="give a share from 0 to 100, such as PERCENT=10"):
        traffic.percentage(given)


@pytest.mark.parametrize("given", [0, 10, 100])
def test_nothing_and_everything_are_shares(given: int) -> None:
    """They are what `rollback` and `promote` give."""
    assert traffic.percentage(given) == given


def test_a_revision_without_a_share_gets_nothing() -> None:
    """Knative leaves the zero out."""
    reported = [{"revisionName": "iris-00001", "percent": 100}, {"revisionName": "iris-00002", "latestRevision": True}]
    found = {"status": {"components": {"predictor": {"traffic": reported}}}}

    assert traffic.shares(found) == [traffic.Share("iris-00001", 100), traffic.Share("iris-00002", 0)]


def test_a_release_that_reports_nothing_has_no_shares() -> None:
    """In Standard mode there are none."""
    assert traffic.shares({}) == []


def deploy(*words: str) -> subprocess.CompletedProcess[str]:
    """Run a command of a deployment where there is no cluster."""
    command = [sys.executable, "-m", "tools.deploy", *words]
    environment = {**os.environ, "KUBECONFIG": os.devnull}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


def test_a_canary_without_a_share_ends_before_it_asks_a_cluster() -> None:
    """The command says what it misses, and there is no cluster here that it could ask."""
    done = deploy("canary", "--mode", "knative", "--percent", "-1")

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "canary: give a share from 0 to 100, such as PERCENT=10\n"


@pytest.mark.parametrize("command", [["smoke"], ["canary", "--percent", "10"], ["promote"], ["rollback"]], ids=" ".join)
def test_a_command_without_a_cluster_says_so(command: list[str]) -> None:
    """One line says it, with the way to a cluster."""
    done = deploy(*command)

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"{command[0]}: the kubeconfig names no cluster (")
    assert done.stderr.endswith("`make cluster-up` makes one\n")
