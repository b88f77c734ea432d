"""The chart on a real cluster in Standard mode: replicas, who changes them, and the commands of the notes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.e2e.notes import PRINTED, run_notes
from tests.e2e.releases import OLD, TWO, refusal, served
from tools import objects
from tools.clients import ask_kubectl
from tools.deploy.rollout.release import Release

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.e2e


def test_autoscalers_are_told_and_none_is_taken_away_beside_keda(release: Release) -> None:
    """The values of `scaling` reach KServe's HPA, null as its own default, and KEDA's object.

    What values.yaml says to delete by hand is left each time. KEDA itself is not here: nothing scales by its object.
    """
    hpa = {"autoscaler": "hpa", "minReplicas": 1, "maxReplicas": 2}
    target = {"type": "Utilization", "averageUtilization": 60}
    keda = {
        "autoscaler": "keda",
        "minReplicas": 0,
        "maxReplicas": 2,
        "kedaMetrics": [{"type": "Resource", "resource": {"name": "cpu", "target": target}}],
        "behavior": {"scaleUp": {"stabilizationWindowSeconds": 5}},
    }
    served(release, OLD, scaling=hpa)
    objects.wait("the HPA", lambda: bool(scalers(release)))
    by_default = scaler(release)
    served(release, OLD, scaling=hpa | {"metric": "memory", "target": 70})
    objects.wait("the other metric", lambda: measure(scaler(release)) == ("memory", 70))
    served(release, OLD, scaling=keda)
    objects.wait("KEDA's object", lambda: bool(scaled(release)))
    assert scalers(release)
    ask_kubectl("delete", "hpa", "iris-predictor", "-n", release.namespace)
    (told,) = scaled(release)
    served(release, OLD)
    assert scaled(release)
    ask_kubectl("delete", "scaledobject", "iris-predictor", "-n", release.namespace)

    assert not scalers(release)
    assert (told["minReplicaCount"], told["maxReplicaCount"]) == (0, 2)
    assert [(each["type"], each["metadata"]) for each in told["triggers"]] == [("cpu", {"value": "60"})]
    assert told["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]["scaleUp"]["stabilizationWindowSeconds"] == 5
    assert (by_default["minReplicas"], by_default["maxReplicas"]) == (1, 2)
    assert measure(by_default) == ("cpu", 80)


def scalers(release: Release) -> list[objects.Object]:
    """List the HPAs of the namespace."""
    return objects.items("autoscaling/v2", "HorizontalPodAutoscaler", release.namespace)


def scaler(release: Release) -> objects.Object:
    """Read what the one HPA is to do."""
    (found,) = scalers(release)
    spec: objects.Object = found["spec"]
    return spec


def measure(spec: objects.Object) -> tuple[str, int]:
    """Give what an HPA looks at, and the share of the request that it aims at, in percent."""
    (metric,) = spec["metrics"]
    return metric["resource"]["name"], metric["resource"]["target"]["averageUtilization"]


def scaled(release: Release) -> list[objects.Object]:
    """List what KEDA is to do in the namespace."""
    return [each["spec"] for each in objects.items("keda.sh/v1alpha1", "ScaledObject", release.namespace)]


def test_nothing_scales_up_from_none_by_itself(release: Release) -> None:
    """So the chart refuses no replicas where nobody adds one."""
    words = refusal(release, release.values(OLD, scaling={"autoscaler": "hpa", "minReplicas": 0}))

    assert "scaling.minReplicas: with autoscaler hpa nothing scales up from 0" in words


def test_the_commands_of_the_notes_work(namespace: str, image: str, tmp_path: Path) -> None:
    """Exactly as printed: wait, forward a port, ask by v1 and v2, and the test."""
    noted = Release("noted", namespace, "iris", "standard", image)
    try:
        printed = run_notes(noted.upgrade(noted.values(OLD)), tmp_path)
    finally:
        noted.uninstall()

    assert [words for words in PRINTED if words not in printed] == []


def test_a_budget_lets_one_of_two_pods_go(release: Release) -> None:
    """It finds the pods: with two of them one may be away, and eviction of both is not allowed."""
    served(release, OLD, **TWO, pdb={"enabled": True})
    objects.wait("the budget counts the pods", lambda: _budget(release) == (2, 1))
    served(release, OLD)

    assert objects.get("policy/v1", "PodDisruptionBudget", "iris", release.namespace) is None


def _budget(release: Release) -> tuple[int, int] | None:
    found = objects.get("policy/v1", "PodDisruptionBudget", "iris", release.namespace)
    status = (found or {}).get("status") or {}
    return status.get("currentHealthy", 0), status.get("disruptionsAllowed", 0)
