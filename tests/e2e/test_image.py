"""The built image alone, without a cluster: it starts as it would in a pod, and answers with training's numbers."""

from __future__ import annotations

import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from tests.conformance.target import free_port
from tests.e2e.releases import OLD
from tools import objects
from tools.cluster import docker, server
from tools.deploy import smoke
from tools.deploy.rollout.address import Address
from tools.programs import ProgramError, run

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.e2e

#: What a pod of the chart has: no capabilities, nothing to write to but /tmp, the image's own user.
CONFINED = ["--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL", "--security-opt", "no-new-privileges"]  # noqa: S108 - in the container
READY = "iris is ready at"


@contextmanager
def container(image: str, words: list[str], arguments: list[str]) -> Iterator[Address]:
    """Start a container, reached by ports of the loopback address, and remove it afterwards."""
    http, grpc = free_port(), free_port()
    ports = ["--publish", f"127.0.0.1:{http}:8080", "--publish", f"127.0.0.1:{grpc}:8081"]
    name = run(["docker", "run", "--detach", *CONFINED, *ports, *words, image, *arguments]).strip()
    try:
        yield Address(f"http://127.0.0.1:{http}", grpc=f"127.0.0.1:{grpc}")
    finally:
        run(["docker", "rm", "--force", "--volumes", name])


@pytest.fixture(scope="module")
def bundle(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle that every user may read, as one on a volume."""
    folder = tmp_path_factory.mktemp("mounted") / "iris" / OLD
    shutil.copytree(trained / "iris" / OLD, folder)
    run(["chmod", "-R", "a+rX", folder])
    for parent in (folder.parent, folder.parent.parent):
        parent.chmod(0o755)
    return folder


def test_the_image_serves_a_mounted_bundle(image: str, bundle: Path, measured: dict[str, object]) -> None:
    """Ready, then v1, v2 and gRPC with the golden rows."""
    mount = ["--volume", f"{bundle}:/mnt/models:ro"]
    with container(image, mount, ["--model_name=iris", "--model_dir=/mnt/models"]) as address:
        lines = smoke.run_smoke(address, bundle)
    measured["image: size unpacked, in MB"] = round(server.size(image) / 1e6)

    assert READY in lines[0]
    assert len(lines) == 6


def test_the_health_check_of_the_image_asks_the_port_that_was_set(image: str) -> None:
    """Docker itself runs it, sooner than the image says; without a bundle the process lives."""
    words = ["--health-interval=1s", "--env", "PORT=9090", image, "--require_model=false"]
    name = run(["docker", "run", "--detach", *CONFINED, *words]).strip()
    status = ["docker", "inspect", "--format", "{{.State.Health.Status}}", name]
    try:
        objects.wait("the container is healthy", lambda: run(status).strip() == "healthy", timeout_s=60)
    finally:
        run(["docker", "rm", "--force", "--volumes", name])


def test_the_bundled_image_serves_what_is_baked_in(baked: tuple[str, Path]) -> None:
    """It needs no mount and no flag: it is the whole deployment."""
    bundled, bundle = baked
    with container(bundled, [], []) as address:
        lines = smoke.run_smoke(address, bundle)

    assert len(lines) == 6


def test_an_image_without_a_shared_library_fails_the_smoke(image: str, bundle: Path, tmp_path: Path) -> None:
    """The smoke test sees what no test of the sources can: OpenBLAS is missing from the image."""
    text = f"FROM {image}\nUSER 0\nRUN find /opt/venv -name '*openblas*.so*' -delete\nUSER 1001:1001\n"
    tmp_path.joinpath("Dockerfile").write_text(text, "utf-8")
    crippled = docker.build(f"{image}-crippled", tmp_path)
    mount = ["--volume", f"{bundle}:/mnt/models:ro"]
    with (
        container(crippled, mount, ["--model_name=iris", "--model_dir=/mnt/models"]) as address,
        pytest.raises(ProgramError, match="not ready"),
    ):
        smoke.run_smoke(address, bundle, timeout_s=10)
