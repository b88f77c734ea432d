"""Tensors on the wire: headers, shapes, JSON and binary data, and what is refused in which words."""

from __future__ import annotations

import struct
import tracemalloc
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_server.errors import ContractError, DecodeError, ModelServerError
from model_server.serving.datatypes import DATATYPES
from model_server.serving.tensors import Tensor, to_frame
from model_server.wire.tensors import MAX_ELEMENTS, check_header, decode_raw, encode_raw, flatten
from tests.bundles.contracts import FLAG, MAYBE, MIXED, ONE, TWO
from tests.model_server.drawing import ANYTHING, elements, few
from tests.model_server.refusals import refusal

if TYPE_CHECKING:
    from model_server.contract import Contract

NUMERIC = [name for name in DATATYPES if name not in ("BOOL", "BYTES")]


@pytest.mark.parametrize("datatype", DATATYPES)
@pytest.mark.parametrize("shape", [[0], [1], [3, 2], [1] * 8, [0, 2**40], [2**31]])
def test_a_good_header_passes(datatype: str, shape: list[int]) -> None:
    """Every datatype, up to eight dimensions, empty ones as well: what may be empty is for the contract to say."""
    assert check_header("x", datatype, shape) == ("x", datatype, tuple(shape))


@pytest.mark.parametrize("name", [None, "", 7, "x" * 129, ["x"], b"x"])
def test_a_tensor_needs_a_name(name: object) -> None:
    """Its length is bounded, since errors name it."""
    text = refusal(DecodeError, check_header, name, "FP64", [1])

    assert text == "every tensor needs a 'name' of 1 to 128 characters"


@pytest.mark.parametrize("datatype", [None, "", "fp64", "FP8", "BF16", "STRING", 64, ["FP64"], {}])
def test_a_datatype_is_one_of_the_protocol(datatype: object) -> None:
    """Exact and in upper case; the text lists them all."""
    text = refusal(DecodeError, check_header, "x", datatype, [1])

    assert text == f"tensor 'x': 'datatype' must be one of {', '.join(DATATYPES)}"


@pytest.mark.parametrize("shape", [None, [], 2, "2", {"0": 2}, [2.0], ["2"], [True], [None], [[2]], [1] * 9, (2,)])
def test_a_shape_is_a_list_of_integers(shape: object) -> None:
    """One to eight of them; a scalar has no rows."""
    text = refusal(DecodeError, check_header, "x", "FP64", shape)

    assert text == "tensor 'x': 'shape' must be a list of 1 to 8 integers"


@pytest.mark.parametrize("shape", [[-1, 2], [2, -1], [2**31 + 1], [2**16, 2**16], [2**63] * 8, [10**300]])
def test_an_impossible_shape_is_refused(shape: list[int]) -> None:
    """-1 stands in metadata only, and no body that is admitted holds so much."""
    text = refusal(DecodeError, check_header, "x", "FP64", shape)

    assert text == f"tensor 'x': 'shape' must not be negative, nor hold over {MAX_ELEMENTS} elements"


@st.composite
def shaped(draw: st.DrawFn) -> tuple[list[int], list[int], Any]:
    """Draw a shape, the elements in row-major order, and the same as nested lists."""
    shape = draw(st.lists(st.integers(1, 3), min_size=1, max_size=8))
    flat = list(range(int(np.prod(shape))))
    return shape, flat, np.array(flat).reshape(shape).tolist()


@given(shaped())
@few
def test_nested_and_flat_data_mean_the_same(case: tuple[list[int], list[int], Any]) -> None:
    """The protocol admits both forms, up to eight dimensions."""
    shape, flat, nested = case

    assert flatten("x", flat, shape) == flatten("x", nested, shape) == flat


@pytest.mark.parametrize(
    ("data", "shape", "text"),
    [
        ([1, 2, 3], [2, 2], "tensor 'x': 'data' has 3 elements, its shape says 4"),
        ([], [1], "tensor 'x': 'data' has 0 elements, its shape says 1"),
        ([1], [0], "tensor 'x': 'data' has 1 elements, its shape says 0"),
        ([1], [1_000_000_000], "tensor 'x': 'data' has 1 elements, its shape says 1000000000"),
        ([[1, 2]], [2, 2], "tensor 'x': nested 'data' has 1 parts, its shape says 2"),
        ([[1, 2], [3]], [2, 2], "tensor 'x': nested 'data' does not have the form that its shape says"),
        ([[1, 2], 3], [2, 2], "tensor 'x': nested 'data' does not have the form that its shape says"),
        ([[1, 2], {}], [2, 2], "tensor 'x': nested 'data' does not have the form that its shape says"),
        ([[[1], [2]]], [1, 2, 2], "tensor 'x': nested 'data' does not have the form that its shape says"),
        ([[1], [2]], [1, 2], "tensor 'x': nested 'data' has 2 parts, its shape says 1"),
    ],
)
def test_data_of_another_form_than_the_shape_is_refused(data: list[Any], shape: list[int], text: str) -> None:
    """Counts are told, elements never: they may be somebody's data."""
    assert refusal(DecodeError, flatten, "x", data, shape) == text


@given(st.sampled_from(list(DATATYPES)), st.data())
@few
def test_decoding_undoes_encoding(datatype: str, data: st.DataObject) -> None:
    """Every datatype, bit by bit, infinities included."""
    drawn = data.draw(st.lists(elements(datatype), max_size=6))
    tensor = Tensor("x", datatype, (len(drawn),), np.array(drawn, dtype=DATATYPES[datatype].dtype))

    decoded = decode_raw("x", datatype, tensor.shape, encode_raw(tensor))

    assert np.asarray(decoded.data).tolist() == drawn


@pytest.mark.parametrize("datatype", NUMERIC)
def test_binary_data_is_little_endian(datatype: str) -> None:
    """The extension says so, whatever the machine's order is."""
    expected = struct.pack(
        "<" + {"u": "BHIQ", "i": "bhiq", "f": "_efd"}[DATATYPES[datatype].dtype.kind][_log(datatype)], 1
    )

    assert encode_raw(Tensor("x", datatype, (1,), [1])) == expected


def _log(datatype: str) -> int:
    return DATATYPES[datatype].dtype.itemsize.bit_length() - 1


@pytest.mark.parametrize("datatype", [*NUMERIC, "BOOL"])
@pytest.mark.parametrize("size", [-1, 1, 1000])
def test_a_wrong_number_of_bytes_is_refused(datatype: str, size: int) -> None:
    """Neither short nor trailing bytes are guessed about."""
    right = 3 * DATATYPES[datatype].dtype.itemsize
    text = refusal(DecodeError, decode_raw, "x", datatype, (3,), bytes(right + size))

    assert text == f"tensor 'x': {right + size} bytes of binary data, but shape and datatype say {right}"


def test_a_bool_is_one_byte_of_zero_or_one() -> None:
    """Another value would be neither."""
    assert np.asarray(decode_raw("x", "BOOL", (3,), b"\x00\x01\x00").data).tolist() == [False, True, False]
    assert refusal(DecodeError, decode_raw, "x", "BOOL", (2,), b"\x00\x02") == "tensor 'x': a BOOL byte must be 0 or 1"


@pytest.mark.parametrize(
    ("raw", "count", "text"),
    [
        (b"", 1, "tensor 'x': binary data ends within element 0 of 1"),
        (b"\x01\x00\x00", 1, "tensor 'x': binary data ends within element 0 of 1"),
        (b"\x02\x00\x00\x00a", 1, "tensor 'x': binary data ends within element 0 of 1"),
        (b"\xff\xff\xff\xffa", 1, "tensor 'x': binary data ends within element 0 of 1"),
        (b"\x01\x00\x00\x00a", 2, "tensor 'x': binary data ends within element 1 of 2"),
        (b"\x01\x00\x00\x00ab", 1, "tensor 'x': 1 bytes follow the last element"),
        (b"a", 0, "tensor 'x': 1 bytes follow the last element"),
        (b"\x01\x00\x00\x00\xff", 1, "tensor 'x': element 0 is not UTF-8 text"),
        (b"\x03\x00\x00\x00\xed\xa0\x80", 1, "tensor 'x': element 0 is not UTF-8 text"),
    ],
)
def test_binary_strings_that_do_not_add_up_are_refused(raw: bytes, count: int, text: str) -> None:
    """By the index of the element; the bytes themselves are not shown."""
    assert refusal(DecodeError, decode_raw, "x", "BYTES", (count,), raw) == text


@pytest.mark.parametrize("datatype", DATATYPES)
@pytest.mark.parametrize("shape", [(0,), (0, 5), (2, 0)])
def test_an_empty_tensor_is_decoded(datatype: str, shape: tuple[int, ...]) -> None:
    """It is refused by the contract, which wants a row."""
    tensor = decode_raw("any", datatype, shape, b"")

    assert len(tensor.data) == 0
    assert refusal(ContractError, to_frame, [tensor], TWO)


@given(
    st.sampled_from(list(DATATYPES)),
    st.lists(st.integers(0, 3), min_size=1, max_size=3).map(tuple),
    st.binary(max_size=40),
)
@few
def test_any_bytes_are_a_tensor_or_refused(datatype: str, shape: tuple[int, ...], raw: bytes) -> None:
    """Nothing else than an error of ours may come out: another one would be answered as a fault of the server."""
    try:
        tensor = decode_raw("x", datatype, shape, raw)
        to_frame([tensor], MIXED)
    except ModelServerError as error:
        assert error.http_status == 400  # noqa: PT017 - both outcomes are fine


@given(ANYTHING, ANYTHING, ANYTHING, st.lists(ANYTHING, max_size=5), st.sampled_from([ONE, TWO, MIXED, FLAG, MAYBE]))
@few
def test_any_json_is_a_frame_or_refused(
    name: Any, datatype: Any, shape: Any, data: list[Any], contract: Contract
) -> None:
    """Same, for the documents; ``stdlib`` JSON on KServe's way even lets NaN and huge integers through."""
    for kind in (datatype, *DATATYPES):
        for form in (shape, [len(data)], [len(data), 1], [1, len(data)]):
            try:
                checked = check_header(name if isinstance(name, str) and name else "x0", kind, form)
                to_frame([Tensor(*checked, flatten("x0", data, checked[2]))], contract)
            except ModelServerError as error:
                assert error.http_status == 400  # noqa: PT017 - both outcomes are fine


@pytest.mark.parametrize("datatype", DATATYPES)
def test_a_huge_shape_over_a_tiny_body_costs_nothing(datatype: str) -> None:
    """Memory follows the bytes that came, never the shape that was claimed."""
    tracemalloc.start()
    name, _, shape = check_header("x", datatype, [1_000_000_000])
    refusal(DecodeError, decode_raw, name, datatype, shape, b"\x00" * 64)
    refusal(DecodeError, flatten, name, [1.0], shape)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert peak < 100_000


def test_binary_numbers_are_not_copied_to_a_matrix() -> None:
    """A body of 16 MiB is one matrix, not three."""
    raw = memoryview(np.arange(6.0).tobytes())

    matrix = to_frame([decode_raw("any", "FP64", (3, 2), raw)], TWO).as_matrix()

    assert np.shares_memory(matrix, np.frombuffer(raw, dtype=np.float64))
