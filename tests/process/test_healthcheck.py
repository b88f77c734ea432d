"""The HEALTHCHECK of the image, the very command of the Dockerfile, asks the port that the server really has."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from model_server.healthcheck import VARIABLE
from tests.checkout import ROOT
from tests.conformance.target import clean_environment, free_port
from tests.dockerfile import environment, of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

COMMAND = json.loads(of("server", "HEALTHCHECK")[0].partition(" CMD ")[2])
#: Without a bundle the process lives, which is all that is asked here.
ALIVE = ["--model_dir=/nowhere", "--require_model=false", "--enable_grpc=false"]

WAYS: dict[str, tuple[list[str], dict[str, str], str]] = {
    "default host, flag": (["--http_port={port}"], {}, ""),
    "PORT": ([], {"PORT": "{port}"}, ""),
    "HTTP_PORT": ([], {"HTTP_PORT": "{port}"}, ""),
    "MODEL_SERVER_HTTP_PORT over HTTP_PORT": ([], {"MODEL_SERVER_HTTP_PORT": "{port}", "HTTP_PORT": "1"}, ""),
    "flag over environment": (["--http_port", "{port}"], {"HTTP_PORT": "1", "PORT": "2"}, ""),
    "file": (["--config={file}"], {}, "http_port: {port}\n"),
    "file by environment": ([], {"MODEL_SERVER_CONFIG": "{file}"}, "http_port: {port}\n"),
    "picked by the system": (["--http_port=0"], {}, ""),
    "IPv4 loopback": (["--http_host=127.0.0.1", "--http_port=0"], {}, ""),
    "IPv6 loopback": (["--http_host=::1", "--http_port=0"], {}, ""),
    "every IPv6 address": (["--http_host=::", "--http_port=0"], {}, ""),
    "a proxy in the environment": (["--http_port=0"], {"http_proxy": "http://127.0.0.1:1"}, ""),
}


def image_environment(folder: Path) -> dict[str, str]:
    """Give the variables of the image, with its /tmp in a folder of this test."""
    ours = environment()
    assert ours[VARIABLE].startswith("/tmp/")  # noqa: S108 - in the image
    place = str(folder / ours[VARIABLE].removeprefix("/tmp/"))  # noqa: S108 - in the image
    return clean_environment() | {VARIABLE: place, "PYTHONPATH": str(ROOT)}


def check(variables: dict[str, str]) -> tuple[int, str]:
    """Run the command of the Dockerfile with this Python, and give its exit code and its words."""
    words = [sys.executable, *COMMAND[1:]]
    ended = subprocess.run(words, env=variables, capture_output=True, text=True, check=False, timeout=60)
    assert ended.stderr == ""
    return ended.returncode, ended.stdout.strip()


@contextmanager
def started(flags: list[str], variables: dict[str, str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run a server without a bundle until the block ends."""
    with log.open("wb") as out:
        server = subprocess.Popen([sys.executable, "-m", "model_server", *ALIVE, *flags], env=variables, stdout=out)
    try:
        yield server
    finally:
        server.terminate()
        server.wait(timeout=60)


def wait_until_listening(log: Path) -> None:
    """Wait for the line that says so."""
    deadline = time.monotonic() + 60
    while b'"message":"listening"' not in log.read_bytes():
        assert time.monotonic() < deadline, log.read_text("utf-8")
        time.sleep(0.05)


@pytest.mark.parametrize("way", WAYS)
def test_the_check_finds_the_server_whichever_way_its_port_was_set(tmp_path: Path, way: str) -> None:
    """Alive while it listens, and not when it is gone."""
    flags, further, file = WAYS[way]
    places = {"port": str(free_port()), "file": str(tmp_path / "server.yaml")}
    (tmp_path / "server.yaml").write_text(file.format(**places), "utf-8")
    variables = image_environment(tmp_path) | {name: text.format(**places) for name, text in further.items()}
    with started([flag.format(**places) for flag in flags], variables, tmp_path / "log"):
        wait_until_listening(tmp_path / "log")
        assert check(variables) == (0, "alive")

    code, said = check(variables)
    assert (code, said.endswith("does not answer (ConnectionRefusedError)")) == (1, True), said


def test_before_the_server_listens_the_check_fails(tmp_path: Path) -> None:
    """There is nothing to ask yet, and the text says so."""
    code, said = check(image_environment(tmp_path))

    assert (code, "cannot be read (No such file or directory)" in said) == (1, True), said


def test_the_check_says_that_its_variable_is_missing(tmp_path: Path) -> None:
    """Who empties it learns why the container is unhealthy."""
    code, said = check(image_environment(tmp_path) | {VARIABLE: ""})

    assert (code, said) == (1, f"{VARIABLE} is not set: the image sets it, so leave it")


def test_a_server_that_cannot_write_its_address_serves_on(tmp_path: Path) -> None:
    """A read-only root is no reason to end; the log says what will not work. Not even root writes to /proc."""
    variables = image_environment(tmp_path) | {VARIABLE: "/proc/self/model-server.address"}
    with started(["--http_port=0"], variables, tmp_path / "log") as server:
        wait_until_listening(tmp_path / "log")
        assert server.poll() is None

    lines = [json.loads(line) for line in (tmp_path / "log").read_text("utf-8").splitlines()]
    warned = [line["message"] for line in lines if line["level"] == "WARNING"]
    assert [text for text in warned if text.startswith("address_file /proc/self/model-server.address cannot be")]
