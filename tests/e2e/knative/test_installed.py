"""The chart on a real cluster in Knative mode: what is installed answers, and what Knative refuses never is."""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.knative.revisions import newest
from tests.e2e.notes import PRINTED, run_notes
from tests.e2e.releases import OLD, installed, refusal
from tools import objects
from tools.clients import ask_kubectl
from tools.cluster import knative
from tools.deploy import ingress, smoke
from tools.deploy.rollout import readiness
from tools.deploy.rollout.address import reachable
from tools.deploy.rollout.release import Release
from tools.programs import ProgramError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


pytestmark = pytest.mark.e2e

NODE_SELECTOR = {"nodeSelector": {"kubernetes.io/os": "linux"}}
SPREAD = {"maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "ScheduleAnyway"}


@pytest.fixture(scope="module")
def release(namespace: str, image: str) -> Iterator[Release]:
    """One release for all of them: only the last one changes it."""
    with installed("iris", namespace, "knative", image) as found:
        yield found


def test_the_release_answers_with_the_numbers_of_training(release: Release, trained: Path) -> None:
    """v1 and v2 through the ingress, by the way that `make smoke` takes."""
    with reachable(release.name, release.namespace, ingress.address) as address:
        lines = smoke.run_smoke(address, trained / "iris" / OLD)

    assert [line[:5] for line in lines] == ["ok   "] * 5
    assert readiness.mode(readiness.service(release.name, release.namespace)) == "knative"


def test_helm_test_passes(release: Release) -> None:
    """Its pod reaches the server by the name inside the cluster."""
    assert "golden answers" in release.test()


def test_the_commands_of_the_notes_work(namespace: str, image: str, tmp_path: Path) -> None:
    """Exactly as printed: wait, ask for the address, ask by v1 and v2, the test, and the shares."""
    noted = Release("noted", namespace, "iris", "knative", image)
    try:
        told = noted.upgrade(noted.values(OLD))
        objects.wait("an address", lambda: "url" in readiness.service(noted.name, namespace).get("status", {}))
        printed = run_notes(told, tmp_path, ingress.address())
    finally:
        noted.uninstall()

    assert [words for words in PRINTED if words not in printed] == []
    assert '"percent":100' in printed


def test_grpc_beside_rest_is_refused(release: Release) -> None:
    """Knative lets a pod have one port."""
    words = refusal(release, release.values(OLD, server={"grpc": True}))

    assert "server.grpc: Knative lets a pod have one port" in words


def dry_run(pod: dict[str, Any], container: dict[str, Any]) -> str:
    """Ask Knative's webhook whether it takes a pod; nothing changes."""
    spec = {**pod, "containers": [{"image": "model-server:0.1.0", **container}]}
    service = {
        "apiVersion": readiness.KNATIVE,
        "kind": "Service",
        "metadata": {"name": "asked", "namespace": "default"},  # one that demands nothing of pods
        "spec": {"template": {"spec": spec}},
    }
    return ask_kubectl("create", "--dry-run=server", "-f", "-", given=json.dumps(service).encode())


@pytest.mark.parametrize(
    ("pod", "container", "named"),
    [
        (NODE_SELECTOR, {}, "nodeSelector"),
        ({"affinity": {"nodeAffinity": {}}}, {}, "affinity"),
        ({"securityContext": {"fsGroup": 1001}}, {}, "securityContext"),
        ({"tolerations": [{"key": "pool", "operator": "Exists"}]}, {}, "tolerations"),
        ({"topologySpreadConstraints": [SPREAD]}, {}, "topologySpreadConstraints"),
        ({"priorityClassName": "system-node-critical"}, {}, "priorityClassName"),
        ({"terminationGracePeriodSeconds": 45}, {}, "terminationGracePeriodSeconds"),
        ({}, {"lifecycle": {"preStop": {"exec": {"command": ["true"]}}}}, "lifecycle"),
        ({}, {"ports": [{"containerPort": 8080}, {"containerPort": 8081}]}, "more than one container port"),
        ({}, {"ports": [{"containerPort": 8012}]}, "8012"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_knative_refuses_what_the_values_say_it_does(
    cluster: str, pod: dict[str, Any], container: dict[str, Any], named: str
) -> None:
    """So the chart leaves it out or refuses it first; asked of the webhook itself, which changes nothing here."""
    assert cluster
    assert "created" in dry_run({}, {})
    with pytest.raises(ProgramError, match=named):
        dry_run(pod, container)


def test_a_feature_flag_lets_through_what_it_is_for(cluster: str, release: Release) -> None:
    """`scheduling.knativeFeatures` says which are on; without it the chart refuses first."""
    scheduling = NODE_SELECTOR | {"knativeFeatures": ["kubernetes.podspec-nodeselector"]}
    unsaid = refusal(release, release.values(OLD, scheduling=NODE_SELECTOR))
    with feature("kubernetes.podspec-nodeselector"):
        objects.wait("Knative takes a nodeSelector", lambda: is_taken(NODE_SELECTOR), timeout_s=60)
        release.upgrade(release.values(OLD, scheduling=scheduling))
        objects.wait("the newest revision", lambda: newest(release)["spec"].get("nodeSelector") is not None)
    spec = newest(release)["spec"]

    assert cluster
    assert "scheduling.nodeSelector: Knative refuses it unless its feature flag" in unsaid
    assert {"nodeSelector": spec["nodeSelector"]} == NODE_SELECTOR


@contextmanager
def feature(flag: str) -> Iterator[None]:
    """Switch a feature flag of Knative on for a while."""

    def switch(value: str | None) -> None:
        data = json.dumps({"data": {flag: value}})
        ask_kubectl("patch", "configmap", "config-features", "-n", knative.NAMESPACE, "--type=merge", "-p", data)

    switch("enabled")
    try:
        yield
    finally:
        switch(None)
        objects.wait("Knative refuses it again", lambda: not is_taken(NODE_SELECTOR), timeout_s=60)


def is_taken(pod: dict[str, Any]) -> bool:
    """Say whether Knative's webhook takes such a pod."""
    try:
        dry_run(pod, {})
    except ProgramError:
        return False
    return True
