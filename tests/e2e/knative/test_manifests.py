"""The chart on a real cluster in Knative mode: manifests/ moves the shares, and owns the field as long as it does."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
import yaml

from tests.checkout import ROOT
from tests.e2e.knative.shares import REQUESTS, is_likely, percent_of, share_of_new, start_canary
from tools.clients import ask_kubectl
from tools.deploy.rollout import readiness

if TYPE_CHECKING:
    from tools.deploy.rollout.address import Address
    from tools.deploy.rollout.release import Release

pytestmark = pytest.mark.e2e

FRAGMENTS = ROOT / "manifests" / "canary" / "knative"


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


def test_manifests_move_the_shares_and_own_the_field_alone(release: Release, address: Address) -> None:
    """Server-side apply of 10, an upgrade in between, 50, then rollback.yaml; at last the field is given back."""
    apply_fragment(release, "10")
    start_canary(release, None)
    at_10, owners = share_of_new(address), owners_of_percent(release)
    apply_fragment(release, "50")
    at_50 = share_of_new(address)
    apply_fragment(release, "rollback")
    at_0 = share_of_new(address)
    apply_fragment(release, "release")

    assert is_likely(at_10, 10), at_10
    assert is_likely(at_50, 50), at_50
    assert at_0 == 0
    assert owners == ["canary"]
    assert percent_of(release) is None
    assert share_of_new(address) == REQUESTS
