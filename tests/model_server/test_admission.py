"""Admission: admits what the rules one by one admit, with the same frame, and nothing else."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_server.admission import FEW_ROWS, Admission
from model_server.contract import Contract, Feature
from model_server.errors import ContractError
from model_server.frame import Frame
from tests.bundles.contracts import VALUE
from tests.model_server.drawing import contracts, few, tables, values

ANYTHING = st.one_of(
    *(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=3), st.just(10**400)),
    *(st.lists(st.integers(), max_size=2), st.dictionaries(st.text(max_size=2), st.integers(), max_size=2)),
)


def one_by_one(contract: Contract, columns: list[Any]) -> Frame | None:
    """Check columns feature by feature, past the happy path; None when a value is refused."""
    checked = [feature.check(values) for feature, values in zip(contract.features, columns, strict=True)]
    if any(bad.any() for _, bad, _ in checked):
        return None
    found = {name: column for name, (column, _, _) in zip(contract.names, checked, strict=True)}
    dtypes = tuple(feature.dtype for feature in contract.features)
    warned = {name: count for name, (_, _, count) in zip(contract.names, checked, strict=True) if count}
    if not contract.is_numeric:
        return Frame(contract.names, dtypes, len(columns[0]), columns=found, warned=warned)
    matrix = np.column_stack([column.astype(np.float64) for column in found.values()])
    return Frame(contract.names, dtypes, len(columns[0]), matrix=matrix, warned=warned)


def turned(rows: list[list[Any]]) -> list[list[Any]]:
    """Turn rows into columns."""
    return list(map(list, zip(*rows, strict=True)))


def assert_same(expected: Frame | None, actual: Frame | None) -> None:
    """Compare two frames by name, type, value and warnings."""
    assert expected is not None
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
    expected = one_by_one(contract, turned(rows))

    assert_same(expected, admission.rows(rows))
    assert_same(expected, admission.columns(dict(zip(contract.names, turned(rows), strict=True)), len(rows)))
    assert_same(expected, admission.rows([dict(zip(contract.names, row, strict=True)) for row in rows]))


@few
@given(data=st.data())
def test_what_is_admitted_at_once_is_admitted_one_by_one(data: st.DataObject) -> None:
    """Whatever stands in a cell: a number as text, true, NaN, an integer beyond all floats, a list."""
    contract = data.draw(contracts())
    cells = [st.one_of(values(feature), ANYTHING) for feature in contract.features]
    rows = data.draw(st.lists(st.tuples(*cells).map(list), min_size=1, max_size=FEW_ROWS + 3))
    by_row = Admission(contract.features).rows(rows)
    by_column = Admission(contract.features).columns(dict(zip(contract.names, turned(rows), strict=True)), len(rows))
    expected = one_by_one(contract, turned(rows))

    if expected is None:
        assert by_row is None
        assert by_column is None
    else:
        assert_same(expected, by_row)
        assert_same(expected, by_column)


ARRAYS = [np.float64, np.float32, np.int64, np.int32, np.uint64, np.uint8, np.bool_, object]


@few
@given(data=st.data())
def test_arrays_are_admitted_at_once_only_as_they_are_one_by_one(data: st.DataObject) -> None:
    """Binary tensors of every datatype: a datatype is accepted where it converts without loss."""
    contract = data.draw(contracts())
    n_rows = data.draw(st.integers(1, 3))
    arrays = [_array(data, n_rows) for _ in contract.features]
    admitted = Admission(contract.features).columns(dict(zip(contract.names, arrays, strict=True)), n_rows)

    if admitted is not None:
        assert_same(one_by_one(contract, arrays), admitted)


def _array(data: st.DataObject, n_rows: int) -> Any:
    dtype = data.draw(st.sampled_from(ARRAYS))
    kind = np.dtype(dtype).kind
    numbers = st.integers(0, 255) | (st.just(2**63 - 1) if dtype in (np.int64, np.uint64) else st.just(1))
    cells = {"f": st.floats(width=32) | st.integers(-2, 2), "b": st.booleans(), "O": st.text(max_size=2) | st.none()}
    return np.array(data.draw(st.lists(cells.get(kind, numbers), min_size=n_rows, max_size=n_rows)), dtype=dtype)


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int64, np.int8])
def test_arrays_of_numbers_are_admitted_at_once(dtype: Any) -> None:
    """The usual datatypes of a client's tensors."""
    contract = Contract(
        features=(Feature(name="n", dtype="int"), Feature(name="x", dtype="float", nullable=True)), output=VALUE
    )
    columns = [np.array([1, 2], dtype=dtype), np.array([3, 4], dtype=dtype)]

    assert_same(
        one_by_one(contract, columns), Admission(contract.features).columns(dict(zip("nx", columns, strict=True)), 2)
    )


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
    assert_same(one_by_one(contract, [[1], [True]]), Admission(contract.features).rows([[1, True]]))


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

    assert_same(one_by_one(contract, list(matrix.T)), admitted)
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
