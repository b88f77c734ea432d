"""Our own image: knows how to build the repository's Dockerfile for the cluster; knows nothing of the server."""

import os
import re
import ssl
from pathlib import Path

from tools import gotools
from tools.cluster import docker, sources
from tools.programs import run

#: The name that our Dockerfile starts from.
BASE = "python:3.11-slim-bookworm"


def version() -> str:
    """Read the version of the code."""
    text = gotools.ROOT.joinpath("model_server", "__init__.py").read_text("utf-8")
    found = re.search(r'^__version__ = "(.+)"', text, re.MULTILINE)
    return found[1] if found else "0"


def image() -> str:
    """Give the name of the server's image."""
    return f"model-server:{version()}"


def build(*, built: bool, target: str = "server", name: str | None = None, arguments: tuple[str, ...] = ()) -> str:
    """Build the server's image.

    Args:
        built: On a base made here, else on the published one.
        target: The stage of the Dockerfile.
        name: The image's name and tag, or its own with the version of the code.
        arguments: Build arguments, each as NAME=value.

    Returns:
        The image's name.
    """
    words = ["--target", target, "--build-arg", f"VERSION={version()}"]
    for argument in arguments:
        words += ["--build-arg", argument]
    if built:
        run(["docker", "tag", docker.from_root(sources.PYTHON), BASE])
        # The build reaches the package index as this machine does: over its network, trusting what it trusts.
        words += ["--network", "host"]
        authorities = _authorities()
        words += ["--secret", f"id=ca,src={authorities}"] if authorities else []
    return docker.build(name or image(), gotools.ROOT, words)


def _authorities() -> Path | None:
    found = os.environ.get("SSL_CERT_FILE") or ssl.get_default_verify_paths().cafile
    return Path(found) if found and Path(found).is_file() else None


def size(name: str) -> int:
    """Say how large an image is, unpacked, in bytes."""
    return int(run(["docker", "image", "inspect", "--format", "{{.Size}}", name]))
