"""KServe's own clients work against the server without knowing it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from kserve import InferenceGRPCClient, InferenceRESTClient, InferInput, InferRequest, RESTConfig

from tests.conformance.protocols import from_predictions, v1_lists, v2_json

if TYPE_CHECKING:
    from kserve import InferResponse

    from tests.conformance.facts import Facts
    from tests.conformance.target import Target


def as_infer_request(facts: Facts, n_rows: int, *, binary: bool) -> InferRequest:
    """Build a request with KServe's own types."""
    inputs = []
    for tensor in facts.tensors(facts.take(n_rows)):
        one = InferInput(tensor.name, list(tensor.shape), tensor.datatype)
        if binary:
            one.set_data_from_numpy(_array(tensor), binary_data=True)
        else:
            one.data = list(tensor.data)
        inputs.append(one)
    return InferRequest(facts.name, inputs)


def _array(tensor: Any) -> Any:
    import numpy as np

    dtype = {"FP64": np.float64, "INT64": np.int64, "BOOL": np.bool_, "BYTES": np.object_}[tensor.datatype]
    data = [value.encode() if isinstance(value, str) else value for value in tensor.data]
    return np.array(data, dtype=dtype).reshape(tensor.shape)


def outputs_of(response: InferResponse) -> dict[str, list[Any]]:
    """Read an answer with KServe's own types."""
    return {one.name: _texts(one.as_numpy().tolist()) for one in response.outputs}


def _texts(values: list[Any]) -> list[Any]:
    return [value.decode() if isinstance(value, bytes) else value for value in values]


def test_the_rest_client_speaks_v1(target: Target, facts: Facts) -> None:
    """KServe's InferenceRESTClient is what most Python clients are built on."""

    async def ask() -> Any:
        client = InferenceRESTClient(RESTConfig(protocol="v1"))
        try:
            return await client.infer(target.base_url, {"instances": facts.take(2)}, model_name=facts.name)
        finally:
            await client.close()

    assert from_predictions(facts, asyncio.run(ask())["predictions"]) == v1_lists(target, facts, facts.take(2))


@pytest.mark.parametrize("binary", [False, True], ids=["json", "binary"])
def test_the_rest_client_speaks_v2(target: Target, facts: Facts, *, binary: bool) -> None:
    """InferenceRESTClient with protocol v2, JSON and binary tensors."""

    async def ask() -> Any:
        client = InferenceRESTClient(RESTConfig(protocol="v2"))
        try:
            request = as_infer_request(facts, 2, binary=binary)
            return await client.infer(target.base_url, request, model_name=facts.name)
        finally:
            await client.close()

    assert outputs_of(asyncio.run(ask())) == v2_json(target, facts, facts.take(2))


def test_the_rest_client_sees_health(target: Target, facts: Facts) -> None:
    """It asks whether the server lives, the server is ready and the model is ready."""

    async def ask() -> tuple[bool, bool, bool]:
        client = InferenceRESTClient(RESTConfig(protocol="v2"))
        try:
            live = await client.is_server_live(target.base_url)
            ready = await client.is_server_ready(target.base_url)
            return live, ready, await client.is_model_ready(target.base_url, facts.name)
        finally:
            await client.close()

    assert asyncio.run(ask()) == (True, True, True)


@pytest.mark.parametrize("binary", [False, True], ids=["typed", "raw"])
def test_the_grpc_client_works(grpc_target: Target, facts: Facts, *, binary: bool) -> None:
    """InferenceGRPCClient: infer and the three health calls."""

    async def ask() -> tuple[Any, bool, bool, bool]:
        async with InferenceGRPCClient(str(grpc_target.grpc_address), timeout=30) as client:
            response = await client.infer(as_infer_request(facts, 2, binary=binary))
            live, ready = await client.is_server_live(), await client.is_server_ready()
            return response, live, ready, await client.is_model_ready(facts.name)

    response, *health = asyncio.run(ask())
    assert health == [True, True, True]
    assert outputs_of(response) == v2_json(grpc_target, facts, facts.take(2))
