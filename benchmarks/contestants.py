"""Who is compared: how each server is started and which protocols it answers; knows commands, not measurements."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

ROOT = Path(__file__).resolve().parent.parent
_START_S = 120.0


@dataclass(frozen=True)
class Served:
    """What the contestants serve.

    Attributes:
        registry: Folder of bundles.
        model: Name of the model; its version is the one in production.
        bundle: Folder of that version.
    """

    registry: Path
    model: str
    bundle: Path


@dataclass(frozen=True)
class Ports:
    """Where a contestant listens."""

    http: int
    grpc: int


@dataclass(frozen=True)
class Contestant:
    """A server that takes part.

    Attributes:
        name: In tables.
        command: Gives its command line, without the interpreter's path.
        protocols: Protocols that it answers, as ``payloads`` names them.
        live: Path that answers as soon as it is up.
        python: Interpreter of its environment.
        environment: Variables that it needs.
    """

    name: str
    command: Callable[[Served, Ports], Sequence[str]]
    protocols: tuple[str, ...]
    live: str
    python: str = sys.executable
    environment: Mapping[str, str] = field(default_factory=dict)


def _ours(served: Served, ports: Ports) -> list[str]:
    flags = ["--model_name", served.model, "--model_dir", str(served.registry), "--http_host", "127.0.0.1"]
    return ["-m", "model_server", *flags, "--http_port", str(ports.http), "--grpc_port", str(ports.grpc)]


def _kserve(served: Served, ports: Ports) -> list[str]:
    pipeline = str(served.bundle / "pipeline.joblib")
    return ["-m", "benchmarks.servers.kserve_documented", pipeline, served.model, str(ports.http), str(ports.grpc)]


def _echo(_: Served, ports: Ports) -> list[str]:
    return ["-m", "benchmarks.servers.echo", str(ports.http)]


_ALL = ("v1", "v1 objects", "v2", "v2 binary", "grpc", "grpc raw")
OURS = Contestant("ours", _ours, _ALL, "/v2/health/ready")
KSERVE = Contestant("kserve", _kserve, _ALL, "/v2/health/ready")
ECHO = Contestant("echo", _echo, ("echo",), "/")
QUICK = (OURS, KSERVE, ECHO)


class Running:
    """A contestant's process, pinned to one core; a context manager that ends it."""

    def __init__(self, contestant: Contestant, served: Served, core: int, log: Path) -> None:
        """Start it and wait until it answers.

        Args:
            contestant: Which one.
            served: What it serves.
            core: Core that it and all its children get.
            log: Where its output goes; a file, as a container's log driver has.

        Raises:
            SystemExit: It did not answer in time.
        """
        self.contestant = contestant
        self.ports = Ports(_free_port(), _free_port())
        words = [contestant.python, *contestant.command(served, self.ports)]
        environment = {**os.environ, "PYTHONPATH": str(ROOT), **contestant.environment}
        started_s = time.perf_counter()
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                ["taskset", "-c", str(core), *words],
                cwd=ROOT,
                env=environment,
                stdout=output,
                stderr=subprocess.STDOUT,
                process_group=0,  # to end it with all that it starts; a session of its own would have another priority
            )
        self._wait(log)
        #: Seconds from its command to its first good answer.
        self.start_s = time.perf_counter() - started_s

    @property
    def pid(self) -> int:
        """Its process."""
        return self._process.pid

    def _wait(self, log: Path) -> None:
        deadline_s = time.monotonic() + _START_S
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline_s:
                self.stop()
                tail = log.read_text(errors="replace")[-2000:]
                raise SystemExit(f"bench: {self.contestant.name} did not come up:\n{tail}")
            time.sleep(0.02)

    def _answers(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self.ports.http, timeout=2)
        with contextlib.suppress(OSError), contextlib.closing(connection):
            connection.request("GET", self.contestant.live)
            return connection.getresponse().status == HTTPStatus.OK
        return False

    def stop(self) -> None:
        """End it and everything that it started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGTERM)
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(10)

    def __enter__(self) -> Self:
        """Give the running server."""
        return self

    def __exit__(self, *_: object) -> None:
        """End it."""
        self.stop()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])
