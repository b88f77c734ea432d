"""Revisions that Knative has made of a release, and numbers for releases of their own."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from tools import objects
from tools.deploy.rollout import readiness

if TYPE_CHECKING:
    from tools.deploy.rollout.release import Release

NUMBERS = itertools.count(1)


def revisions(release: Release) -> list[objects.Object]:
    """List a release's revisions, the oldest first."""
    selector = f"serving.knative.dev/service={release.name}-predictor"
    found = objects.items(readiness.KNATIVE, "Revision", release.namespace, selector)
    return sorted(found, key=lambda each: each["metadata"]["name"])


def newest(release: Release) -> objects.Object:
    """Read the revision that was made last."""
    return revisions(release)[-1]
