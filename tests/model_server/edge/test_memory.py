"""What a request leaves behind: nothing that waits for the garbage collector, which runs rarely in a server."""

from __future__ import annotations

import asyncio
import gc
from typing import TYPE_CHECKING

import grpc
import orjson
import pytest
import uvloop
from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb

from model_server.edge.http.inference import CACHED_BYTES, is_short, route_of
from model_server.serving.call import Call
from model_server.telemetry.logs import write_later
from tests.bundles.live_server import serving, wait_for
from tests.model_server.edge.wire_to_wire import FEATURES, V1, V2, connected, on_the_wire, v1, v2

if TYPE_CHECKING:
    from pathlib import Path

SHORT_ROW = [0.5]
EXPLAIN = V1.replace("predict", "explain")
MISSHAPEN = orjson.dumps({"inputs": [{"name": "x", "datatype": "FP64", "shape": [1, 2], "data": [1.0, 2.0]}]})


def instances(*rows: list[float]) -> bytes:
    """Write a v1 body."""
    return orjson.dumps({"instances": rows})


def decoded() -> int:
    """Count decoded requests that are kept somewhere; tests that ran before in this process may keep some."""
    return sum(isinstance(kept, Call) for kept in gc.get_objects())


async def calls_left(registry: Path, request: bytes, status: int) -> int:
    """Send a request on a warm connection, and count decoded requests that it leaves behind."""
    (wire,) = await connected(registry, 1)
    await wire.ask(on_the_wire(*v1(1)))
    gc.collect()
    before = decoded()
    gc.disable()
    try:
        assert await wire.ask(request) == status
        await asyncio.sleep(0.01)  # callbacks that were scheduled hold their arguments until they ran
        return decoded() - before
    finally:
        gc.enable()
        write_later(None)


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        (*v1(1), 200),
        (*v1(3000), 200),
        (*v2(1), 200),
        (EXPLAIN, instances([0.5] * FEATURES), 200),
        (V1, instances(SHORT_ROW), 400),
        (V1, instances(*[SHORT_ROW] * 2000), 400),
        (V1, instances(*[SHORT_ROW] * 20_000), 400),
        (V2, MISSHAPEN, 400),
        (EXPLAIN, instances(SHORT_ROW), 400),
        ("/predict", b'{"features": [1, 2]}', 422),
        ("/predict/batch", instances(SHORT_ROW), 422),
    ],
    ids=[
        "v1",
        "large v1",
        "v2",
        "explain",
        "refused v1",
        "refused large v1",
        "too many rows",
        "refused v2",
        "refused explain",
        "refused row",
        "refused batch",
    ],
)
def test_an_answered_request_is_freed_at_once(registry: Path, path: str, body: bytes, status: int) -> None:
    """An error that leads back to its own request would keep bodies until memory is full of them."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(calls_left(registry, on_the_wire(path, body), status)) == 0


def infer(shape: list[int]) -> pb.ModelInferRequest:
    """Write a gRPC request of the linear model, of one tensor."""
    contents = pb.InferTensorContents(fp64_contents=[0.5] * (shape[0] * shape[1]))
    tensor = pb.ModelInferRequest.InferInputTensor(name="x", datatype="FP64", shape=shape, contents=contents)
    return pb.ModelInferRequest(model_name="linear", inputs=[tensor])


def test_a_refused_rpc_is_freed_at_once(written: Path) -> None:
    """What gRPC keeps of an aborted call leads back to the request, so a call is refused without aborting it."""
    with serving(written / "linear" / "1.0.0") as service:
        service.stub.ModelInfer(infer([1, 3]))
        gc.collect()
        before = decoded()
        gc.disable()
        try:
            with pytest.raises(grpc.RpcError, match="must have shape"):
                service.stub.ModelInfer(infer([1, 2]))
            wait_for(lambda: decoded() <= before, timeout_s=10)
        finally:
            gc.enable()


async def cached_paths(registry: Path, size: int) -> int:
    """Send requests with paths of that many bytes, and count what the caches of paths took of them."""
    (wire,) = await connected(registry, 1)
    is_short.cache_clear()
    route_of.cache_clear()
    statuses = {await wire.ask(on_the_wire(f"/v1/models/{'m' * size}{number}:predict", b"{}")) for number in range(4)}
    write_later(None)
    assert statuses == {404}
    return is_short.cache_info().currsize + route_of.cache_info().currsize


def test_long_paths_are_not_kept(registry: Path) -> None:
    """A client chooses its path, and may choose one of many megabytes: the cache is for those of models."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(cached_paths(registry, 10)) > 0
        assert runner.run(cached_paths(registry, CACHED_BYTES)) == 0
