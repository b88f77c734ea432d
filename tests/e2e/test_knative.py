"""The chart on a real cluster in Knative mode: shares of requests, moved in every documented way and counted."""

from __future__ import annotations

import itertools
import json
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from scipy.stats import binom

from tests.e2e.conftest import NEW, OLD, ROOT, refusal, served
from tests.e2e.load import Load
from tests.e2e.notes import run_notes
from tools.cluster import knative, objects
from tools.cluster.commands import ClusterError
from tools.deploy import readiness, smoke
from tools.deploy.doors import Door, ingress, open_door
from tools.deploy.programs import ask_kubectl
from tools.deploy.release import Release

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.e2e
#: What asks for a change of Knative's own settings, or could be disturbed by one, stays in one worker.
SETTINGS = pytest.mark.xdist_group("knative-settings")

BODY = json.dumps({"instances": [[5.1, 3.5, 1.4, 0.2]]}).encode()
PREDICT = "/v1/models/iris:predict"
REQUESTS = 2000
FRAGMENTS = ROOT / "manifests" / "canary" / "knative"


NUMBERS = itertools.count(1)
NODE_SELECTOR = {"nodeSelector": {"kubernetes.io/os": "linux"}}
SPREAD = {"maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "ScheduleAnyway"}


@pytest.fixture
def release(namespace: str, image: str) -> Iterator[Release]:
    """A release of its own for each test, serving the old version: revisions of one test are another one's trouble."""
    found = Release(f"iris-{next(NUMBERS)}", namespace, "iris", "knative", image)
    served(found, OLD)
    yield found
    found.uninstall()


@pytest.fixture
def door(release: Release) -> Iterator[Door]:
    """The ingress, by the address that KServe gives the InferenceService."""
    with open_door(release.name, release.namespace) as found:
        yield found


def pods(release: Release) -> list[objects.Object]:
    """List the predictor's pods."""
    return objects.items("v1", "Pod", release.namespace, f"serving.kserve.io/inferenceservice={release.name}")


def share_of_new(door: Door) -> int:
    """Send 2,000 requests and count those that the new version answered; none may fail."""
    with Load(door, PREDICT, BODY, pause_s=0) as load:
        load.wait_for(REQUESTS)
    assert not load.failures
    return round(REQUESTS * load.versions[NEW] / load.sent)


def is_likely(count: int, percent: int) -> bool:
    """Say whether a count lies in the band that holds 99.9 % of what the percentage gives by chance."""
    low, high = (binom.ppf(edge, REQUESTS, percent / 100) for edge in (0.0005, 0.9995))
    return bool(low <= count <= high)


def start_canary(release: Release, percent: int | None = 10) -> None:
    """Bring in the new version with a share; None leaves the share to kubectl, which has set it before."""
    served(release, NEW, canary={"trafficPercent": percent, "tagRouting": True})


# First, because it waits longest: the others run beside it.
def test_it_scales_to_zero_and_back(release: Release, door: Door, measured: dict[str, object]) -> None:
    """Without requests no pod is left; the next request waits for a new one, and is answered."""
    served(release, OLD, scaling={"autoscaler": "knative", "minReplicas": 0})
    objects.wait("no pods are left", lambda: not pods(release), timeout_s=240)
    started = time.monotonic()
    with Load(door, PREDICT, BODY, clients=1) as load:
        load.wait_for(1)
        cold_start_s = time.monotonic() - started
    measured["Knative: from zero pods to an answer, in seconds"] = round(cold_start_s, 2)

    assert not load.failures
    assert pods(release)


def test_the_release_answers_with_the_numbers_of_training(release: Release, door: Door, trained: Path) -> None:
    """v1 and v2 through the ingress, by the way that `make smoke` takes."""
    lines = smoke.run_smoke(door, trained / "iris" / OLD)

    assert [line[:5] for line in lines] == ["ok   "] * 5
    assert readiness.mode(readiness.service(release.name, release.namespace)) == "knative"


def test_helm_test_passes(release: Release) -> None:
    """Its pod reaches the server by the name inside the cluster."""
    assert "golden answers" in release.test()


def test_values_move_the_shares(release: Release, door: Door, measured: dict[str, object]) -> None:
    """10 %, 50 %, back to 0, 100 %: by `helm upgrade` alone, each counted over 2,000 requests."""
    start_canary(release, 10)
    counted = {10: share_of_new(door)}
    for percent in (50, 0, 100):
        start_canary(release, percent)
        counted[percent] = share_of_new(door)
    measured[f"Knative: of {REQUESTS} requests the new version got, by percent"] = counted

    assert all(is_likely(count, percent) for percent, count in counted.items()), counted


def test_each_revision_has_a_host_of_its_own(release: Release, door: Door) -> None:
    """With tagRouting the newest is asked as latest-…, and the one before as prev-…, whatever the share."""
    start_canary(release, 0)
    host = door.url.removeprefix("http://")
    found = {}
    for tag in ("latest", "prev"):
        with Load(Door(f"http://{tag}-{host}", proxy=door.proxy), PREDICT, BODY) as load:
            load.wait_for(50)
        assert not load.failures
        found[tag] = set(load.versions)

    assert found == {"latest": {NEW}, "prev": {OLD}}


def test_kubectl_moves_the_shares_and_helm_leaves_them_alone(release: Release, door: Door) -> None:
    """The values leave the percentage out; a merge patch sets it, and an upgrade afterwards keeps it."""
    patch(release, 10)
    start_canary(release, None)
    at_10 = share_of_new(door)
    patch(release, 50)
    at_50 = share_of_new(door)
    start_canary(release, None)

    assert is_likely(at_10, 10), at_10
    assert is_likely(at_50, 50), at_50
    assert percent_of(release) == 50


def patch(release: Release, percent: int) -> None:
    """Set the percentage as docs/chart.md says, and wait until it is in force."""
    fragment = json.dumps({"spec": {"predictor": {"canaryTrafficPercent": percent}}})
    where = ["-n", release.namespace, release.name, "--type=merge"]
    ask_kubectl("patch", "inferenceservice", *where, "-p", fragment)
    readiness.wait(release.name, release.namespace)


def percent_of(release: Release) -> int | None:
    """Read the percentage that is asked for."""
    found: int | None = readiness.service(release.name, release.namespace)["spec"]["predictor"].get(
        "canaryTrafficPercent"
    )
    return found


def apply_fragment(release: Release, name: str) -> None:
    """Apply a file of manifests/ on the server, under this release's name, as docs/chart.md says."""
    fragment = yaml.safe_load(FRAGMENTS.joinpath(f"{name}.yaml").read_text("utf-8"))
    fragment["metadata"] |= {"name": release.name, "namespace": release.namespace}
    command = ["apply", "--server-side", "--field-manager=canary", "-f", "-"]
    ask_kubectl(*command, given=json.dumps(fragment).encode())
    readiness.wait(release.name, release.namespace)


def owners_of_percent(release: Release) -> list[str]:
    """Name who owns the percentage."""
    managed = readiness.service(release.name, release.namespace)["metadata"]["managedFields"]
    return [
        each["manager"]
        for each in managed
        if "f:canaryTrafficPercent" in each["fieldsV1"].get("f:spec", {}).get("f:predictor", {})
    ]


def test_manifests_move_the_shares_and_own_the_field_alone(release: Release, door: Door) -> None:
    """Server-side apply of 10, an upgrade in between, 50, then rollback.yaml; at last the field is given back."""
    apply_fragment(release, "10")
    start_canary(release, None)
    at_10, owners = share_of_new(door), owners_of_percent(release)
    apply_fragment(release, "50")
    at_50 = share_of_new(door)
    apply_fragment(release, "rollback")
    at_0 = share_of_new(door)
    apply_fragment(release, "release")

    assert is_likely(at_10, 10), at_10
    assert is_likely(at_50, 50), at_50
    assert at_0 == 0
    assert owners == ["canary"]
    assert percent_of(release) is None
    assert share_of_new(door) == REQUESTS


def test_two_owners_of_the_percentage_collide(release: Release) -> None:
    """The values say 10, somebody patched 50: the next upgrade fails; --force-conflicts takes the field back."""
    start_canary(release, 10)
    patch(release, 50)
    values = release.values(NEW, canary={"trafficPercent": 10, "tagRouting": True})
    words = refusal(release, values)
    release.upgrade(values, ["--force-conflicts"])

    assert "conflict" in words
    assert "canaryTrafficPercent" in words
    assert percent_of(release) == 10


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


@SETTINGS
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
    with pytest.raises(ClusterError, match=named):
        dry_run(pod, container)


@SETTINGS
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
    except ClusterError:
        return False
    return True


def revisions(release: Release) -> list[objects.Object]:
    """List a release's revisions, the oldest first."""
    selector = f"serving.knative.dev/service={release.name}-predictor"
    found = objects.items(readiness.KNATIVE, "Revision", release.namespace, selector)
    return sorted(found, key=lambda each: each["metadata"]["name"])


def newest(release: Release) -> objects.Object:
    """Read the revision that was made last."""
    return revisions(release)[-1]


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


def test_the_first_installation_gets_every_request(namespace: str, image: str) -> None:
    """Whatever the percentage, as the notes say: there is nothing to split with."""
    first = Release(f"iris-{next(NUMBERS)}", namespace, "iris", "knative", image)
    try:
        served(first, NEW, canary={"trafficPercent": 10})
        with open_door(first.name, namespace) as door, Load(door, PREDICT, BODY) as load:
            load.wait_for(100)
    finally:
        first.uninstall()

    assert not load.failures
    assert set(load.versions) == {NEW}


def test_the_commands_of_the_notes_work(namespace: str, image: str, tmp_path: Path) -> None:
    """Exactly as printed: wait, ask for the address, ask by v1 and v2, the test, and the shares."""
    noted = Release("noted", namespace, "iris", "knative", image)
    try:
        told = noted.upgrade(noted.values(OLD))
        objects.wait("an address", lambda: "url" in readiness.service(noted.name, namespace).get("status", {}))
        printed = run_notes(told, tmp_path, ingress())
    finally:
        noted.uninstall()

    assert "noted condition met" in printed
    assert '"predictions":' in printed
    assert '"outputs":' in printed
    assert "v2 gives the golden answers" in printed
    assert '"percent":100' in printed


def test_grpc_beside_rest_is_refused(release: Release) -> None:
    """Knative lets a pod have one port."""
    words = refusal(release, release.values(OLD, server={"grpc": True}))

    assert "server.grpc: Knative lets a pod have one port" in words
