"""Releases of the iris model on a cluster: installed, moved between versions, asked; knows Helm, not what is tested."""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from tools import objects
from tools.clients import ask_kubectl
from tools.deploy.rollout import readiness
from tools.deploy.rollout.release import Release
from tools.programs import ProgramError

if TYPE_CHECKING:
    from collections.abc import Iterator

#: The two versions that the tests move between; trained from different seeds, so that they answer differently.
OLD, NEW = "1.0.0", "1.1.0"
#: One replica would do; two show that both are used.
TWO = {"scaling": {"minReplicas": 2}}

#: One flower, as v1 asks for it.
PREDICT = "/v1/models/iris:predict"
BODY = json.dumps({"instances": [[5.1, 3.5, 1.4, 0.2]]}).encode()


@contextmanager
def installed(name: str, namespace: str, mode: str, image: str) -> Iterator[Release]:
    """Serve the old version from the claim as a release of its own, and take it off the cluster afterwards."""
    release = Release(name, namespace, "iris", mode, image)
    try:
        served(release, OLD)
        yield release
    finally:
        release.uninstall()


def served(release: Release, version: str, **further: Any) -> None:
    """Install or upgrade a release to a version, and wait until it answers and no pod of before is left."""
    release.upgrade(release.values(version, **further))
    readiness.wait(release.name, release.namespace)
    if release.mode == "standard":
        objects.wait("the pods of before are gone", lambda: not _stopping(release))


def _stopping(release: Release) -> list[objects.Object]:
    pods = objects.items("v1", "Pod", release.namespace, f"serving.kserve.io/inferenceservice={release.name}")
    return [pod for pod in pods if pod["metadata"].get("deletionTimestamp")]


def set_percentage(release: Release, percent: int | None) -> None:
    """Set the percentage in the InferenceService, as docs/chart.md says; None takes it away."""
    fragment = json.dumps({"spec": {"predictor": {"canaryTrafficPercent": percent}}})
    where = ["-n", release.namespace, release.name, "--type=merge"]
    ask_kubectl("patch", "inferenceservice", *where, "-p", fragment)


def refusal(release: Release, values: dict[str, Any]) -> str:
    """Give Helm's words when it refuses values; fails when it does not."""
    with pytest.raises(ProgramError) as caught:
        release.upgrade(values)
    return str(caught.value)
