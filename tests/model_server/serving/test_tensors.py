"""Tensors: every datatype, shape and form of data, what is refused in which words, and what a bad one may cost."""

from __future__ import annotations

import struct
import tracemalloc
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_server.columns import EXACT_INT, LARGEST_FLOAT
from model_server.contract import Contract, Feature
from model_server.errors import ContractError, DecodeError, ModelServerError
from model_server.serving.datatypes import DATATYPES
from model_server.serving.tensors import Tensor, to_frame
from model_server.wire.tensors import MAX_ELEMENTS, check_header, decode_raw, encode_raw, flatten
from tests.bundles.contracts import VALUE, numbers
from tests.model_server.drawing import few

#: Values of no number's type; of no flag's but the first, of no string's but the last.
WRONG: list[Any] = [True, [], {}, "1"]
NUMERIC = [name for name in DATATYPES if name not in ("BOOL", "BYTES")]
INTEGERS = [name for name in NUMERIC if "INT" in name]
TWO = Contract(features=numbers(2), output=VALUE)
ONE = Contract(features=numbers(1), output=VALUE)
INT = Contract(features=(Feature(name="n", dtype="int"),), output=VALUE)
FLAG = Contract(features=(Feature(name="on", dtype="bool"),), output=VALUE)
MIXED = Contract(features=(Feature(name="x", dtype="float"), Feature(name="word", dtype="string")), output=VALUE)
MAYBE = Contract(features=numbers(2, nullable=True), output=VALUE)


def elements(datatype: str) -> st.SearchStrategy[Any]:
    """Draw elements that a datatype holds exactly."""
    if datatype == "BYTES":
        return st.text(max_size=9)
    if datatype == "BOOL":
        return st.booleans()
    if datatype.startswith("FP"):
        width: Any = int(datatype[2:])
        return st.floats(width=width, allow_nan=False)
    limits = np.iinfo(DATATYPES[datatype].dtype)
    return st.integers(int(limits.min), int(limits.max))


def refusal(error: type[ModelServerError], call: Any, *arguments: Any) -> str:
    """Give the text with which a call is refused."""
    with pytest.raises(error) as caught:
        call(*arguments)
    return str(caught.value)


def frame_refusal(tensor: Tensor, contract: Contract) -> str:
    """Give the text with which a tensor is refused as a frame."""
    return refusal(ContractError, to_frame, [tensor], contract)


# --- the header -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("datatype", DATATYPES)
@pytest.mark.parametrize("shape", [[0], [1], [3, 2], [1] * 8, [0, 2**40], [2**31]])
def test_a_good_header_passes(datatype: str, shape: list[int]) -> None:
    """Every datatype, up to eight dimensions, empty ones as well: what may be empty is for the contract to say."""
    assert check_header("x", datatype, shape) == ("x", datatype, tuple(shape))


@pytest.mark.parametrize("name", [None, "", 7, "x" * 129, ["x"], b"x"])
def test_a_tensor_needs_a_name(name: object) -> None:
    """Of a bounded length, since errors name it."""
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


# --- data in JSON -----------------------------------------------------------------------------------------------------


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
    """Counts are told, elements never."""
    assert refusal(DecodeError, flatten, "x", data, shape) == text


@pytest.mark.parametrize("data", [[[1], [2]], [1, [2]], [[1, 2], 3], [{}, 1]])
def test_lists_within_flat_data_are_no_elements(data: list[Any]) -> None:
    """Deeper than the shape says: each is named as a bad value of its row."""
    tensor = Tensor("x0", "FP64", (2,), flatten("x0", data, [2]))

    assert "feature 'x0', row " in frame_refusal(tensor, ONE)


@given(st.sampled_from(list(DATATYPES)), st.data())
@few
def test_data_of_any_datatype_is_taken_as_declared(datatype: str, data: st.DataObject) -> None:
    """Each element that the datatype holds passes, and has its dtype."""
    kind: Any = {"BOOL": "bool", "BYTES": "string"}.get(datatype, "int" if datatype in INTEGERS else "float")
    contract = Contract(features=(Feature(name="x", dtype=kind),), output=VALUE)
    most = {"int": EXACT_INT, "float": LARGEST_FLOAT}.get(kind)
    admitted = elements(datatype).filter(lambda element: most is None or -most <= element <= most)
    drawn = data.draw(st.lists(admitted, min_size=1, max_size=4))

    frame = to_frame([Tensor("x", datatype, (len(drawn),), drawn)], contract)

    assert frame.column("x").tolist() == drawn


@pytest.mark.parametrize(
    ("datatype", "bad", "noun"),
    [
        *[(name, value, "a finite number") for name in ("FP32", "FP64") for value in WRONG],
        ("FP32", 3.5e38, "a finite number"),
        ("FP32", -1e39, "a finite number"),
        ("FP64", float("nan"), "a finite number"),
        ("FP64", float("inf"), "a finite number"),
        ("FP64", 10**400, "a finite number"),
        *[("INT8", value, "an integer within -128..127") for value in (128, -129, 1.5, 1e300, *WRONG)],
        ("UINT8", -1, "an integer within 0..255"),
        ("UINT8", 256, "an integer within 0..255"),
        ("INT16", 2**15, "an integer within -32768..32767"),
        ("UINT16", 2**16, "an integer within 0..65535"),
        ("INT32", 2**31, "an integer within -2147483648..2147483647"),
        ("UINT32", 2**32, "an integer within 0..4294967295"),
        ("INT64", 2**63, "an integer within -9223372036854775808..9223372036854775807"),
        ("INT64", float(2**63), "an integer within -9223372036854775808..9223372036854775807"),
        ("UINT64", 2**64, "an integer within 0..18446744073709551615"),
        ("UINT64", float("inf"), "an integer within 0..18446744073709551615"),
        *[("BOOL", value, "true or false") for value in (0, 1, 0.0, *WRONG[1:])],
        *[("BYTES", value, "a string") for value in (0, 1.5, *WRONG[:-1])],
    ],
    ids=str,
)
@pytest.mark.parametrize("contract", [ONE, INT, FLAG], ids=["float", "int", "bool"])
def test_an_element_that_is_not_of_its_datatype_is_named(
    datatype: str, bad: object, noun: str, contract: Contract
) -> None:
    """By feature, row and rule; whatever the contract would have made of it."""
    good = {"BOOL": True, "BYTES": "a"}.get(datatype, 1)
    name = contract.names[0]
    tensor = Tensor(name, datatype, (2, 1), [good, bad])

    text = frame_refusal(tensor, contract)

    assert text == f"feature {name!r}, row 1: must be {noun}, as its datatype {datatype} says"


@pytest.mark.parametrize("value", [5.0, 0, -0.0, 127.0])
def test_an_integer_may_be_written_with_a_point(value: float) -> None:
    """JSON does not tell 5 from 5.0."""
    assert to_frame([Tensor("n", "INT8", (1,), [value])], INT).column("n").tolist() == [int(value)]


@pytest.mark.parametrize("value", [2**53 + 1, 2**63 - 1, 2**64 - 1])
def test_an_integer_keeps_every_digit_on_its_way(value: int) -> None:
    """A model that takes integers as float64 refuses what that would change; nothing is rounded in silence."""
    tensor = Tensor("n", "UINT64", (1,), [value])

    assert "feature 'n', row 0: " in frame_refusal(tensor, INT)


def test_null_is_for_the_contract_to_judge() -> None:
    """Missing where the feature says so, else refused there."""
    tensor = Tensor("any", "FP32", (2, 2), [1.5, None, None, 4.0])

    matrix = to_frame([tensor], MAYBE).as_matrix()

    assert np.array_equal(matrix, [[1.5, np.nan], [np.nan, 4.0]], equal_nan=True)
    rule = TWO.features[0].rule
    assert frame_refusal(tensor, TWO) == f"feature 'x1', row 0: {rule}; feature 'x0', row 1: {rule}"


def test_fp32_in_json_is_rounded_to_fp32() -> None:
    """The same tensor as binary data would hold the rounded number."""
    rounded = float(np.float32(0.1))

    assert to_frame([Tensor("x0", "FP32", (1,), [0.1])], ONE).as_matrix().tolist() == [[rounded]]
    assert to_frame([Tensor("x0", "FP64", (1,), [0.1])], ONE).as_matrix().tolist() == [[0.1]]


def test_the_largest_fp32_stays_finite() -> None:
    """Just above it, rounding would give infinity."""
    largest = float(np.finfo(np.float32).max)
    above = Tensor("x0", "FP32", (1,), [float(np.nextafter(largest, np.inf))])

    assert "as its datatype FP32 says" in frame_refusal(above, ONE)
    assert "as its datatype FP32 says" not in frame_refusal(Tensor("x0", "FP32", (2,), [largest, None]), ONE)


# --- binary data ------------------------------------------------------------------------------------------------------


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
    """As the extension says, whatever the machine's order is."""
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
    """And refused by the contract, which wants a row."""
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


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3)
ANYTHING = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner))


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


# --- frames -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["input-0", "predict", "features", "x"])
def test_a_lone_matrix_is_taken_under_any_name(name: str) -> None:
    """Existing clients send input-0 and the like."""
    tensor = Tensor(name, "FP64", (2, 2), np.array([1.0, 2.0, 3.0, 4.0]))

    assert to_frame([tensor], TWO).as_matrix().tolist() == [[1.0, 2.0], [3.0, 4.0]]


@pytest.mark.parametrize("shape", [(2,), (2, 1)])
def test_columns_are_taken_by_name_in_any_order(shape: tuple[int, ...]) -> None:
    """As [N] or [N, 1], of any datatype that converts without loss."""
    parts = [
        Tensor("x1", "INT32", shape, np.array([3, 4], dtype=np.int32)),
        Tensor("x0", "FP32", shape, np.array([0.5, 2.5], dtype=np.float32)),
    ]

    assert to_frame(parts, TWO).as_matrix().tolist() == [[0.5, 3.0], [2.5, 4.0]]


@pytest.mark.parametrize(
    ("shape", "text"),
    [
        ((4,), "tensor 'any' must have shape [-1, 2], not [4]"),
        ((4, 1), "tensor 'any' must have shape [-1, 2], not [4, 1]"),
        ((1, 4), "tensor 'any' must have shape [-1, 2], not [1, 4]"),
        ((2, 2, 1), "tensor 'any' must have shape [-1, 2], not [2, 2, 1]"),
    ],
)
def test_a_matrix_of_another_width_is_refused(shape: tuple[int, ...], text: str) -> None:
    """It is not reshaped to fit, as a transposed one would."""
    assert frame_refusal(Tensor("any", "FP64", shape, np.zeros(4)), TWO) == text


def test_a_column_of_another_shape_is_refused() -> None:
    """One number a row."""
    parts = [Tensor("x", "FP64", (1, 2), np.zeros(2)), Tensor("word", "BYTES", (2, 1, 1), ["a", "b"])]

    assert refusal(ContractError, to_frame, parts, MIXED) == (
        "feature 'x': a tensor of one feature must have shape [N] or [N, 1], not [1, 2]; "
        "feature 'word': a tensor of one feature must have shape [N] or [N, 1], not [2, 1, 1]"
    )


def test_columns_of_unequal_length_are_refused() -> None:
    """No row is made of two."""
    parts = [Tensor("x0", "FP64", (2,), np.zeros(2)), Tensor("x1", "FP64", (1,), np.zeros(1))]

    assert "feature 'x1': must have as many rows as the first column, 2, got 1" in refusal(
        ContractError, to_frame, parts, TWO
    )


def test_a_missing_and_an_unknown_column_are_named() -> None:
    """With the name that was probably meant."""
    parts = [Tensor("x", "FP64", (1,), np.zeros(1)), Tensor("wort", "BYTES", (1,), ["a"])]

    text = refusal(ContractError, to_frame, parts, MIXED)

    assert "feature 'word': is missing" in text
    assert "feature 'wort': is not a feature of this model; did you mean 'word'?" in text


def test_strings_are_no_numbers() -> None:
    """A matrix of text for a numeric model is refused by place."""
    assert frame_refusal(Tensor("any", "BYTES", (1, 2), ["1", "2"]), TWO).startswith("feature 'x0', row 0: must be")


def test_nan_in_binary_data_means_missing() -> None:
    """It is the one way in which it can be said there."""
    tensor = Tensor("any", "FP32", (1, 2), np.array([np.nan, 1.0], dtype=np.float32))

    assert np.isnan(to_frame([tensor], MAYBE).as_matrix()[0, 0])
    assert frame_refusal(tensor, TWO) == f"feature 'x0', row 0: {TWO.features[0].rule}"


@pytest.mark.parametrize("value", [np.inf, -np.inf])
def test_an_infinity_in_binary_data_is_refused(value: float) -> None:
    """It means nothing to a model."""
    tensor = Tensor("any", "FP64", (1, 2), np.array([1.0, value]))

    assert frame_refusal(tensor, MAYBE) == f"feature 'x1', row 0: {MAYBE.features[1].rule}"


def test_a_column_named_as_the_only_feature_may_be_flat() -> None:
    """A model of one feature takes [N] and [N, 1] alike."""
    for shape in ((2,), (2, 1)):
        assert to_frame([Tensor("x0", "FP64", shape, np.array([1.0, 2.0]))], ONE).as_matrix().tolist() == [[1.0], [2.0]]


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
