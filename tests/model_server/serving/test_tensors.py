"""Tensors and frames: what each datatype holds, which shapes are rows, and what is refused in which words."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_server.columns import EXACT_INT, LARGEST_FLOAT
from model_server.contract import Contract, Feature
from model_server.errors import ContractError
from model_server.serving.datatypes import DATATYPES
from model_server.serving.tensors import Tensor, to_frame
from model_server.wire.tensors import flatten
from tests.bundles.contracts import FLAG, INT, MAYBE, MIXED, ONE, TWO, VALUE
from tests.model_server.drawing import elements, few
from tests.model_server.refusals import refusal

#: Values of no number's type; of no flag's but the first, of no string's but the last.
WRONG: list[Any] = [True, [], {}, "1"]
INTEGERS = [name for name in DATATYPES if "INT" in name]


def frame_refusal(tensor: Tensor, contract: Contract) -> str:
    """Give the text with which a tensor is refused as a frame."""
    return refusal(ContractError, to_frame, [tensor], contract)


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


@pytest.mark.parametrize("name", ["input-0", "predict", "features", "x"])
def test_a_lone_matrix_is_taken_under_any_name(name: str) -> None:
    """Existing clients send input-0 and the like."""
    tensor = Tensor(name, "FP64", (2, 2), np.array([1.0, 2.0, 3.0, 4.0]))

    assert to_frame([tensor], TWO).as_matrix().tolist() == [[1.0, 2.0], [3.0, 4.0]]


@pytest.mark.parametrize("shape", [(2,), (2, 1)])
def test_columns_are_taken_by_name_in_any_order(shape: tuple[int, ...]) -> None:
    """They may be [N] or [N, 1], of any datatype that converts without loss."""
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
    """A column has one number a row; a wider one would shift its neighbours."""
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
    """The text also gives the name that was probably meant."""
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
