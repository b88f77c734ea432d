"""gRPC codec: messages <-> Call and Answer, typed and raw, and every refusal in its words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb

from model_server.edge.grpc.messages import decode_request, encode_answer
from model_server.errors import DecodeError
from model_server.serving.call import RequestedOutput
from model_server.serving.datatypes import DATATYPES
from model_server.serving.tensors import Tensor
from model_server.wire.parts import DEFAULT_REASONS
from model_server.wire.tensors import encode_raw
from tests.bundles.catalogue import NUMBERS, PEOPLE
from tests.conformance.wire import CONTENTS, grpc_outputs
from tests.model_server.answers import answer
from tests.model_server.drawing import elements, few
from tests.model_server.refusals import refusal

if TYPE_CHECKING:
    from model_server.serving.loaded import LoadedBundle

#: Range of the field that carries the smaller integers.
WIDE = {"int_contents": (-(2**31), 2**31 - 1), "uint_contents": (0, 2**32 - 1)}


def typed(datatype: str, values: list[Any], shape: list[int] | None = None, field: str | None = None) -> Any:
    """Write an input with typed contents."""
    part = pb.ModelInferRequest.InferInputTensor(name="x", datatype=datatype, shape=shape or [len(values)])
    encoded = [value.encode() if isinstance(value, str) else value for value in values]
    getattr(part.contents, field or CONTENTS[datatype]).extend(encoded)
    return part


def message(*inputs: Any, **more: Any) -> Any:
    """Write a request."""
    return pb.ModelInferRequest(model_name="linear", inputs=inputs, **more)


def refused(request: Any) -> str:
    """Give the text with which a request is refused."""
    return refusal(DecodeError, decode_request, request)


def decoded(request: Any) -> list[Any]:
    """Give the elements of the only tensor of a request."""
    (tensor,) = decode_request(request).tensors
    return list(np.asarray(tensor.data).tolist())


@given(st.sampled_from(sorted(CONTENTS)), st.data())
@few
def test_typed_contents_arrive_as_they_were_sent(datatype: str, data: st.DataObject) -> None:
    """Every datatype that has a field, in its own dtype."""
    drawn = data.draw(st.lists(elements(datatype), min_size=1, max_size=5))
    request = pb.ModelInferRequest.FromString(message(typed(datatype, drawn)).SerializeToString())

    (tensor,) = decode_request(request).tensors

    # numpy's own texts lose NULs at their end, so texts are not made an array of here
    assert (tensor.data.tolist() if isinstance(tensor.data, np.ndarray) else tensor.data) == drawn
    if datatype != "BYTES":
        assert np.asarray(tensor.data).dtype == DATATYPES[datatype].dtype


@given(st.sampled_from(list(DATATYPES)), st.data())
@few
def test_raw_contents_arrive_as_they_were_sent(datatype: str, data: st.DataObject) -> None:
    """FP16 arrives too, which has no field of its own."""
    drawn = data.draw(st.lists(elements(datatype), min_size=1, max_size=5))
    raw = encode_raw(Tensor("x", datatype, (len(drawn),), drawn))
    part = pb.ModelInferRequest.InferInputTensor(name="x", datatype=datatype, shape=[len(drawn)])

    assert decoded(message(part, raw_input_contents=[raw])) == drawn


@pytest.mark.parametrize("datatype", ["INT8", "INT16", "UINT8", "UINT16"])
@pytest.mark.parametrize("beyond", [0, 1], ids=["below", "above"])
def test_a_small_integer_out_of_range_is_refused(datatype: str, beyond: int) -> None:
    """The field could carry it; taking it as is would wrap it around."""
    limits = np.iinfo(DATATYPES[datatype].dtype)
    value = (limits.min - 1, limits.max + 1)[beyond]
    if value < 0 and datatype.startswith("U"):
        value = limits.max + 2

    text = refused(message(typed(datatype, [1, value])))

    assert text == f"tensor 'x': an element is outside {datatype}, {limits.min}..{limits.max}"


@pytest.mark.parametrize(
    ("request_", "text"),
    [
        (message(), "'inputs' must hold at least one tensor"),
        (message(typed("FP64", [1.0]), typed("FP64", [1.0])), "tensor 'x' is sent twice"),
        (message(typed("FP64", [1.0], [2])), "tensor 'x': contents have 1 elements, the shape says 2"),
        (message(typed("FP64", [1.0], [2**31])), f"tensor 'x': contents have 1 elements, the shape says {2**31}"),
        (
            message(typed("FP64", [1.0], field="fp32_contents")),
            "tensor 'x': FP64 belongs into fp64_contents, not into fp32_contents",
        ),
        (
            message(typed("INT64", [1], field="int_contents")),
            "tensor 'x': INT64 belongs into int64_contents, not into int_contents",
        ),
        (
            message(pb.ModelInferRequest.InferInputTensor(name="x", datatype="FP16", shape=[1])),
            "tensor 'x': FP16 has no typed contents; send raw_input_contents",
        ),
        (
            message(pb.ModelInferRequest.InferInputTensor(name="x", datatype="FP64", shape=[1])),
            "tensor 'x': contents have 0 elements, the shape says 1",
        ),
        (
            message(typed("FP64", [1.0]), raw_input_contents=[bytes(8)] * 2),
            "there are 1 inputs, but 2 raw_input_contents",
        ),
        (
            message(typed("FP64", [1.0]), raw_input_contents=[bytes(8)]),
            "tensor 'x' has both contents and raw_input_contents",
        ),
        (
            message(
                pb.ModelInferRequest.InferInputTensor(name="x", datatype="FP64", shape=[2]),
                raw_input_contents=[bytes(8)],
            ),
            "tensor 'x': 8 bytes of binary data, but shape and datatype say 16",
        ),
        (
            message(pb.ModelInferRequest.InferInputTensor(datatype="FP64", shape=[1])),
            "every tensor needs a 'name' of 1 to 128 characters",
        ),
        (
            message(pb.ModelInferRequest.InferInputTensor(name="x", datatype="BF16", shape=[1])),
            f"tensor 'x': 'datatype' must be one of {', '.join(DATATYPES)}",
        ),
        (
            message(pb.ModelInferRequest.InferInputTensor(name="x", datatype="FP64")),
            "tensor 'x': 'shape' must be a list of 1 to 8 integers",
        ),
        (
            message(pb.ModelInferRequest.InferInputTensor(name="x", datatype="BYTES", shape=[-1])),
            "tensor 'x': 'shape' must not be negative, nor hold over 2147483648 elements",
        ),
        (message(typed("FP64", [1.0]), id="x" * 1025), "'id' must be a string of at most 1024 characters"),
        (
            message(
                typed("FP64", [1.0]),
                outputs=[pb.ModelInferRequest.InferRequestedOutputTensor(name="value")] * 2,
            ),
            "an output is requested twice",
        ),
        *[
            (
                message(typed("FP64", [1.0]), parameters={"reasons": pb.InferParameter(**bad)}),
                "parameter 'reasons' must be an integer within 0..1000",
            )
            for bad in ({"int64_param": -1}, {"int64_param": 1001}, {"string_param": "3"}, {"bool_param": True}, {})
        ],
    ],
)
def test_a_malformed_request_is_refused(request_: Any, text: str) -> None:
    """The words are those of the other protocols, with gRPC's own field names."""
    assert refused(request_) == text


def test_bytes_that_are_no_text_are_refused() -> None:
    """The text names the element by its index and does not show it."""
    part = pb.ModelInferRequest.InferInputTensor(name="x", datatype="BYTES", shape=[2])
    part.contents.bytes_contents.extend([b"a", b"\xff"])

    assert refused(message(part)) == "tensor 'x': element 1 is not UTF-8 text"


@given(st.binary(max_size=120))
@few
def test_any_message_is_a_request_or_refused(content: bytes) -> None:
    """Whatever parses as a message gives nothing else than an error of ours."""
    try:
        request = pb.ModelInferRequest.FromString(content)
    except Exception:  # noqa: BLE001 - no message: gRPC refuses it before us
        return
    try:
        decode_request(request)
    except DecodeError as error:
        assert error.grpc_code == "INVALID_ARGUMENT"  # noqa: PT017 - both outcomes are fine


def test_identifier_outputs_and_reasons_are_read() -> None:
    """An empty identifier is none: proto3 cannot tell them apart."""
    outputs = [pb.ModelInferRequest.InferRequestedOutputTensor(name="reasons")]
    call = decode_request(message(typed("FP64", [1.0]), id="7", outputs=outputs))

    assert (call.id, call.outputs, call.options.reasons) == ("7", (RequestedOutput("reasons"),), DEFAULT_REASONS)
    assert decode_request(message(typed("FP64", [1.0]))).id is None
    two = pb.InferParameter(int64_param=2)
    assert decode_request(message(typed("FP64", [1.0]), parameters={"reasons": two})).options.reasons == 2


@pytest.mark.parametrize("name", ["linear", "risk", "people"])
@pytest.mark.parametrize("raw", [True, False], ids=["raw", "typed"])
def test_answers_hold_the_same_numbers_typed_and_raw(name: str, raw: bool, request: pytest.FixtureRequest) -> None:  # noqa: FBT001 - a table
    """Each output in its own field, or all as raw bytes; never both."""
    loaded: LoadedBundle = request.getfixturevalue(name)
    found = answer(loaded, PEOPLE if name == "people" else NUMBERS, id="7")

    response = pb.ModelInferResponse.FromString(encode_answer(found, raw=raw).SerializeToString())

    assert (response.model_name, response.model_version, response.id) == (name, "1.0.0", "7")
    assert bool(response.raw_output_contents) == raw
    outputs = grpc_outputs(response)
    for part, values in (
        ("label", found.result.prediction.labels),
        ("probabilities", found.result.prediction.probabilities),
        ("value", found.result.prediction.values),
    ):
        assert (part in outputs) == (values is not None)
        if values is not None:
            assert outputs[part] == values.tolist()
