"""The chart with an image that holds its bundle: nothing is mounted, and the numbers are those of training."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.e2e.releases import OLD, served
from tools.cluster import kind
from tools.deploy import ingress, smoke
from tools.deploy.rollout.address import reachable
from tools.deploy.rollout.release import Release

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.e2e


def test_a_bundle_in_the_image_is_served(baked: tuple[str, Path], empty_namespace: str) -> None:
    """In a namespace without any volume, by every protocol and by `helm test`."""
    image, bundle = baked
    kind.load_image(image)
    release = Release("baked", empty_namespace, "iris", "standard", image)
    try:
        served(release, OLD, model={"storageUri": "bundled"})
        with reachable(release.name, empty_namespace, ingress.address) as address:
            lines = smoke.run_smoke(address, bundle)
        tested = release.test()
    finally:
        release.uninstall()

    assert [line[:5] for line in lines] == ["ok   "] * 6
    assert "v2 gives the golden answers" in tested
