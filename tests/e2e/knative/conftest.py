"""What the tests in Knative mode share: a release for each, its door, and its revisions."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest

from tests.e2e.conftest import installed
from tools import objects
from tools.deploy import ingress
from tools.deploy.rollout import readiness
from tools.deploy.rollout.doors import Door, open_door

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tools.deploy.rollout.release import Release

NUMBERS = itertools.count(1)


@pytest.fixture
def release(namespace: str, image: str) -> Iterator[Release]:
    """A release of its own for each test, serving the old version: revisions of one test are another one's trouble."""
    with installed(f"iris-{next(NUMBERS)}", namespace, "knative", image) as found:
        yield found


@pytest.fixture
def door(release: Release) -> Iterator[Door]:
    """The ingress, by the address that KServe gives the InferenceService."""
    with open_door(release.name, release.namespace, ingress.address) as found:
        yield found


def revisions(release: Release) -> list[objects.Object]:
    """List a release's revisions, the oldest first."""
    selector = f"serving.knative.dev/service={release.name}-predictor"
    found = objects.items(readiness.KNATIVE, "Revision", release.namespace, selector)
    return sorted(found, key=lambda each: each["metadata"]["name"])


def newest(release: Release) -> objects.Object:
    """Read the revision that was made last."""
    return revisions(release)[-1]
