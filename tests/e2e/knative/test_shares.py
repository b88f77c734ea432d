"""The chart on a real cluster in Knative mode: shares of requests, moved in every documented way and counted."""

from __future__ import annotations

import json

import pytest
import yaml
from scipy.stats import binom

from tests.e2e.conftest import NEW, OLD, ROOT, refusal, served
from tests.e2e.knative.conftest import BODY, NUMBERS, PREDICT
from tests.e2e.load import Load
from tools.deploy import readiness
from tools.deploy.doors import Door, open_door
from tools.deploy.programs import ask_kubectl
from tools.deploy.release import Release

pytestmark = pytest.mark.e2e

REQUESTS = 2000
FRAGMENTS = ROOT / "manifests" / "canary" / "knative"


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
