"""Codec: bytes of v1 and v2 REST -> Call; every refusal in its words, and nothing but refusals for hostile bytes."""

from __future__ import annotations

from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_server.errors import ContractError, DecodeError, UnknownOutput
from model_server.serving.call import Call, RequestedOutput, check_outputs, check_rows
from model_server.serving.tensors import Tensor
from model_server.wire.parts import DEFAULT_REASONS, parse_json
from model_server.wire.v1 import call_of_v1
from model_server.wire.v2 import decode_v2
from tests.model_server.drawing import few
from tests.model_server.serving.test_tensors import ANYTHING, TWO, refusal

V2_KEYS = "'id', 'parameters', 'inputs', 'outputs', 'model_name', 'model_version'"
GOOD = {"name": "a", "datatype": "FP64", "shape": [1, 2], "data": [1.5, 2.5]}


def body(document: Any) -> bytes:
    """Write a document as JSON."""
    return orjson.dumps(document)


def v2(inputs: Any = None, **more: Any) -> bytes:
    """Write a v2 document."""
    return body({"inputs": [GOOD] if inputs is None else inputs, **more})


def decode_v1(content: bytes) -> Call:
    """Decode as the v1 route does."""
    return call_of_v1(parse_json(content))


def refused_v1(content: bytes) -> str:
    """Give the text with which a v1 body is refused."""
    return refusal(DecodeError, decode_v1, content)


def refused_v2(content: bytes, length: str | None = None) -> str:
    """Give the text with which a v2 body is refused."""
    return refusal(DecodeError, decode_v2, content, length)


# --- JSON -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "place"),
    [
        (b"", "line 1, column 1"),
        (b"s3cret", "line 1, column 1"),
        (b'{"instances": [[1, NaN]]}', "line 1, column 20"),
        (b'{"instances": [[Infinity]]}', "line 1, column 17"),
        (b'{"instances":\n [[-Infinity]]}', "line 2, column 5"),
        (b'{"instances": [[1e999]]}', "line 1, column 17"),
        (b'{"instances": [[1]]', "line 1, column 20"),
        (b'{"instances": [[1]]} {}', "line 1, column 22"),
        (b"\xff\xfe", ""),
        (b'{"instances": ["\\ud800"]}', ""),
        (b"[" * 100_000, ""),
        (b"\x00", "line 1, column 1"),
    ],
    ids=range(12),
)
def test_what_is_no_json_is_refused_by_its_place(content: bytes, place: str) -> None:
    """NaN, infinities, numbers beyond float64, lone surrogates and towers of brackets are none; no byte is quoted."""
    text = refused_v1(content)

    assert text.startswith("the body is not valid JSON (line ")
    assert place in text
    assert "s3cret" not in text


@given(st.binary(max_size=60))
@few
def test_any_bytes_are_a_request_or_refused(content: bytes) -> None:
    """Nothing else than an error of ours may come out: another one would be answered as a fault of the server."""
    for decode in (decode_v1, lambda raw: decode_v2(raw, None), lambda raw: decode_v2(raw, "7")):
        with pytest.raises(DecodeError):
            decode(content)


@given(ANYTHING, ANYTHING, ANYTHING, ANYTHING)
@few
def test_any_document_is_a_request_or_refused(one: Any, two: Any, three: Any, four: Any) -> None:
    """Whatever stands where an object, a list or a word belongs."""
    documents = [
        one,
        {"instances": one, "parameters": two},
        {"instances": one, "parameters": {"reasons": two}},
        {"inputs": one, "outputs": two, "parameters": three, "id": four},
        {"inputs": [one], "outputs": [two]},
        {"inputs": [{"name": "a", "datatype": "FP64", "shape": one, "data": two, "parameters": three}]},
        {"inputs": [{**GOOD, "parameters": {"binary_data_size": one}}]},
        {"inputs": [GOOD], "outputs": [{"name": one, "parameters": two}]},
        {"inputs": [GOOD], "parameters": {"binary_data_output": one, "reasons": two}, "id": three},
    ]
    for document in documents:
        for decode in (call_of_v1, lambda parsed: decode_v2(_json(parsed), None)):
            try:
                decode(document)
            except DecodeError as error:
                assert error.http_status == 400  # noqa: PT017 - both outcomes are fine


def _json(document: Any) -> bytes:
    return orjson.dumps(document, default=str, option=orjson.OPT_NON_STR_KEYS) if _fits(document) else b"{}"


def _fits(document: Any) -> bool:
    if isinstance(document, int):
        return -(2**63) <= document < 2**64
    parts: Any = [*document, *document.values()] if isinstance(document, dict) else document
    return not isinstance(document, dict | list) or all(map(_fits, parts))


# --- v1 ---------------------------------------------------------------------------------------------------------------


def test_v1_rows_pass_as_they_are() -> None:
    """What a row may hold is the contract's business."""
    call = decode_v1(body({"instances": [[1, None], {"a": "b"}, 7]}))

    assert call.rows == [[1, None], {"a": "b"}, 7]
    assert (call.n_rows, call.options.reasons, call.tensors, call.id) == (3, 0, (), None)


@pytest.mark.parametrize(
    ("document", "text"),
    [
        ([[1]], "the body must be a JSON object with 'instances'"),
        (None, "the body must be a JSON object with 'instances'"),
        ({}, "'instances' is missing"),
        ({"inputs": []}, "unknown key 'inputs'; this route takes 'instances', 'parameters'"),
        ({"instances": [], "x" * 99: 1}, f"unknown key '{'x' * 64}'; this route takes 'instances', 'parameters'"),
        ({"instances": {}}, "'instances' must be a list of rows"),
        ({"instances": None}, "'instances' must be a list of rows"),
        (
            {"instances": [], "parameters": []},
            "'parameters' of the request must be an object of strings, numbers and booleans",
        ),
        (
            {"instances": [], "parameters": {"a": {}}},
            "'parameters' of the request must be an object of strings, numbers and booleans",
        ),
        *[
            ({"instances": [], "parameters": {"reasons": bad}}, "parameter 'reasons' must be an integer within 0..1000")
            for bad in (-1, 1001, 1.0, "3", True)
        ],
    ],
)
def test_a_malformed_v1_document_is_refused(document: Any, text: str) -> None:
    """The text says what belongs there."""
    assert refused_v1(body(document)) == text


@pytest.mark.parametrize("parameters", [None, {}, {"reasons": 0}, {"trace": "on"}])
def test_v1_reasons_are_given_only_when_asked_for(parameters: Any) -> None:
    """Unknown parameters are the business of others on the way."""
    assert decode_v1(body({"instances": [], "parameters": parameters})).options.reasons == 0


# --- v2 ---------------------------------------------------------------------------------------------------------------


def test_a_v2_document_is_read_in_full() -> None:
    """Identifier, tensors, outputs and parameters."""
    outputs = [{"name": "label"}, {"name": "reasons", "parameters": {"binary_data": False}}]
    call = decode_v2(v2(id="7", outputs=outputs, parameters={"binary_data_output": True, "reasons": 2}), None)

    assert (call.id, call.n_rows, call.options.reasons, call.binary) == ("7", 1, 2, True)
    assert call.outputs == (RequestedOutput("label", binary=True), RequestedOutput("reasons", binary=False))
    (tensor,) = call.tensors
    assert (tensor.name, tensor.datatype, tensor.shape, tensor.data) == ("a", "FP64", (1, 2), [1.5, 2.5])


def test_the_name_in_a_v2_body_is_left_to_the_path() -> None:
    """KServe's own client repeats it there."""
    assert decode_v2(v2(model_name="other", model_version="9"), None).n_rows == 1


def test_reasons_by_name_alone_are_three() -> None:
    """A count may be given beside it."""
    asked = [{"name": "reasons"}]

    assert decode_v2(v2(outputs=asked), None).options.reasons == DEFAULT_REASONS
    assert decode_v2(v2(outputs=asked, parameters={"reasons": 1}), None).options.reasons == 1


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (v2({}), "'inputs' must be a list of at least one tensor"),
        (v2([]), "'inputs' must be a list of at least one tensor"),
        (v2([GOOD, 1]), "'inputs' must be a list of at least one tensor"),
        (v2([GOOD, GOOD]), "tensor 'a' is sent twice"),
        (body({"instances": []}), f"unknown key 'instances'; this route takes {V2_KEYS}"),
        (body({"id": "1"}), "'inputs' is missing"),
        (v2([{**GOOD, "data": 1}]), "tensor 'a': 'data' must be a list"),
        (v2([{**GOOD, "data": None}]), "tensor 'a': 'data' must be a list"),
        (v2([{"name": "a", "datatype": "FP64", "shape": [1]}]), "tensor 'a': 'data' must be a list"),
        (
            v2([{**GOOD, "datatype": "FP16"}]),
            "tensor 'a': FP16 has no JSON form; send binary data, FP32 or FP64",
        ),
        (
            v2([{**GOOD, "parameters": 1}]),
            "'parameters' of tensor 'a' must be an object of strings, numbers and booleans",
        ),
        (v2(id=7), "'id' must be a string of at most 1024 characters"),
        (v2(id="x" * 1025), "'id' must be a string of at most 1024 characters"),
        (v2(outputs={}), "'outputs' must be a list of objects with a 'name'"),
        (v2(outputs=["label"]), "'outputs' must be a list of objects with a 'name'"),
        (v2(outputs=[{}]), "every requested output needs a 'name'"),
        (v2(outputs=[{"name": 1}]), "every requested output needs a 'name'"),
        (v2(outputs=[{"name": "a"}, {"name": "a"}]), "an output is requested twice"),
        (
            v2(outputs=[{"name": "a", "parameters": {"binary_data": 1}}]),
            "parameter 'binary_data' must be true or false",
        ),
        (
            v2(outputs=[{"name": "a", "parameters": [1]}]),
            "'parameters' of an output must be an object of strings, numbers and booleans",
        ),
        (v2(parameters={"binary_data_output": "yes"}), "parameter 'binary_data_output' must be true or false"),
        (v2(parameters={"reasons": 2000}), "parameter 'reasons' must be an integer within 0..1000"),
    ],
)
def test_a_malformed_v2_document_is_refused(content: bytes, text: str) -> None:
    """The text says what belongs there."""
    assert refused_v2(content) == text


@pytest.mark.parametrize("outputs", [None, []])
def test_no_requested_outputs_are_all_outputs(outputs: Any) -> None:
    """As the protocol says."""
    assert decode_v2(v2(outputs=outputs), None).outputs == ()


# --- v2 with binary data ----------------------------------------------------------------------------------------------


def binary(size: Any = 16, tail: bytes = np.array([1.5, 2.5]).tobytes(), **more: Any) -> tuple[bytes, str]:
    """Write a body with binary data, and the length of its JSON part."""
    part = {"name": "a", "datatype": "FP64", "shape": [1, 2], "parameters": {"binary_data_size": size}, **more}
    head = v2([part])
    return head + tail, str(len(head))


def test_binary_data_follows_the_json_part() -> None:
    """Tensors in JSON may stand between those in binary."""
    parts = [
        {"name": "a", "datatype": "INT8", "shape": [2], "parameters": {"binary_data_size": 2}},
        {"name": "b", "datatype": "INT8", "shape": [1], "data": [3]},
        {"name": "c", "datatype": "BYTES", "shape": [1], "parameters": {"binary_data_size": 5}},
    ]
    head = v2(parts)

    call = decode_v2(head + b"\x01\x02" + b"\x01\x00\x00\x00z", str(len(head)))

    assert [np.asarray(tensor.data).tolist() for tensor in call.tensors] == [[1, 2], [3], ["z"]]


@pytest.mark.parametrize("length", ["", "-1", "1.5", "x", " 7", "+7", "0x10", "99999999999", "100000", "\u0663"])
def test_a_header_length_that_is_none_is_refused(length: str) -> None:
    """It must lie within the body."""
    content, _ = binary()

    assert refused_v2(content, length) == (
        "Inference-Header-Content-Length must be the size in bytes of the JSON part of the body"
    )


@pytest.mark.parametrize(
    ("content", "text"),
    [
        *[
            (binary(size), "tensor 'a': 'binary_data_size' must be the size of its data after the JSON part")
            for size in (-1, 17, 16.0, "16", True, 10**18)
        ],
        (binary(8), "tensor 'a': 8 bytes of binary data, but shape and datatype say 16"),
        (binary(16, bytes(17)), "1 bytes of binary data belong to no tensor"),
        (binary(16, bytes(15)), "tensor 'a': 'binary_data_size' must be the size of its data after the JSON part"),
        (binary(16, data=[1.5, 2.5]), "tensor 'a' has both 'data' and binary data"),
        (binary(None), "'parameters' of tensor 'a' must be an object of strings, numbers and booleans"),
    ],
)
def test_binary_data_that_does_not_add_up_is_refused(content: tuple[bytes, str], text: str) -> None:
    """Neither short nor trailing bytes are guessed about."""
    assert refused_v2(*content) == text


def test_bytes_behind_json_without_the_header_are_no_json() -> None:
    """Where the JSON part ends is not guessed."""
    content, _ = binary()

    assert refused_v2(content, None).startswith("the body is not valid JSON")


def test_binary_data_is_not_copied() -> None:
    """A tensor is a view of the body."""
    content, length = binary()

    (tensor,) = decode_v2(content, length).tensors

    assert isinstance(tensor.data, np.ndarray)
    assert np.shares_memory(tensor.data, np.frombuffer(content, dtype=np.uint8))


@given(st.binary(max_size=30), st.integers(0, 200), st.integers(-1, 40))
@few
def test_any_tail_is_a_request_or_refused(tail: bytes, length: int, size: int) -> None:
    """However sizes and bytes disagree."""
    content, true_length = binary(size, tail)
    for claimed in (true_length, str(length)):
        try:
            decode_v2(content, claimed)
        except DecodeError as error:
            assert error.http_status == 400  # noqa: PT017 - both outcomes are fine


# --- the call ---------------------------------------------------------------------------------------------------------


def test_an_unknown_output_is_refused_with_those_there_are() -> None:
    """Before anything is computed."""
    call = Call(rows=[[1.0, 2.0]], outputs=(RequestedOutput("value"), RequestedOutput("label")))

    text = refusal(UnknownOutput, check_outputs, call, TWO)

    assert text == "'outputs' names an output that this model does not have; it has value, reasons"


def test_rows_are_counted_before_they_are_read() -> None:
    """For tensors, by the first dimension of the first."""
    text = "must have at most 3 rows, got 4: split the request"
    tensor = Tensor("a", "FP64", (4, 2), np.zeros(8))

    assert refusal(ContractError, check_rows, Call(rows=[1] * 4), 3) == text
    assert refusal(ContractError, check_rows, Call(tensors=(tensor,)), 3) == text
    check_rows(Call(rows=[1] * 3), 3)
