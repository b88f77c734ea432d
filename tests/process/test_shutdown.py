"""SIGTERM: readiness drops at once, requests in flight finish on every protocol, the exit code is 0."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import httpx
from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb

from tests.bundles.estimators import HELD_UNTIL
from tests.conformance.target import Target, command, probe
from tests.conformance.wire import Tensor, grpc_raw, v1, v2

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conformance.target import Process

LONG_S = 3.5
DRAIN_S = 2.0


def _flags(registry: Path, model: str, *more: str) -> list[str]:
    return ["--model_name", model, "--model_dir", str(registry), "--shutdown_delay_s", str(DRAIN_S), *more]


def _rows(seconds: float) -> list[Tensor]:
    return [Tensor("features", "FP64", (1, 2), (0.5, seconds))]


def test_requests_in_flight_finish(slow_registry: Path, folder: Path) -> None:
    """v1, v2 and gRPC requests that ran when the signal came are answered, and new ones until the ports close."""
    flags = _flags(slow_registry, "slow", "--predict_threads", "4")
    with command(folder, *flags) as process, ThreadPoolExecutor(4) as pool:
        process.wait_for("/ready")
        with Target(process.base_url, process.grpc_address) as target:
            target.stub.ServerReady(pb.ServerReadyRequest(), timeout=10)  # the channel is connected before the signal
            running = [
                pool.submit(target.send, v1("slow", [[0.5, LONG_S]])),
                pool.submit(target.send, v2("slow", _rows(LONG_S))),
                pool.submit(target.stub.ModelInfer, grpc_raw("slow", _rows(LONG_S)), timeout=30),
            ]
            time.sleep(0.5)
            asked_s = time.monotonic()
            process.terminate()
            _drained(process, target)
            assert target.send(v1("slow", [[0.5, 0.0]])).status_code == 200, "a late request is still answered"
            first, second, third = (future.result() for future in running)
            assert (first.status_code, second.status_code) == (200, 200)
            assert third.model_name == "slow"
        assert process.wait(timeout_s=60) == 0
        assert time.monotonic() - asked_s < LONG_S + DRAIN_S + 10
        assert [line["message"] for line in process.log()][-1] == "stopped"


def _drained(process: Process, target: Target) -> None:
    """Check that every readiness answer is no while liveness stays yes."""
    deadline = time.monotonic() + DRAIN_S * 0.75
    while probe(f"{process.base_url}/ready") != 503:
        assert time.monotonic() < deadline, "readiness did not drop"
    for path in ("/ready", "/v2/health/ready", "/v2/models/slow/ready"):
        assert probe(process.base_url + path) == 503, path
    assert not target.stub.ServerReady(pb.ServerReadyRequest(), timeout=10).ready
    for path in ("/health", "/v2/health/live", "/"):
        assert probe(process.base_url + path) == 200, path


def test_no_answer_is_lost_under_load(registry: Path, folder: Path) -> None:
    """Clients that open a connection for each request see only 200 until the ports close, and never a 5xx."""
    with command(folder, *_flags(registry, "iris")) as process:
        process.wait_for("/ready")
        body = '{"instances": [[5.1, 3.5, 1.4, 0.2]]}'
        asked = threading.Event()
        answers: list[int] = []
        lost_early: list[str] = []

        def load() -> None:
            while True:
                before_signal = not asked.is_set()
                try:
                    with httpx.Client(trust_env=False, verify=False) as client:  # noqa: S501 - there is no TLS
                        answer = client.post(f"{process.base_url}/v1/models/iris:predict", content=body)
                    answers.append(answer.status_code)
                except httpx.TransportError as error:
                    if before_signal and not asked.is_set():
                        lost_early.append(repr(error))
                    return

        clients = [threading.Thread(target=load) for _ in range(4)]
        for client in clients:
            client.start()
        while len(answers) < 50:
            time.sleep(0.05)
        asked.set()
        process.terminate()
        assert process.wait(timeout_s=60) == 0
        for client in clients:
            client.join(timeout=15)
        assert not lost_early
        assert len(answers) >= 50
        assert set(answers) == {200}


def test_a_signal_while_loading_ends_the_process_at_once(slow_registry: Path, folder: Path, tmp_path: Path) -> None:
    """A bundle that never opens does not hold the process."""
    slow = {HELD_UNTIL: str(tmp_path / "never")}
    with command(folder, "--model_name", "slow", "--model_dir", str(slow_registry), environment=slow) as process:
        process.wait_for("/health")
        process.terminate()
        assert process.wait(timeout_s=60) == 0
