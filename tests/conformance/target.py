"""A server under test and the clients to reach it; knows addresses, not what is served there."""

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
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

import grpc
import httpx
import orjson
from kserve.protocol.grpc.grpc_predict_v2_pb2_grpc import GRPCInferenceServiceStub

from tests.conformance.wire import HEADER_LENGTH, grpc_outputs, v2_outputs

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb

    from tests.conformance.wire import Request

#: The admin token of the servers that the suite starts itself.
ADMIN_TOKEN = "conformance-only-token"  # noqa: S105 - a token of a test

START_TIMEOUT_S = 90.0


@dataclass
class Target:
    """A running server.

    Attributes:
        base_url: Where HTTP is served.
        grpc_address: ``host:port`` of gRPC; None when the server has none.
        admin_token: Token of the admin routes; None when the suite does not know it.
        max_rows: Most rows a request may have.
        max_body_bytes: Largest body.
        is_ours: Whether the suite started it alone for itself, so that the model may be unloaded.
    """

    base_url: str
    grpc_address: str | None
    admin_token: str | None = None
    max_rows: int = 10_000
    max_body_bytes: int = 16 * 1024 * 1024
    is_ours: bool = False
    client: httpx.Client = field(init=False, repr=False)
    channel: grpc.Channel | None = field(init=False, repr=False, default=None)

    def __enter__(self) -> Self:
        # HTTP proxies of the machine are not part of the test.
        self.client = httpx.Client(base_url=self.base_url, timeout=60.0, trust_env=False)
        if self.grpc_address is not None:
            unlimited = [
                ("grpc.max_send_message_length", -1),
                ("grpc.enable_http_proxy", 0),
                ("grpc.enable_retries", 0),
            ]
            self.channel = grpc.insecure_channel(self.grpc_address, options=unlimited)
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()
        if self.channel is not None:
            self.channel.close()

    @property
    def stub(self) -> Any:
        """The gRPC methods of the protocol."""
        assert self.channel is not None, "this server has no gRPC port; give one with --grpc"
        return GRPCInferenceServiceStub(self.channel)

    def send(self, request: Request) -> httpx.Response:
        """Send one HTTP request."""
        headers = {name: value.encode() for name, value in request.headers.items()}
        return self.client.request(request.method, request.path, content=request.content, headers=headers)  # type: ignore[arg-type]

    def outputs(self, request: Request) -> dict[str, list[Any]]:
        """Send a v2 infer request that must succeed and read its outputs as nested lists by name."""
        response = self.send(request)
        assert response.status_code == 200, response.text
        return v2_outputs(response.content, response.headers.get(HEADER_LENGTH))

    def grpc_outputs(self, request: pb.ModelInferRequest) -> dict[str, list[Any]]:
        """Send a gRPC infer request that must succeed and read its outputs as nested lists by name."""
        return grpc_outputs(self.stub.ModelInfer(request, timeout=60))


def free_port() -> int:
    """Find a port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Process:
    """The real command, started as a user would.

    Attributes:
        http_port: Where it serves HTTP.
        grpc_port: Where it serves gRPC.
        handle: The running process.
        stdout: File that receives its standard output.
        stderr: File that receives its standard error.
        started_s: When it was started, on the monotonic clock.
    """

    http_port: int
    grpc_port: int
    handle: subprocess.Popen[bytes]
    stdout: Path
    stderr: Path
    started_s: float

    @property
    def base_url(self) -> str:
        """Where it serves HTTP."""
        return f"http://127.0.0.1:{self.http_port}"

    @property
    def grpc_address(self) -> str:
        """Where it serves gRPC."""
        return f"127.0.0.1:{self.grpc_port}"

    def log(self) -> list[dict[str, Any]]:
        """Parse what it has written so far; fails when a line is not a JSON object."""
        lines = [orjson.loads(line) for line in self.stdout.read_bytes().splitlines()]
        assert all(isinstance(line, dict) for line in lines), "a log line is not a JSON object"
        return lines

    def said(self) -> str:
        """Give all it has written so far, both streams."""
        return self.stdout.read_text("utf-8") + self.stderr.read_text("utf-8")

    def wait_for(self, path: str, status: int = 200, timeout_s: float = START_TIMEOUT_S) -> float:
        """Poll a route until it answers with a status.

        Returns:
            Seconds since the process was started.
        """
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            assert self.handle.poll() is None, f"the server ended with {self.handle.returncode}:\n{self.said()}"
            if probe(f"{self.base_url}{path}") == status:
                return time.monotonic() - self.started_s
            time.sleep(0.03)
        raise AssertionError(f"{path} did not answer {status} within {timeout_s} s:\n{self.said()}")

    def terminate(self) -> None:
        """Ask it to stop, as Kubernetes does."""
        self.handle.send_signal(signal.SIGTERM)

    def wait(self, timeout_s: float) -> int:
        """Wait for its end and give the exit code."""
        return self.handle.wait(timeout=timeout_s)


def probe(url: str) -> int | None:
    """Ask a route once, on a connection of its own; None when nobody answers."""
    address = urlsplit(url)
    # Not httpx: it prepares TLS for every new client, and polling must not take the processor from the server.
    connection = http.client.HTTPConnection(address.hostname or "", address.port or 80, timeout=60)
    try:
        connection.request("GET", address.path)
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


@contextlib.contextmanager
def command(
    folder: Path, *flags: str, environment: dict[str, str] | None = None, python_path: Path | None = None
) -> Iterator[Process]:
    """Run ``python -m model_server`` with free ports until the block ends.

    Args:
        folder: An existing folder for its output files.
        flags: The command line behind the ports.
        environment: Further variables.
        python_path: Folder of importable modules, for a bundle whose estimator lives in one.
    """
    http_port, grpc_port = free_port(), free_port()
    words = [sys.executable, "-m", "model_server", "--http_port", str(http_port), "--grpc_port", str(grpc_port), *flags]
    variables = {**clean_environment(), **(environment or {})}
    if python_path is not None:
        variables["PYTHONPATH"] = str(python_path)
    stdout, stderr = folder / f"{http_port}.out", folder / f"{http_port}.err"
    with stdout.open("wb") as out, stderr.open("wb") as err:
        started_s = time.monotonic()
        handle = subprocess.Popen(words, stdout=out, stderr=err, env=variables)
    try:
        yield Process(http_port, grpc_port, handle, stdout, stderr, started_s)
    finally:
        _end(handle)


def clean_environment() -> dict[str, str]:
    """Give the machine's variables without those that the server reads as settings."""
    ours = ("MODEL_", "API_", "APP_", "HTTP_PORT", "GRPC_PORT", "PORT", "LOG_LEVEL", "STORAGE_", "KSERVE_")
    return {name: value for name, value in os.environ.items() if not name.startswith(ours)}


def _end(handle: subprocess.Popen[bytes]) -> None:
    if handle.poll() is None:
        handle.terminate()
        try:
            handle.wait(timeout=30)
        except subprocess.TimeoutExpired:
            handle.kill()
            handle.wait()
