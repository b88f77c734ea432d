"""Starting: the port opens at once, liveness answers, and readiness is false until the model really answers."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

import grpc
import pytest
from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb

from tests.bundles.estimators import HELD_UNTIL
from tests.bundles.live_server import wait_for
from tests.checkout import EXAMPLES
from tests.conformance.errors import assert_error
from tests.conformance.target import Target, command, probe
from tests.conformance.wire import Tensor, grpc_raw, v1, v2

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conformance.target import Process

NOT_READY = ["/ready", "/v2/health/ready", "/v2/models/slow/ready", "/v1/models/slow"]
ALIVE = ["/", "/health", "/v2/health/live", "/metrics", "/openapi.json", "/v2"]


def assert_not_ready(process: Process, model: str) -> None:
    """Check every route of a server that is up without a model."""
    for path in ALIVE:
        assert probe(process.base_url + path) == 200, path
    with Target(process.base_url, process.grpc_address) as target:
        for path in NOT_READY:
            assert target.client.get(path.replace("slow", model)).status_code == 503, path
        tensors = [Tensor("features", "FP64", (1, 2), (0.5, 0.0))]
        for request in (v1(model, [[0.5, 0.0]]), v2(model, tensors)):
            assert_error(target.send(request), 503, "model-not-ready")
        for path in ("/predict", "/predict/batch", "/v1/predict", "/v1/predict/batch", f"/v1/models/{model}:explain"):
            assert_error(target.client.post(path, json={"instances": []}), 503, "model-not-ready")
        assert_error(target.client.get(f"/v2/models/{model}"), 503, "model-not-ready")
        assert target.client.get("/health").json()["model_loaded"] is False
        assert target.stub.ServerLive(pb.ServerLiveRequest(), timeout=10).live
        assert not target.stub.ServerReady(pb.ServerReadyRequest(), timeout=10).ready
        assert not target.stub.ModelReady(pb.ModelReadyRequest(name=model), timeout=10).ready
        with pytest.raises(grpc.RpcError) as caught:
            target.stub.ModelInfer(grpc_raw(model, tensors), timeout=10)
        assert isinstance(caught.value, grpc.Call)
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


def test_readiness_is_false_before_it_is_true(slow_registry: Path, folder: Path, tmp_path: Path) -> None:
    """While the bundle is being opened the process lives and says 503 everywhere; then everything turns at once."""
    flags = ["--model_name", "slow", "--model_dir", str(slow_registry)]
    opens = tmp_path / "opens"
    with command(folder, *flags, environment={HELD_UNTIL: str(opens)}) as process:
        process.wait_for("/health")
        assert_not_ready(process, "slow")
        opens.touch()
        process.wait_for("/ready")
        for path in (*NOT_READY, *ALIVE):
            assert probe(process.base_url + path) == 200, path
        wait_for(lambda: "ready" in messages(process))  # it is logged once the predicting thread is warm as well
        assert [message for message in messages(process) if message in {"listening", "ready"}] == ["listening", "ready"]


def messages(process: Process) -> list[str]:
    """Read the messages of the log so far."""
    return [str(line["message"]) for line in process.log()]


def test_without_require_model_the_process_stays_up(folder: Path, tmp_path: Path) -> None:
    """There is no bundle: alive, never ready, and the log says why and what to do."""
    flags = ["--model_name", "nothing", "--model_dir", str(tmp_path / "none"), "--require_model", "false"]
    with command(folder, *flags) as process:
        process.wait_for("/health")
        assert_not_ready(process, "nothing")
        reasons = [str(line) for line in process.log() if line["level"] == "ERROR"]
        assert len(reasons) == 1
        assert "python -m training run" in reasons[0]
        process.terminate()
        assert process.wait(timeout_s=60) == 0


def test_the_time_from_start_to_ready_is_measured(
    registry: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Printed for each example model; asserted only to be far from a probe's limits."""
    measured = {}
    for model in EXAMPLES:
        with command(folder, "--model_name", model, "--model_dir", str(registry)) as process:
            measured[model] = process.wait_for("/ready")
    shown = ", ".join(f"{model} {seconds:.2f} s" for model, seconds in measured.items())
    with capsys.disabled():
        print(f"\nstart to ready: {shown}; median {statistics.median(measured.values()):.2f} s")  # noqa: T201 - a measurement
    assert max(measured.values()) < 60
