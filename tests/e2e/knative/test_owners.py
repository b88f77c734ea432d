"""The chart on a real cluster in Knative mode: kubectl moves the shares beside its values, or against them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.e2e.knative.shares import is_likely, patch, percent_of, share_of_new, start_canary
from tests.e2e.releases import NEW, refusal

if TYPE_CHECKING:
    from tools.deploy.rollout.address import Address
    from tools.deploy.rollout.release import Release

pytestmark = pytest.mark.e2e


def test_kubectl_moves_the_shares_and_helm_leaves_them_alone(release: Release, address: Address) -> None:
    """The values leave the percentage out; a merge patch sets it, and an upgrade afterwards keeps it."""
    patch(release, 10)
    start_canary(release, None)
    at_10 = share_of_new(address)
    patch(release, 50)
    at_50 = share_of_new(address)
    start_canary(release, None)

    assert is_likely(at_10, 10), at_10
    assert is_likely(at_50, 50), at_50
    assert percent_of(release) == 50


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
