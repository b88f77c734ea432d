"""What the tests in Knative mode share: a release for each, its address, and its revisions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.e2e.knative.revisions import NUMBERS
from tests.e2e.releases import installed
from tools.deploy import ingress
from tools.deploy.rollout.address import Address, reachable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tools.deploy.rollout.release import Release


@pytest.fixture
def release(namespace: str, image: str) -> Iterator[Release]:
    """A release of its own for each test, serving the old version: revisions of one test are another one's trouble."""
    with installed(f"iris-{next(NUMBERS)}", namespace, "knative", image) as found:
        yield found


@pytest.fixture
def address(release: Release) -> Iterator[Address]:
    """The ingress, by the address that KServe gives the InferenceService."""
    with reachable(release.name, release.namespace, ingress.address) as found:
        yield found
