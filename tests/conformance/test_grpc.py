"""The Open Inference Protocol over gRPC: every method, typed and raw contents."""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc
import pytest
from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb

from tests.conformance.protocols import PROTOCOLS
from tests.conformance.wire import grpc_raw, grpc_typed

if TYPE_CHECKING:
    from tests.conformance.facts import Facts
    from tests.conformance.target import Target


def test_the_server_is_live_and_ready(grpc_target: Target) -> None:
    """ServerReady is true only while every model is (KServe issues 3262, 3931)."""
    stub = grpc_target.stub
    assert stub.ServerLive(pb.ServerLiveRequest(), timeout=30).live
    assert stub.ServerReady(pb.ServerReadyRequest(), timeout=30).ready


def test_the_server_describes_itself_as_over_rest(grpc_target: Target) -> None:
    """Name, version and extensions are those of the REST route."""
    reply = grpc_target.stub.ServerMetadata(pb.ServerMetadataRequest(), timeout=30)
    page = grpc_target.client.get("/v2").json()
    assert (reply.name, reply.version, list(reply.extensions)) == (page["name"], page["version"], page["extensions"])


@pytest.mark.parametrize("with_version", [False, True])
def test_the_model_is_ready(grpc_target: Target, facts: Facts, *, with_version: bool) -> None:
    """It may be asked for with its version and without."""
    version = facts.version if with_version else ""
    assert grpc_target.stub.ModelReady(pb.ModelReadyRequest(name=facts.name, version=version), timeout=30).ready


def test_metadata_is_the_same_as_over_rest(grpc_target: Target, facts: Facts) -> None:
    """A client may choose the protocol by its names, datatypes, shapes and versions."""
    reply = grpc_target.stub.ModelMetadata(pb.ModelMetadataRequest(name=facts.name), timeout=30)
    page = grpc_target.client.get(f"/v2/models/{facts.name}").json()
    assert (reply.name, list(reply.versions), reply.platform) == (page["name"], page["versions"], page["platform"])
    for given, expected in ((reply.inputs, page["inputs"]), (reply.outputs, page["outputs"])):
        assert [(one.name, one.datatype, list(one.shape)) for one in given] == [
            (one["name"], one["datatype"], one["shape"]) for one in expected
        ]


@pytest.mark.parametrize("build", [grpc_typed, grpc_raw], ids=["typed", "raw"])
def test_raw_in_gives_raw_out(grpc_target: Target, facts: Facts, build: type) -> None:
    """An answer uses the form of the request, as KServe and Triton do."""
    reply = grpc_target.stub.ModelInfer(build(facts.name, facts.tensors(facts.take(2))), timeout=30)
    assert bool(reply.raw_output_contents) is (build is grpc_raw)
    assert (reply.model_name, reply.model_version) == (facts.name, facts.version)
    assert all(bool(one.contents.ByteSize()) is (build is grpc_typed) for one in reply.outputs)


@pytest.mark.parametrize("build", [grpc_typed, grpc_raw], ids=["typed", "raw"])
def test_the_id_is_echoed(grpc_target: Target, facts: Facts, build: type) -> None:
    """The id belongs to the caller."""
    request = build(facts.name, facts.tensors(facts.take(1)), id="grpc-7")
    assert grpc_target.stub.ModelInfer(request, timeout=30).id == "grpc-7"


def test_requested_outputs_are_answered_in_the_order_asked(grpc_target: Target, facts: Facts) -> None:
    """KServe ignores them over gRPC."""
    wanted = list(reversed(facts.outputs))
    outputs = [pb.ModelInferRequest.InferRequestedOutputTensor(name=name) for name in wanted]
    for names in (wanted, wanted[:1]):
        request = grpc_raw(facts.name, facts.tensors(facts.take(2)), outputs=outputs[: len(names)])
        assert list(grpc_target.grpc_outputs(request)) == names


def test_the_served_version_may_be_named(grpc_target: Target, facts: Facts) -> None:
    """KServe ignores the version over gRPC."""
    request = grpc_typed(facts.name, facts.tensors(facts.take(1)), model_version=facts.version)
    assert grpc_target.stub.ModelInfer(request, timeout=30).model_version == facts.version


def test_reasons_come_when_requested(grpc_target: Target, facts: Facts) -> None:
    """They are asked for in the same words as over REST."""
    outputs = [pb.ModelInferRequest.InferRequestedOutputTensor(name="reasons")]
    request = grpc_typed(facts.name, facts.tensors(facts.take(2)), outputs=outputs)
    assert len(grpc_target.grpc_outputs(request)["reasons"]) == 2


def test_parameters_of_the_protocol_do_no_harm(grpc_target: Target, facts: Facts) -> None:
    """Unknown parameters are ignored on the request and on an input."""
    request = grpc_typed(facts.name, facts.tensors(facts.take(1)))
    for holder in (request.parameters, request.inputs[0].parameters):
        holder["text"].string_param = "a"
        holder["count"].int64_param = 1
        holder["flag"].bool_param = True
    assert grpc_target.grpc_outputs(request) == PROTOCOLS["grpc-typed"](grpc_target, facts, facts.take(1))


def test_the_request_id_is_returned_in_the_metadata(grpc_target: Target, facts: Facts) -> None:
    """x-request-id and x-model-version travel with gRPC as they do with HTTP."""
    request = grpc_typed(facts.name, facts.tensors(facts.take(1)))
    _, call = grpc_target.stub.ModelInfer.with_call(request, metadata=[("x-request-id", "grpc-id-1")], timeout=30)
    found = dict([*call.initial_metadata(), *call.trailing_metadata()])
    assert found["x-request-id"] == "grpc-id-1"
    assert found["x-model-version"] == facts.version


def code_of(call: object) -> grpc.StatusCode:
    """Give the status code of a failed call, after checking that its text is there and leaks nothing."""
    from tests.conformance.errors import assert_no_leak

    assert isinstance(call, grpc.RpcError)
    text = call.details()
    assert text
    assert_no_leak(text)
    code = call.code()
    assert isinstance(code, grpc.StatusCode)
    return code


@pytest.mark.parametrize("method", ["ModelReady", "ModelMetadata", "ModelInfer"])
def test_an_unknown_model_is_not_found(grpc_target: Target, facts: Facts, method: str) -> None:
    """On each method that names a model."""
    requests = {
        "ModelReady": pb.ModelReadyRequest(name="no-such-model"),
        "ModelMetadata": pb.ModelMetadataRequest(name="no-such-model"),
        "ModelInfer": grpc_typed("no-such-model", facts.tensors(facts.take(1))),
    }
    with pytest.raises(grpc.RpcError) as caught:
        getattr(grpc_target.stub, method)(requests[method], timeout=30)
    assert code_of(caught.value) is grpc.StatusCode.NOT_FOUND


@pytest.mark.parametrize("method", ["ModelReady", "ModelMetadata", "ModelInfer"])
def test_another_version_is_not_found(grpc_target: Target, facts: Facts, method: str) -> None:
    """KServe ignores the version over gRPC; an answer from another version than asked would be a lie."""
    requests = {
        "ModelReady": pb.ModelReadyRequest(name=facts.name, version="999.0.0"),
        "ModelMetadata": pb.ModelMetadataRequest(name=facts.name, version="999.0.0"),
        "ModelInfer": grpc_typed(facts.name, facts.tensors(facts.take(1)), model_version="999.0.0"),
    }
    with pytest.raises(grpc.RpcError) as caught:
        getattr(grpc_target.stub, method)(requests[method], timeout=30)
    assert code_of(caught.value) is grpc.StatusCode.NOT_FOUND


@pytest.mark.parametrize("method", ["RepositoryModelLoad", "RepositoryModelUnload"])
@pytest.mark.parametrize("token", [None, "wrong-token"])
def test_load_and_unload_need_the_token(grpc_target: Target, facts: Facts, method: str, token: str | None) -> None:
    """KServe lets anybody unload the model for good."""
    request = getattr(pb, f"{method}Request")(model_name=facts.name)
    metadata = [] if token is None else [("x-admin-token", token)]
    with pytest.raises(grpc.RpcError) as caught:
        getattr(grpc_target.stub, method)(request, metadata=metadata, timeout=30)
    assert code_of(caught.value) is grpc.StatusCode.PERMISSION_DENIED
    assert grpc_target.stub.ModelReady(pb.ModelReadyRequest(name=facts.name), timeout=30).ready


def test_load_with_the_token_works(grpc_target: Target, facts: Facts) -> None:
    """KServe's own servicer fails even when the load succeeds."""
    if grpc_target.admin_token is None:
        pytest.skip("the admin token was not given (--admin-token)")
    request = pb.RepositoryModelLoadRequest(model_name=facts.name)
    reply = grpc_target.stub.RepositoryModelLoad(
        request, metadata=[("x-admin-token", grpc_target.admin_token)], timeout=60
    )
    assert (reply.model_name, reply.isLoaded) == (facts.name, True)
    assert grpc_target.stub.ModelReady(pb.ModelReadyRequest(name=facts.name), timeout=30).ready
