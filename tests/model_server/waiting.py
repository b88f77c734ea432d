"""Requests to the model that waits as long as they say, and a server that is kept busy by one of them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb

from tests.bundles.live_server import wait_for

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

    from tests.bundles.live_server import LiveServer

V1 = "/v1/models/waiting:predict"


def ask(service: LiveServer, *rows: list[Any]) -> Any:
    """Ask the waiting model for some rows: the first value is answered, the second is how many seconds it takes."""
    return service.http.post(V1, json={"instances": list(rows)})


def call(service: LiveServer, row: list[float], **more: Any) -> Any:
    """Ask it over gRPC."""
    part = pb.ModelInferRequest.InferInputTensor(name="x", datatype="FP64", shape=[1, 2])
    part.contents.fp64_contents.extend(row)
    return service.stub.ModelInfer(pb.ModelInferRequest(model_name="waiting", inputs=[part]), **more)


class Blocked:
    """A server whose one thread is busy for a while, so that what comes meanwhile is queued."""

    def __init__(self, service: LiveServer, pool: ThreadPoolExecutor, seconds: float, n_rows: int = 1) -> None:
        """Send the request that blocks, and wait until the model has it."""
        self.service = service
        calls = self.calls
        self.asked = pool.submit(ask, service, *[[9.0, seconds]] * n_rows)
        wait_for(lambda: service.value("model_server_requests_in_flight") == 1)
        time.sleep(0.1)
        assert self.calls == calls

    @property
    def calls(self) -> float:
        """Model calls so far."""
        return self.service.value("model_server_inference_seconds_count", model_version="1.0.0")
