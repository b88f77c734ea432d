"""Where a server under test runs: in this process, as the real command, or somewhere the caller started it."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.conformance import facts as facts_of
from tests.conformance.target import ADMIN_TOKEN, Target, command, probe

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conformance.facts import Facts


@dataclass(frozen=True)
class Served:
    """A running server together with what is known of the model it serves."""

    target: Target
    facts: Facts


def bundle_of(registry: Path, model: str) -> Path:
    """Find the promoted bundle of a model in a local registry."""
    return registry / model / (registry / model / "production").read_text("utf-8").strip()


@contextlib.contextmanager
def in_process(registry: Path, model: str, *flags: str) -> Iterator[Served]:
    """Serve a model from a thread of this process, over real sockets, until the block ends."""
    from prometheus_client import CollectorRegistry

    from model_server import settings
    from model_server.edge.embedded import RunningServer
    from model_server.telemetry.metrics import Metrics

    argv = ["--model_name", model, "--model_dir", str(registry), "--http_host", "127.0.0.1", *flags]
    chosen = settings.load([*argv, "--http_port", "0", "--grpc_port", "0"], {"API_ADMIN_TOKEN": ADMIN_TOKEN})
    running = RunningServer(chosen, Metrics(CollectorRegistry()))
    try:
        base_url, grpc_address = f"http://127.0.0.1:{running.http_port}", f"127.0.0.1:{running.grpc_port}"
        wait_until_ready(base_url)
        with Target(base_url, grpc_address, ADMIN_TOKEN, is_ours=True) as target:
            yield Served(target, facts_of.from_bundle(bundle_of(registry, model)))
    finally:
        running.stop()


def wait_until_ready(base_url: str, timeout_s: float = 60.0) -> None:
    """Poll readiness until it is true."""
    deadline = time.monotonic() + timeout_s
    while probe(f"{base_url}/v2/health/ready") != 200:
        assert time.monotonic() < deadline, f"{base_url} was not ready within {timeout_s} s"
        time.sleep(0.02)


@contextlib.contextmanager
def as_command(registry: Path, model: str, folder: Path, *flags: str) -> Iterator[Served]:
    """Serve a model with ``python -m model_server`` until the block ends."""
    argv = ["--model_name", model, "--model_dir", str(registry), "--http_host", "127.0.0.1", *flags]
    with command(folder, *argv, environment={"API_ADMIN_TOKEN": ADMIN_TOKEN}) as process:
        process.wait_for("/v2/health/ready")
        with Target(process.base_url, process.grpc_address, ADMIN_TOKEN, is_ours=True) as target:
            yield Served(target, facts_of.from_bundle(bundle_of(registry, model)))
