"""The image as it is written down: stages, user, commands, what may go in; building it needs a Docker engine."""

from __future__ import annotations

import json
import re
from fnmatch import fnmatch

import pytest

from model_server import __version__, healthcheck
from model_server.settings import Settings
from tests.dockerfile import ROOT, environment, instructions, of


def test_the_stages_are_build_server_bundled_and_the_server_again() -> None:
    """`docker build .` takes the last one, which must not hold a model."""
    assert [rest for _, word, rest in instructions() if word == "FROM"] == [
        "python:3.11-slim-bookworm AS build",
        "python:3.11-slim-bookworm AS server",
        "server AS bundled",
        "server",
    ]
    assert [word for stage, word, _ in instructions() if stage == "default"] == ["FROM"]


def test_only_what_was_built_gets_into_the_server() -> None:
    """No compiler, no pip cache, no lock, no training code: the environment and the package."""
    assert of("server", "COPY") == ["--from=build /opt/venv /opt/venv", "--from=build /app /app"]
    assert of("build", "COPY") == ["locks/${LOCK}.txt /tmp/lock.txt", "model_server /app/model_server"]
    assert of("build", "ARG") == ["LOCK=serve"]
    assert not any("apt-get" in rest for _, _, rest in instructions())


def test_every_package_is_checked_against_its_hash() -> None:
    """And none is compiled from source, which would need a compiler."""
    install = next(rest for rest in of("build", "RUN") if "install" in rest)

    assert {"--require-hashes", "--no-deps", "--no-cache-dir", "--only-binary"} <= set(install.split())


def test_bytecode_stays_valid_whatever_the_times_are() -> None:
    """A copy that changes modification times would make ordinary bytecode stale, silently."""
    compiled = [rest for rest in of("build", "RUN") if "compileall" in rest]

    assert [rest.split()[-1] for rest in compiled] == ["/opt/venv/lib", "/app"]
    assert all("--invalidation-mode unchecked-hash" in rest for rest in compiled)
    assert [word for stage, word, _ in instructions() if stage == "build"][-1] == "RUN"


def test_the_server_is_not_root() -> None:
    """A number, because Kubernetes cannot look up names before it starts the container."""
    assert of("server", "USER") == ["1001:1001"]
    assert any("groupadd --gid 1001 mluser" in rest and "--uid 1001 --gid 1001" in rest for rest in of("server", "RUN"))
    assert [word for stage, word, _ in instructions() if stage == "bundled" and word == "USER"] == []


@pytest.mark.parametrize("word", ["ENTRYPOINT", "CMD"])
def test_commands_are_in_exec_form(word: str) -> None:
    """A shell in between would swallow the signal to stop."""
    words = json.loads(of("server", word)[0])

    assert words == {"ENTRYPOINT": ["python", "-m", "model_server"], "CMD": ["--model_dir=/mnt/models"]}[word]


def test_health_is_asked_as_promised() -> None:
    """Every 30 s, for 5 s, after 15 s, three times."""
    options, _, command = of("server", "HEALTHCHECK")[0].partition(" CMD ")

    assert options == "--interval=30s --timeout=5s --start-period=15s --retries=3"
    assert json.loads(command) == ["python", "-m", "model_server.healthcheck"]
    assert environment()[healthcheck.VARIABLE].startswith("/tmp/")  # noqa: S108 - all that a pod may write to


def test_ports_environment_and_labels() -> None:
    """The default ports of the settings, unbuffered logs, and where the image comes from."""
    defaults = Settings()
    labels = re.findall(r'([\w.]+)="([^"]*)"', of("server", "LABEL")[0])

    assert of("server", "EXPOSE") == [f"{defaults.http_port} {defaults.grpc_port}"]
    assert environment()["PYTHONPATH"] == "/app"
    assert environment()["PYTHONUNBUFFERED"] == environment()["PYTHONDONTWRITEBYTECODE"] == "1"
    assert of("server", "ARG") == [f"VERSION={__version__}", "GIT_SHA=unknown"]
    assert ("org.opencontainers.image.version", "${VERSION}") in labels
    assert ("org.opencontainers.image.revision", "${GIT_SHA}") in labels


def test_a_bundled_image_demands_the_version_it_holds() -> None:
    """The bundle lies where KServe would mount it."""
    assert of("bundled", "COPY") == ["artifacts/${MODEL_NAME}/${MODEL_VERSION} /mnt/models"]
    assert of("bundled", "ARG") == ["MODEL_NAME=churn", "MODEL_VERSION=1.0.0"]
    assert of("bundled", "ENV") == ["MODEL_NAME=${MODEL_NAME} MODEL_VERSION=${MODEL_VERSION}"]


@pytest.mark.parametrize(
    ("path", "goes_in"),
    [
        ("model_server/__main__.py", True),
        ("locks/serve.txt", True),
        ("locks/onnx.txt", True),
        ("artifacts/churn/1.0.0/manifest.json", True),
        ("training/__main__.py", False),
        ("tests/conftest.py", False),
        ("locks/dev.txt", False),
        (".git/config", False),
        (".env", False),
        ("model_server/__pycache__/errors.cpython-311.pyc", False),
    ],
)
def test_the_build_sees_only_what_it_needs(path: str, goes_in: bool) -> None:  # noqa: FBT001 - a table's column
    """The last line of .dockerignore that matches decides."""
    decided = True
    for line in ROOT.joinpath(".dockerignore").read_text("utf-8").splitlines():
        if line and not line.startswith("#"):
            pattern = line.removeprefix("!").removeprefix("**/")
            parents = ["/".join(path.split("/")[: end + 1]) for end in range(path.count("/") + 1)]
            matches = any(fnmatch(part, pattern) for part in parents)
            if "**" in line:
                matches = any(fnmatch(part, pattern) for part in path.split("/"))
            decided = line.startswith("!") if matches else decided

    assert decided is goes_in
