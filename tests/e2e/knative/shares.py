"""Shares of requests: knows how to move and read them, to count answers, and what a count may be by chance."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scipy.stats import binom

from tests.e2e.load import Load
from tests.e2e.releases import BODY, NEW, PREDICT, served, set_percentage
from tools.deploy.rollout import readiness

if TYPE_CHECKING:
    from tools.deploy.rollout.address import Address
    from tools.deploy.rollout.release import Release

REQUESTS = 2000


def start_canary(release: Release, percent: int | None = 10) -> None:
    """Bring in the new version with a share; None leaves the share to kubectl, which has set it before."""
    served(release, NEW, canary={"trafficPercent": percent, "tagRouting": True})


def share_of_new(address: Address) -> int:
    """Send 2,000 requests and count those that the new version answered; none may fail."""
    with Load(address, PREDICT, BODY, pause_s=0) as load:
        load.wait_for(REQUESTS)
    assert not load.failures
    return round(REQUESTS * load.versions[NEW] / load.sent)


def is_likely(count: int, percent: int) -> bool:
    """Say whether a count lies in the band that holds 99.9 % of what the percentage gives by chance."""
    low, high = (binom.ppf(edge, REQUESTS, percent / 100) for edge in (0.0005, 0.9995))
    return bool(low <= count <= high)


def patch(release: Release, percent: int) -> None:
    """Set the percentage and wait until it is in force."""
    set_percentage(release, percent)
    readiness.wait(release.name, release.namespace)


def percent_of(release: Release) -> int | None:
    """Read the percentage that is asked for."""
    found: int | None = readiness.service(release.name, release.namespace)["spec"]["predictor"].get(
        "canaryTrafficPercent"
    )
    return found
