"""Who gets the requests: knows how to share them between a release's revisions; judges no revision."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tools.deploy.rollout import readiness
from tools.deploy.rollout.release import Release
from tools.errors import ClusterError
from tools.objects import Object


@dataclass(frozen=True)
class Share:
    """What a revision gets.

    Attributes:
        revision: Its name.
        percent: Its share of the requests, 0 to 100.
    """

    revision: str
    percent: int


def percentage(given: int | None) -> int:
    """Take a share that was given by hand.

    Raises:
        ClusterError: It is none, or no percentage.
    """
    if given is None or not 0 <= given <= 100:
        raise ClusterError("give a share from 0 to 100, such as PERCENT=10")
    return given


def canary(release: Release, percent: int, version: str | None = None, *, timeout_s: float) -> list[Share]:
    """Give the newest revision a share.

    Args:
        release: The release.
        percent: The share, 0 to 100.
        version: The bundle's version to serve, which becomes the newest revision; None leaves what is served.
        timeout_s: How long it may take to be in force, in seconds.

    Returns:
        Who gets what now.

    Raises:
        ClusterError: The release is not there or not in Knative mode, or is not ready in time.
        ProgramError: Helm refuses.
    """
    values: dict[str, Any] = {"canary": {"trafficPercent": percent}}
    if version:
        values["model"] = release.values(version)["model"]
    return _move(release, values, timeout_s)


def promote(release: Release, *, timeout_s: float) -> list[Share]:
    """Give the newest revision everything; the rest is as for `canary`."""
    return canary(release, 100, timeout_s=timeout_s)


def rollback(release: Release, *, timeout_s: float) -> list[Share]:
    """Give the revision before everything; the newest one stays, with nothing. The rest is as for `canary`."""
    return canary(release, 0, timeout_s=timeout_s)


def _move(release: Release, values: Mapping[str, Any], timeout_s: float) -> list[Share]:
    if readiness.mode(readiness.service(release.name, release.namespace)) != "knative":
        raise ClusterError("KServe 0.20 splits no requests in Standard mode; `make deploy MODE=knative` where it does")
    release.change(values)
    readiness.wait(release.name, release.namespace, timeout_s=timeout_s)
    return shares(readiness.service(release.name, release.namespace))


def shares(found: Object) -> list[Share]:
    """Read from an InferenceService who gets what, as Knative reports it."""
    return [Share(each["revisionName"], each.get("percent") or 0) for each in readiness.traffic(found)]
