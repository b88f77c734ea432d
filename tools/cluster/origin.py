"""Where the images of the cluster come from: knows how to decide it; makes and pulls none for use."""

import os
from functools import cache

from tools.errors import ClusterError
from tools.programs import succeeds

#: A small image that the cluster needs anyway; a registry that has it has the others.
PROBE = "python:3.11-slim-bookworm"


@cache
def is_built() -> bool:
    """Decide where images come from: E2E_IMAGES (pull or build), else from a registry if it answers, else from source.

    Raises:
        ClusterError: E2E_IMAGES is something else.
    """
    wanted = os.environ.get("E2E_IMAGES", "")
    if wanted not in {"", "pull", "build"}:
        raise ClusterError(f"E2E_IMAGES is {wanted}; it is pull, build, or not set")
    if wanted:
        return wanted == "build"
    return not succeeds(["docker", "pull", "--quiet", PROBE], timeout_s=120)
