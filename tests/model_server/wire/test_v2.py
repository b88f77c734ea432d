"""v2: bytes -> Call, and Answer -> bytes, JSON and binary, for every kind of model; every refusal in its words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_server.errors import DecodeError
from model_server.serving.call import RequestedOutput, available_outputs
from model_server.wire.parts import DEFAULT_REASONS
from model_server.wire.v1 import v1_document
from model_server.wire.v2 import decode_v2, encode_v2
from tests.bundles.catalogue import NUMBERS, PEOPLE
from tests.conformance.wire import v2_outputs
from tests.model_server.answers import answer, read_v1, read_v2
from tests.model_server.drawing import few
from tests.model_server.wire.bodies import GOOD, body, refused_v2, v2

if TYPE_CHECKING:
    from model_server.serving.loaded import LoadedBundle

V2_KEYS = "'id', 'parameters', 'inputs', 'outputs', 'model_name', 'model_version'"


def test_a_v2_document_is_read_in_full() -> None:
    """Identifier, tensors, outputs and parameters all reach the call."""
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
    """The protocol says so, of null and of an empty list."""
    assert decode_v2(v2(outputs=outputs), None).outputs == ()


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
    """It has to be digits, and lie within the body."""
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
    """Sizes and bytes may disagree in any way, and nothing but an error of ours comes out."""
    content, true_length = binary(size, tail)
    for claimed in (true_length, str(length)):
        try:
            decode_v2(content, claimed)
        except DecodeError as error:
            assert error.http_status == 400  # noqa: PT017 - both outcomes are fine


def test_v2_gives_every_output_in_order(risk: LoadedBundle) -> None:
    """With the shape and datatype that the metadata announce; no identifier where none was sent."""
    document = read_v2(answer(risk, NUMBERS))

    assert list(document) == ["model_name", "model_version", "outputs"]
    assert [(o["name"], o["datatype"], o["shape"]) for o in document["outputs"]] == [
        ("label", "INT64", [2]),
        ("probabilities", "FP64", [2, 2]),
        ("tier", "BYTES", [2]),
    ]
    assert len(document["outputs"][1]["data"]) == 4


def test_v2_gives_only_the_requested_outputs_in_their_order(people: LoadedBundle) -> None:
    """Each as it was asked for: in JSON, or as binary data behind it."""
    asked = (RequestedOutput("probabilities", binary=True), RequestedOutput("label"))
    found = answer(people, PEOPLE, outputs=asked, id="7")

    content, size = encode_v2(found)

    assert size is not None
    document = orjson.loads(content[:size])
    assert document["id"] == "7"
    assert [output["name"] for output in document["outputs"]] == ["probabilities", "label"]
    assert document["outputs"][0]["parameters"] == {"binary_data_size": len(content) - size}
    probabilities, labels = found.result.prediction.probabilities, found.result.prediction.labels
    assert probabilities is not None
    assert labels is not None
    assert v2_outputs(content, str(size)) == {"probabilities": probabilities.tolist(), "label": labels.tolist()}


def test_v2_gives_all_outputs_as_binary_data_when_asked(people: LoadedBundle) -> None:
    """Strings are binary data as well, with their lengths."""
    found = answer(people, PEOPLE, binary=True)
    content, size = encode_v2(found)

    assert {name: np.shape(data) for name, data in v2_outputs(content, str(size)).items()} == {
        "label": (2,),
        "probabilities": (2, 3),
    }


def test_v2_gives_reasons_as_json_text(risk: LoadedBundle) -> None:
    """A row has one string, since tensors hold no objects."""
    found = answer(risk, NUMBERS, reasons=1, outputs=(RequestedOutput("reasons"),))
    (output,) = read_v2(found)["outputs"]

    assert (output["name"], output["datatype"], output["shape"]) == ("reasons", "BYTES", [2])
    assert [len(orjson.loads(text)) for text in output["data"]] == [1, 1]


@pytest.mark.parametrize("n_rows", [1, 2])
@pytest.mark.parametrize("name", ["linear", "risk", "people"])
@pytest.mark.parametrize("asked", [None, 'a "name" é'])
def test_the_quick_way_writes_what_the_long_one_does(
    name: str, n_rows: int, asked: str | None, request: pytest.FixtureRequest
) -> None:
    """v2 without a wish is v2 with all outputs wished for; v1 is its document."""
    loaded = request.getfixturevalue(name)
    rows = (PEOPLE if name == "people" else NUMBERS)[:n_rows]
    plain = answer(loaded, rows, id=asked)
    wished = tuple(RequestedOutput(output) for output in available_outputs(loaded.contract))

    assert read_v2(plain) == read_v2(answer(loaded, rows, id=asked, outputs=wished))
    assert list(read_v2(plain)["outputs"][0]) == ["name", "datatype", "shape", "data"]
    assert read_v1(plain) == v1_document(plain, bare=False)


def test_rows_of_one_call_are_written_once(risk: LoadedBundle) -> None:
    """Each request takes its own out of what was written for the batch."""
    found = answer(risk, [[float(row), 0.5, -0.25] for row in range(5)])
    whole = read_v1(found)["predictions"]

    assert read_v1(found.take(1, 3))["predictions"] == whole[1:3]
    assert read_v1(found.take(1, 3).take(1, 2))["predictions"] == whole[2:3]
    assert read_v2(found.take(4, 9))["outputs"][1]["data"] == list(whole[4]["probabilities"].values())
