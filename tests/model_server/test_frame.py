"""Frames: typed rows that a pipeline takes, and that become JSON again unchanged."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_server.contract import Contract, Feature
from model_server.errors import BugError
from tests.bundles.contracts import VALUE
from tests.model_server.drawing import few, tables

MIXED = Contract(
    features=(
        Feature(name="x", dtype="float", nullable=True),
        Feature(name="n", dtype="int"),
        Feature(name="n or null", dtype="int", nullable=True),
        Feature(name="flag", dtype="bool"),
        Feature(name="flag or null", dtype="bool", nullable=True),
        Feature(name="word", dtype="string", nullable=True),
    ),
    output=VALUE,
)
ROWS: list[Any] = [[1.5, 2, 3, True, False, "a"], [None, -1, None, False, None, None]]


@few
@given(tables())
def test_rows_come_back_as_they_were_sent(table: tuple[Contract, list[Any]]) -> None:
    """Decoding undoes encoding, types included: golden rows are written this way and read that way."""
    contract, rows = table

    back = contract.frame(rows).to_rows()

    assert back == rows
    assert [[type(value) for value in row] for row in back] == [[type(value) for value in row] for row in rows]


def test_a_table_has_the_declared_types() -> None:
    """Training fits on exactly these columns, serving answers with them."""
    table = MIXED.frame(ROWS).as_dataframe()

    assert [str(dtype) for dtype in table.dtypes] == ["float64", "int64", "float64", "bool", "float64", "object"]
    assert table.columns.tolist() == list(MIXED.names)
    assert table["word"].tolist() == ["a", None]
    assert np.isnan(table["x"][1])


def test_a_table_of_numbers_is_float64_throughout() -> None:
    """Its frame is one matrix, and the table only names its columns."""
    contract = Contract(features=MIXED.features[:5], output=VALUE)

    frame = contract.frame([row[:5] for row in ROWS])

    assert set(frame.as_dataframe().dtypes) == {np.dtype(np.float64)}
    assert np.array_equal(frame.as_dataframe().to_numpy(), frame.as_matrix(), equal_nan=True)


def test_a_matrix_is_not_copied() -> None:
    """A large batch passes through without a second copy in memory."""
    matrix = np.arange(6.0).reshape(3, 2)
    contract = Contract(features=MIXED.features[:1] + MIXED.features[1:2], output=VALUE)

    assert contract.frame_from_matrix(matrix).as_matrix() is matrix


def test_strings_have_no_matrix() -> None:
    """Asking for one is a mistake in our code, not in the request."""
    with pytest.raises(BugError, match="as_dataframe"):
        MIXED.frame(ROWS).as_matrix()


@few
@given(table=tables(), data=st.data())
def test_taking_rows_is_taking_them_before(table: tuple[Contract, list[Any]], data: st.DataObject) -> None:
    """A frame of some rows is the frame those rows alone would give."""
    contract, rows = table
    chosen = data.draw(st.lists(st.integers(0, len(rows) - 1), min_size=1, max_size=4))
    frame = contract.frame(rows)

    assert frame.take(chosen).to_rows() == contract.frame([rows[index] for index in chosen]).to_rows()
    assert frame.take(slice(0, 1)).to_rows() == rows[:1]
    assert frame.take(chosen).n_rows == len(chosen)


@few
@given(tables())
def test_a_column_is_found_by_name(table: tuple[Contract, list[Any]]) -> None:
    """Whether the frame is a matrix or not is its own affair."""
    contract, rows = table
    frame = contract.frame(rows)

    for index, name in enumerate(contract.names):
        column = frame.column(name).tolist()
        assert [None if value is None or value != value else value for value in column] == [  # noqa: PLR0124 - NaN
            row[index] for row in rows
        ]
