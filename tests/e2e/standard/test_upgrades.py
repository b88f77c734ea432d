"""The chart on a real cluster in Standard mode: another version, and a pod less, while requests flow."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.e2e.releases import NEW, OLD, TWO, served, set_percentage
from tools import objects
from tools.clients import ask_kubectl
from tools.cluster import kind
from tools.deploy.rollout import readiness

if TYPE_CHECKING:
    from tests.e2e.load import Load
    from tools.deploy.rollout.release import Release

pytestmark = pytest.mark.e2e

NODE_PORTS = kind.NODE_PORTS[1]


def test_an_upgrade_fails_no_request_and_takes_no_heed_of_a_percentage(
    release: Release, load: Load, measured: dict[str, object]
) -> None:
    """2,000 requests and more, from the old version to the new and back.

    A percentage is set by kubectl beforehand. KServe takes the field and sends everybody to the new version at once,
    which is why the chart refuses it.
    """
    set_percentage(release, 10)
    served(release, NEW)
    before = load.versions.copy()
    load.wait_for_next(500)
    after = load.versions - before
    set_percentage(release, None)
    served(release, OLD)
    load.wait_for(2000)
    measured["Standard: requests during two upgrades, by version"] = dict(load.versions)

    assert not load.failures
    assert set(load.versions) == {OLD, NEW}
    assert set(after) == {NEW}


def test_a_pod_that_is_deleted_fails_no_request(release: Release, load: Load, measured: dict[str, object]) -> None:
    """Of two replicas; it gets SIGTERM under load, and the other one serves."""
    served(release, OLD, **TWO)
    pods = objects.items("v1", "Pod", release.namespace, "serving.kserve.io/inferenceservice=iris")
    ready = [pod for pod in pods if not pod["metadata"].get("deletionTimestamp")]
    load.forget()
    ask_kubectl("delete", "pod", "-n", release.namespace, ready[0]["metadata"]["name"], "--wait=true")
    readiness.wait(release.name, release.namespace)
    load.wait_for(2000)
    measured["Standard: requests while one of two pods was deleted"] = load.sent

    assert len(ready) == 2
    assert not load.failures
    served(release, OLD)
