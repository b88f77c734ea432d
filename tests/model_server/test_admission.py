"""Admission: admits what the rules one by one admit, with the same frame, and nothing else."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_server.admission import FEW_ROWS, Admission
from model_server.contract import Contract, Feature
from model_server.errors import ContractError
from tests.model_server.drawing import contracts, few, tables, values
from tests.model_server.making import VALUE

if TYPE_CHECKING:
    from model_server.frame import Frame

ANYTHING = st.one_of(
    *(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=3), st.just(10**400)),
    *(st.lists(st.integers(), max_size=2), st.dictionaries(st.text(max_size=2), st.integers(), max_size=2)),
)


def one_by_one(contract: Contract, rows: list[list[Any]]) -> Frame:
    """Check the rows column by column, past the happy path."""
    return contract.frame_from_columns(
        dict(zip(contract.names, map(list, zip(*rows, strict=True)), strict=True)),
    )


def assert_same(expected: Frame, actual: Frame | None) -> None:
    """Compare two frames by name, type, value and warnings."""
    assert actual is not None
    assert (expected.names, expected.dtypes, expected.n_rows) == (actual.names, actual.dtypes, actual.n_rows)
    assert expected.to_rows() == actual.to_rows()
    assert expected.warned == actual.warned
    assert (expected.matrix is None) == (actual.matrix is None)
    for name in expected.names:
        assert expected.column(name).dtype == actual.column(name).dtype


@few
@given(tables())
def test_rows_that_keep_the_rules_are_admitted_at_once(table: tuple[Contract, list[Any]]) -> None:
    """As lists and as objects: else the happy path would be the slow one."""
    contract, rows = table
    admission = Admission(contract.features)
    expected = one_by_one(contract, rows)

    assert_same(expected, admission.rows(rows))
    assert_same(expected, admission.rows([dict(zip(contract.names, row, strict=True)) for row in rows]))


@few
@given(data=st.data())
def test_what_is_admitted_at_once_is_admitted_one_by_one(data: st.DataObject) -> None:
    """Whatever stands in a cell: a number as text, true, NaN, an integer beyond all floats, a list."""
    contract = data.draw(contracts())
    cells = [st.one_of(values(feature), ANYTHING) for feature in contract.features]
    rows = data.draw(st.lists(st.tuples(*cells).map(list), min_size=1, max_size=FEW_ROWS + 3))
    admitted = Admission(contract.features).rows(rows)

    try:
        expected = one_by_one(contract, rows)
    except ContractError:
        assert admitted is None
    else:
        assert_same(expected, admitted)


@pytest.mark.parametrize("n_rows", [1, FEW_ROWS, FEW_ROWS + 1, 50])
@pytest.mark.parametrize("value", [True, False, "1", "0", None, math.nan, math.inf, 10**400, [1.0], 1e31])
def test_one_cell_that_is_no_number_is_found_among_many_rows(value: Any, n_rows: int) -> None:
    """True and false turn into 1 and 0 when numbers are packed; they are looked for where a 1 or a 0 came out."""
    contract = Contract(features=(Feature(name="x", dtype="float"), Feature(name="y", dtype="float")), output=VALUE)
    rows: list[Any] = [[float(index), 0.0] for index in range(n_rows)]
    rows[n_rows // 2] = [0.5, value]

    assert Admission(contract.features).rows(rows) is None
    with pytest.raises(ContractError) as error:
        contract.frame(rows)
    assert [(v.feature, v.row) for v in error.value.violations] == [("y", n_rows // 2)]


@pytest.mark.parametrize("value", [1, 0, 1.0, "true", None])
def test_a_truth_value_is_true_or_false(value: Any) -> None:
    """A 1 in a column of truth values is a mistake, not a yes."""
    contract = Contract(features=(Feature(name="x", dtype="float"), Feature(name="b", dtype="bool")), output=VALUE)

    assert Admission(contract.features).rows([[1.0, True], [0.0, value]]) is None
    assert_same(one_by_one(contract, [[1, True]]), Admission(contract.features).rows([[1, True]]))


@pytest.mark.parametrize(
    "rows",
    [
        [[1.0, 2.0], {"x": 1.0, "y": 2.0}],
        [[1.0]],
        [[1.0, 2.0, 3.0]],
        [{"x": 1.0, "z": 2.0}],
        [{"x": 1.0, "y": 2.0, "z": 3.0}],
        [(1.0, 2.0)],
        ["12"],
        [None],
    ],
    ids=str,
)
def test_rows_of_another_form_are_looked_at_one_by_one(rows: list[Any]) -> None:
    """Most of them are refused there, by name; lists and objects side by side are not."""
    features = (Feature(name="x", dtype="float"), Feature(name="y", dtype="float"))

    assert Admission(features).rows(rows) is None


def test_missing_numbers_are_null_and_nothing_else() -> None:
    """NaN cannot be written in JSON: whoever sends one, it is no missing value."""
    features = tuple(Feature(name=name, dtype="float", nullable=True) for name in "xy")
    admitted = Admission(features).rows([[None, 1.0], [2.0, None]])

    assert admitted is not None
    assert admitted.to_rows() == [[None, 1.0], [2.0, None]]
    assert Admission(features).rows([[None, math.nan]]) is None


@few
@given(table=tables(dtypes=("float", "int", "bool")))
def test_a_matrix_is_admitted_at_once(table: tuple[Contract, list[Any]]) -> None:
    """Binary data; the frame holds the very array that was received."""
    contract, rows = table
    matrix = np.array([[math.nan if value is None else value for value in row] for row in rows], dtype=np.float64)
    admitted = Admission(contract.features).matrix(matrix)

    assert_same(contract.frame_from_columns(dict(zip(contract.names, matrix.T, strict=True))), admitted)
    assert admitted is not None
    assert admitted.matrix is matrix


def test_single_precision_is_admitted_as_the_same_numbers() -> None:
    """Every float32 is a float64."""
    contract = Contract(features=(Feature(name="x", dtype="float", maximum=0.5),), output=VALUE)
    matrix = np.array([[0.1], [0.25]], dtype=np.float32)

    assert contract.frame_from_matrix(matrix).to_rows() == matrix.astype(np.float64).tolist()


def test_a_frame_of_admitted_rows_may_be_written_to() -> None:
    """Estimators that were told not to copy would fail on memory that is read-only."""
    admitted = Admission((Feature(name="x", dtype="float"),)).rows([[1.0]])

    assert admitted is not None
    assert admitted.as_matrix().flags.writeable
