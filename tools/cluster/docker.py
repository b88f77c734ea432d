"""Docker: knows how to ask its daemon for images and builds; knows nothing of what is in them."""

import os
import shutil
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from tools.cluster.debian import Root, make
from tools.errors import ClusterError
from tools.programs import run, succeeds


def demand() -> None:
    """Fail, saying what to do, unless a daemon answers.

    Raises:
        ClusterError: None does.
    """
    if not succeeds(["docker", "version"]):
        raise ClusterError("no Docker daemon answers; start one (`docker version` says more), then try again")


def has(image: str) -> bool:
    """Say whether the daemon has an image."""
    return succeeds(["docker", "image", "inspect", image])


def identity(image: str) -> str:
    """Give the hash by which the daemon knows an image."""
    return run(["docker", "image", "inspect", "--format", "{{.Id}}", image]).strip()


def save(image: str, archive: Path) -> None:
    """Write an image into an archive."""
    run(["docker", "save", "--output", archive, image])


def from_root(root: Root) -> str:
    """Make an image of a root file system unless it is there.

    Returns:
        Its name, which changes with its packages.
    """
    image = f"model-server-root-{root.name}:{root.path.stem.rpartition('-')[2]}"
    if not has(image):
        run(["docker", "import", "--change", 'CMD ["/bin/sh"]', make(root), image])
    return image


def build(image: str, context: Path, words: Sequence[str] = ()) -> str:
    """Build a folder's Dockerfile, with BuildKit.

    Args:
        image: The name to give it.
        context: The folder.
        words: Further words for the command.

    Returns:
        The image's name.
    """
    environment = {**os.environ, "DOCKER_BUILDKIT": "1"}
    run([_client(), "build", "--tag", image, *words, context], environment=environment, timeout_s=3600)
    return image


@cache
def _client() -> str:
    # Where the client has no buildx of its own, an older one (Debian's) still has BuildKit built in.
    if succeeds(["docker", "buildx", "version"]):
        return "docker"
    older = shutil.which("docker", path="/usr/bin")
    if older and run([older, "--version"]).startswith("Docker version 20."):
        return older
    raise ClusterError("this Docker client cannot build with BuildKit; install its buildx plug-in")
