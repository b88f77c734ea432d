"""A real server in this process and its clients, for tests; knows addresses and metrics, not what is served."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import grpc
import httpx
from kserve.protocol.grpc.grpc_predict_v2_pb2_grpc import GRPCInferenceServiceStub
from prometheus_client import CollectorRegistry

from model_server import settings
from model_server.edge.embedded import RunningServer
from model_server.telemetry.metrics import Metrics

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from model_server.serving.observers import Observer

TOKEN = "edge-tests-only"  # noqa: S105 - of a test


@dataclass(frozen=True)
class LiveServer:
    """A running server and its clients."""

    running: RunningServer
    metrics: Metrics
    http: httpx.Client
    channel: grpc.Channel

    @property
    def stub(self) -> Any:
        """The gRPC methods."""
        return GRPCInferenceServiceStub(self.channel)

    @property
    def base_url(self) -> str:
        """Where HTTP is served."""
        return f"http://127.0.0.1:{self.running.http_port}"

    def value(self, name: str, **labels: str) -> float:
        """Read one number of the metrics; 0 when there is no such series."""
        return self.metrics.registry.get_sample_value(name, labels) or 0.0

    def wait_until_ready(self, timeout_s: float = 60.0) -> None:
        """Poll readiness, then wait for the thread that predicts, which begins by asking for the golden rows."""
        wait_for(lambda: self.http.get("/v2/health/ready").status_code == 200, timeout_s)
        assert self.running.loaded.wait(timeout_s)


def wait_for(condition: Any, timeout_s: float = 60.0) -> None:
    """Poll until a condition holds."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"not within {timeout_s} s"
        time.sleep(0.01)


def load_settings(directory: Path, *flags: str, token: str | None = TOKEN) -> settings.Settings:
    """Make the settings of a server on free loopback ports."""
    argv = [f"--model_dir={directory}", "--http_host=127.0.0.1", "--http_port=0", "--grpc_port=0", *flags]
    return settings.load(argv, {"API_ADMIN_TOKEN": token} if token else {})


@contextlib.contextmanager
def serving(
    directory: Path, *flags: str, token: str | None = TOKEN, ready: bool = True, observers: Sequence[Observer] = ()
) -> Iterator[LiveServer]:
    """Serve a folder in a thread of this process until the block ends."""
    metrics = Metrics(CollectorRegistry())
    running = RunningServer(load_settings(directory, *flags, token=token), metrics, observers)
    options = [("grpc.enable_http_proxy", 0), ("grpc.enable_retries", 0), ("grpc.max_receive_message_length", -1)]
    with (
        httpx.Client(base_url=f"http://127.0.0.1:{running.http_port}", timeout=120.0, trust_env=False) as http,
        grpc.insecure_channel(f"127.0.0.1:{running.grpc_port}", options=options) as channel,
    ):
        service = LiveServer(running, metrics, http, channel)
        try:
            if ready:
                service.wait_until_ready()
            yield service
        finally:
            running.stop()
