"""The chart on a real cluster in Knative mode: shares of requests, moved by its values and counted."""

from __future__ import annotations

import pytest

from tests.e2e.knative.revisions import NUMBERS
from tests.e2e.knative.shares import REQUESTS, is_likely, share_of_new, start_canary
from tests.e2e.load import Load
from tests.e2e.releases import BODY, NEW, OLD, PREDICT, served
from tools.deploy import ingress
from tools.deploy.rollout.address import Address, reachable
from tools.deploy.rollout.release import Release

pytestmark = pytest.mark.e2e


def test_values_move_the_shares(release: Release, address: Address, measured: dict[str, object]) -> None:
    """10 %, 50 %, back to 0, 100 %: by `helm upgrade` alone, each counted over 2,000 requests."""
    start_canary(release, 10)
    counted = {10: share_of_new(address)}
    for percent in (50, 0, 100):
        start_canary(release, percent)
        counted[percent] = share_of_new(address)
    measured[f"Knative: of {REQUESTS} requests the new version got, by percent"] = counted

    assert all(is_likely(count, percent) for percent, count in counted.items()), counted


def test_each_revision_has_a_host_of_its_own(release: Release, address: Address) -> None:
    """With tagRouting the newest is asked as latest-…, and the one before as prev-…, whatever the share."""
    start_canary(release, 0)
    host = address.url.removeprefix("http://")
    found = {}
    for tag in ("latest", "prev"):
        with Load(Address(f"http://{tag}-{host}", proxy=address.proxy), PREDICT, BODY) as load:
            load.wait_for(50)
        assert not load.failures
        found[tag] = set(load.versions)

    assert found == {"latest": {NEW}, "prev": {OLD}}


def test_the_first_installation_gets_every_request(namespace: str, image: str) -> None:
    """Whatever the percentage, as the notes say: there is nothing to split with."""
    first = Release(f"iris-{next(NUMBERS)}", namespace, "iris", "knative", image)
    try:
        served(first, NEW, canary={"trafficPercent": 10})
        with reachable(first.name, namespace, ingress.address) as address, Load(address, PREDICT, BODY) as load:
            load.wait_for(100)
    finally:
        first.uninstall()

    assert not load.failures
    assert set(load.versions) == {NEW}
