"""The chart on a real cluster in Knative mode: replicas, from none and back, and what the autoscaler is told."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from tests.e2e.knative.revisions import revisions
from tests.e2e.load import Load
from tests.e2e.releases import BODY, OLD, PREDICT, served
from tools import objects

if TYPE_CHECKING:
    from tools.deploy.rollout.address import Address
    from tools.deploy.rollout.release import Release


pytestmark = pytest.mark.e2e


def pods(release: Release) -> list[objects.Object]:
    """List the predictor's pods."""
    return objects.items("v1", "Pod", release.namespace, f"serving.kserve.io/inferenceservice={release.name}")


def test_it_scales_to_zero_and_back(release: Release, address: Address, measured: dict[str, object]) -> None:
    """Without requests no pod is left; the next request waits for a new one, and is answered."""
    served(release, OLD, scaling={"autoscaler": "knative", "minReplicas": 0})
    objects.wait("no pods are left", lambda: not pods(release), timeout_s=240)
    started = time.monotonic()
    with Load(address, PREDICT, BODY, clients=1) as load:
        load.wait_for(1)
        cold_start_s = time.monotonic() - started
    measured["Knative: from zero pods to an answer, in seconds"] = round(cold_start_s, 2)

    assert not load.failures
    assert pods(release)


def scales(revision: objects.Object) -> dict[str, str]:
    """Give what Knative's autoscaler is told of a revision."""
    prefix = "autoscaling.knative.dev/"
    annotations: dict[str, str] = revision["metadata"]["annotations"]
    return {key.removeprefix(prefix): value for key, value in annotations.items() if key.startswith(prefix)}


def test_the_values_of_scaling_are_the_revisions(release: Release) -> None:
    """Without an autoscaler the number is fixed; with Knative's, each value of `scaling` reaches it."""
    scaling = {"minReplicas": 1, "maxReplicas": 2, "metric": "rps", "target": 50}
    limits = {"containerConcurrency": 7, "timeoutSeconds": 45}
    served(release, OLD, scaling={"autoscaler": "knative", **scaling, **limits})
    first, last = revisions(release)
    fixed, told = scales(first), scales(last)

    assert (fixed["min-scale"], fixed["max-scale"]) == ("1", "1")
    assert (told["min-scale"], told["max-scale"], told["metric"], told["target"]) == ("1", "2", "rps", "50")
    assert {key: last["spec"][key] for key in limits} == limits
    assert first["spec"].get("containerConcurrency", 0) == 0
