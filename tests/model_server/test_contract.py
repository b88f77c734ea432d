"""Contracts: what they admit, in whichever form it comes, and what they say of the rest."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from model_server.contract import Contract, Feature, Output, Tier
from model_server.errors import ContractError
from tests.bundles import contracts
from tests.bundles.contracts import VALUE
from tests.model_server import drawing
from tests.model_server.drawing import few, tables
from tests.model_server.published import published, schema

if TYPE_CHECKING:
    from model_server.frame import Frame

NUMERIC = ("float", "int", "bool")
PEOPLE = Contract(
    features=(
        Feature(name="age", dtype="int", minimum=18, maximum=120, unit="years"),
        Feature(name="income", dtype="float", minimum=0, nullable=True),
        Feature(name="plan", dtype="string", categories=("basic", "pro")),
        Feature(name="member", dtype="bool"),
    ),
    output=VALUE,
)
GOOD: list[Any] = [40, 1000.0, "pro", True]


def same(left: Frame, right: Frame) -> bool:
    """Compare two frames by name, type and value."""
    return left.names == right.names and left.n_rows == right.n_rows and left.to_rows() == right.to_rows()


def texts(error: pytest.ExceptionInfo[ContractError]) -> list[str]:
    """Spell out what was found."""
    return [str(violation) for violation in error.value.violations]


@few
@given(table=tables(), data=st.data())
def test_rows_may_come_as_lists_objects_or_columns(table: tuple[Contract, list[Any]], data: st.DataObject) -> None:
    """One meaning, three forms; the order of keys and columns never matters."""
    contract, rows = table
    order = data.draw(st.permutations(contract.names))
    frame = contract.frame(rows)
    objects = [dict(zip(contract.names, row, strict=True)) for row in rows]
    columns = dict(zip(contract.names, map(list, zip(*rows, strict=True)), strict=True))

    assert same(frame, contract.frame([{name: row[name] for name in order} for row in objects]))
    assert same(frame, contract.frame_from_columns({name: columns[name] for name in order}))
    assert same(frame, contract.frame([rows[0], *objects[1:]]))


@few
@given(tables(dtypes=NUMERIC))
def test_numbers_may_come_as_a_matrix(table: tuple[Contract, list[Any]]) -> None:
    """A binary tensor holds the same numbers, NaN for null."""
    contract, rows = table
    matrix = np.array([[math.nan if value is None else value for value in row] for row in rows], dtype=np.float64)

    frame = contract.frame_from_matrix(matrix)

    assert same(contract.frame(rows), frame)
    assert same(frame, contract.frame_from_columns(dict(zip(contract.names, matrix.T, strict=True))))
    assert contract.frame(rows).warned == frame.warned


@few
@given(table=tables(), data=st.data())
def test_one_bad_value_is_named_by_place_and_never_by_itself(
    table: tuple[Contract, list[Any]], data: st.DataObject
) -> None:
    """Feature, row and rule: enough to mend the request, nothing that would leak into a log."""
    contract, rows = table
    row = data.draw(st.integers(0, len(rows) - 1))
    column = data.draw(st.integers(0, len(contract.names) - 1))
    feature = contract.features[column]
    secret = {"string": 77123.5}.get(feature.dtype, "secret77123")
    rows[row] = [*rows[row][:column], secret, *rows[row][column + 1 :]]

    with pytest.raises(ContractError) as error:
        contract.frame(rows)

    assert [(v.feature, v.row, v.rule) for v in error.value.violations] == [(feature.name, row, feature.rule)]
    assert "77123" not in str(error.value).replace(feature.name, "").replace(feature.rule, "")


RULES: dict[str, list[Any]] = {
    "age": [
        (17, False),
        (18, True),
        (120, True),
        (121, False),
        (40.0, True),
        (40.5, False),
        ("40", False),
        (None, False),
    ],
    "income": [
        (0, True),
        (-0.0, True),
        (-1e-9, False),
        (1e30, True),
        (1e31, False),
        (None, True),
        (math.inf, False),
        (math.nan, False),
    ],
    "plan": [("basic", True), ("Basic", False), ("", False), (None, False), (1, False), (["basic"], False)],
    "member": [(True, True), (1, False), ("true", False), (None, False)],
}


@pytest.mark.parametrize(
    ("name", "value", "admitted"),
    [(name, value, admitted) for name, cases in RULES.items() for value, admitted in cases],
    ids=str,
)
def test_bounds_and_categories_are_inclusive_and_exact(name: str, value: Any, admitted: bool) -> None:  # noqa: FBT001
    """The edges of every rule are where clients and contracts disagree first."""
    row = dict(zip(PEOPLE.names, GOOD, strict=True)) | {name: value}

    if admitted:
        assert PEOPLE.frame([row]).n_rows == 1
    else:
        with pytest.raises(ContractError) as error:
            PEOPLE.frame([row])
        assert [(v.feature, v.row) for v in error.value.violations] == [(name, 0)]


def test_rules_are_written_for_people() -> None:
    """The same words stand in errors, in the metadata and on the card."""
    assert [feature.rule for feature in PEOPLE.features] == [
        "must be an integer within 18..120 (years)",
        "must be a finite number >= 0, at most 1e+30 in size or null",
        "must be one of 'basic', 'pro'",
        "must be true or false",
    ]
    assert Feature(name="n", dtype="int").rule == "must be an integer, below 2**53 in size"
    assert Feature(name="n", dtype="int", maximum=5).rule == "must be an integer <= 5, below 2**53 in size"
    assert (
        Feature(name="x", dtype="float", maximum=0.5, out_of_bounds="warn").rule
        == "must be a finite number, at most 1e+30 in size"
    )
    exact = Feature(name="x", dtype="float", minimum=1234567.5, maximum=2e6)
    assert exact.rule == "must be a finite number within 1234567.5..2e+06"
    many = Feature(name="c", dtype="string", categories=tuple(map(str, range(25))))
    assert many.rule.endswith("'19' and 5 more")


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([], ["must have at least one row"]),
        ([GOOD, GOOD[:3]], ["row 1: must have 4 values in contract order, got 3"]),
        ([GOOD, 7], ["row 1: must be a list of values in contract order, or an object of named values"]),
        (["text"], ["row 0: must be a list of values in contract order, or an object of named values"]),
        ([{"age": 40, "income": 1, "plan": "pro"}], ["feature 'member', row 0: is missing"]),
        (
            [{"age": 40, "incom": 1, "plan": "pro", "member": True}],
            [
                "feature 'income', row 0: is missing",
                "feature 'incom', row 0: is not a feature of this model; did you mean 'income'?",
            ],
        ),
        (
            [{"age": 40, "income": 1, "plan": "pro", "member": True, "z" * 500: 1}],
            [f"feature '{'z' * 64}', row 0: is not a feature of this model"],
        ),
        (
            [[17, 1, "x", True], GOOD, [40, 1, "pro", 1]],
            [
                "feature 'age', row 0: must be an integer within 18..120 (years)",
                "feature 'plan', row 0: must be one of 'basic', 'pro'",
                "feature 'member', row 2: must be true or false",
            ],
        ),
    ],
    ids=["no rows", "short", "a number", "a text", "missing", "misspelt", "unknown", "several"],
)
def test_every_flaw_of_the_rows_is_named(rows: list[Any], expected: list[str]) -> None:
    """All at once, so that a client mends its request in one go."""
    with pytest.raises(ContractError) as error:
        PEOPLE.frame(rows)

    assert texts(error) == expected


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({}, [f"feature '{name}': is missing" for name in PEOPLE.names]),
        ({"age": [], "income": [], "plan": [], "member": []}, ["must have at least one row"]),
        (
            {"age": [40, 41], "income": [1, 2], "plan": ["pro"], "member": [True, False]},
            ["feature 'plan': must have as many rows as the first column, 2, got 1"],
        ),
        (
            {"age": [40], "income": [1], "plan": ["pro"], "member": [True], "agee": [1]},
            ["feature 'agee': is not a feature of this model; did you mean 'age'?"],
        ),
    ],
    ids=["no columns", "no rows", "uneven", "unknown"],
)
def test_every_flaw_of_the_columns_is_named(columns: dict[str, Any], expected: list[str]) -> None:
    """A column that is not there cannot be guessed, one too many is not ignored."""
    with pytest.raises(ContractError) as error:
        PEOPLE.frame_from_columns(columns)

    assert texts(error) == expected


@pytest.mark.parametrize("shape", [(2, 3), (4,), (0, 2), (1, 2, 1)], ids=str)
def test_a_matrix_must_have_a_column_a_feature(shape: tuple[int, ...]) -> None:
    """Numbers without names are taken by position only when there are as many as features."""
    contract = Contract(features=contracts.numbers(2), output=VALUE)

    with pytest.raises(ContractError, match=r"must have (shape \[-1, 2\]|at least one row)"):
        contract.frame_from_matrix(np.zeros(shape))


def test_a_model_with_strings_takes_no_matrix() -> None:
    """The text says what it does take."""
    with pytest.raises(ContractError, match="send one tensor a column"):
        PEOPLE.frame_from_matrix(np.zeros((1, 4)))


def test_nan_is_missing_in_binary_data_only() -> None:
    """JSON has null for it; a NaN there is a number gone wrong."""
    contract = Contract(features=contracts.numbers(2, nullable=True), output=VALUE)

    assert contract.frame_from_matrix(np.array([[1.0, np.nan]])).to_rows() == [[1.0, None]]
    with pytest.raises(ContractError, match="feature 'x1', row 0"):
        contract.frame([[1.0, math.nan]])


@pytest.mark.parametrize("form", ["rows", "matrix", "columns"])
def test_bounds_that_only_warn_are_counted(form: str) -> None:
    """The value passes, the count goes to the metrics; whichever way it came."""
    features = (
        Feature(name="x", dtype="float", minimum=0, maximum=1, out_of_bounds="warn", nullable=True),
        Feature(name="y", dtype="float"),
    )
    contract = Contract(features=features, output=VALUE)
    rows = [[0.5, 9.0], [1.5, 9.0], [-1.0, 9.0]]
    make = {
        "rows": lambda: contract.frame(rows),
        "matrix": lambda: contract.frame_from_matrix(np.array(rows)),
        "columns": lambda: contract.frame_from_columns({"x": [0.5, 1.5, -1.0], "y": [9.0] * 3}),
    }

    frame = make[form]()

    assert frame.warned == {"x": 2}
    assert frame.to_rows() == rows


def test_an_integer_beyond_float64_is_named_among_numbers() -> None:
    """A JSON integer has no bounds of its own; this one would overflow on the fast way."""
    contract = Contract(features=contracts.numbers(3), output=VALUE)

    with pytest.raises(ContractError) as error:
        contract.frame([[1.0, 2.0, 3.0], [1.0, 10**400, 3.0]])

    assert texts(error) == ["feature 'x1', row 1: must be a finite number, at most 1e+30 in size"]


BAD_FEATURES: dict[str, dict[str, Any]] = {
    "bounds of a string": {"dtype": "string", "minimum": 0},
    "categories of a number": {"dtype": "float", "categories": ("a",)},
    "no category": {"dtype": "string", "categories": ()},
    "a category twice": {"dtype": "string", "categories": ("a", "a")},
    "bounds crossed": {"dtype": "float", "minimum": 2, "maximum": 1},
    "endless bound": {"dtype": "float", "maximum": math.inf},
    "bound is no number": {"dtype": "float", "minimum": math.nan},
    "no name": {"dtype": "float", "name": ""},
    "control character": {"dtype": "float", "name": "a\nb"},
    "unknown type": {"dtype": "double"},
    "unknown key": {"dtype": "float", "max": 3},
    "example out of bounds": {"dtype": "float", "maximum": 1, "example": 2},
    "example of another type": {"dtype": "int", "example": "7"},
    "example that is no category": {"dtype": "string", "categories": ("a",), "example": "b"},
}


@pytest.mark.parametrize("case", BAD_FEATURES)
def test_a_feature_that_contradicts_itself_is_refused(case: str) -> None:
    """Found when a bundle is made, not when a client stumbles over it."""
    with pytest.raises(ValidationError):
        Feature(**{"name": "x", **BAD_FEATURES[case]})


BAD_OUTPUTS: dict[str, dict[str, Any]] = {
    "regression with classes": {"task": "regression", "decision": "value", "classes": (0, 1), "probabilities": False},
    "regression with probabilities": {"task": "regression", "decision": "value", "probabilities": True},
    "regression that decides": {"task": "regression", "decision": "argmax", "probabilities": False},
    "one class": {"task": "classification", "decision": "predict", "classes": (0,), "probabilities": False},
    "a class twice": {"task": "classification", "decision": "argmax", "classes": (1, 1), "probabilities": True},
    "value of a classification": {
        "task": "classification",
        "decision": "value",
        "classes": (0, 1),
        "probabilities": False,
    },
    "names too few": {
        "task": "classification",
        "decision": "argmax",
        "classes": (0, 1),
        "class_names": ("a",),
        "probabilities": True,
    },
    "threshold of three": {
        "task": "classification",
        "decision": "threshold",
        "classes": (0, 1, 2),
        "positive": 1,
        "probabilities": True,
    },
    "positive unknown": {
        "task": "classification",
        "decision": "threshold",
        "classes": (0, 1),
        "positive": 2,
        "probabilities": True,
    },
    "threshold without probabilities": {
        "task": "classification",
        "decision": "threshold",
        "classes": (0, 1),
        "positive": 1,
        "probabilities": False,
    },
    "threshold above one": {
        "task": "classification",
        "decision": "threshold",
        "classes": (0, 1),
        "positive": 1,
        "probabilities": True,
        "threshold": 1.5,
    },
    "tiers fall": {
        "task": "regression",
        "decision": "value",
        "probabilities": False,
        "tiers": (Tier(name="b", at_least=1), Tier(name="a", at_least=0)),
    },
    "tiers of an argmax": {
        "task": "classification",
        "decision": "argmax",
        "classes": (0, 1),
        "probabilities": True,
        "tiers": (Tier(name="a", at_least=0),),
    },
}


@pytest.mark.parametrize("case", BAD_OUTPUTS)
def test_an_output_that_contradicts_itself_is_refused(case: str) -> None:
    """A decision needs what it is made from."""
    with pytest.raises(ValidationError):
        Output(target="y", **BAD_OUTPUTS[case])


def test_feature_names_are_unique() -> None:
    """Else an object of named values would be ambiguous."""
    with pytest.raises(ValidationError, match="unique"):
        Contract(features=contracts.numbers(1) * 2, output=VALUE)


@pytest.mark.parametrize(
    ("number", "tier"),
    [(-1.0, "low"), (0.29999, "low"), (0.3, "medium"), (0.59999, "medium"), (0.6, "high"), (1.0, "high")],
)
def test_tiers_start_at_their_bound(number: float, tier: str) -> None:
    """Decided with >= on the unrounded number; below the first there is none lower."""
    tiers = (Tier(name="low", at_least=0), Tier(name="medium", at_least=0.3), Tier(name="high", at_least=0.6))
    output = contracts.classes(0, 1, positive=1).model_copy(update={"tiers": tiers})

    assert output.tier(number) == tier


@pytest.mark.parametrize(("positive", "index"), [(None, 1), ("no", 0), ("yes", 1)])
def test_the_positive_class_is_the_named_one_else_the_last(positive: str | None, index: int) -> None:
    """Its column in the probabilities follows from it."""
    assert contracts.classes("no", "yes", positive=positive).positive_index == index


@few
@given(drawing.contracts())
def test_a_contract_survives_json(contract: Contract) -> None:
    """It lives in the manifest; what is read is what was written."""
    assert Contract.model_validate_json(contract.model_dump_json()) == contract


def test_the_schema_is_the_published_one() -> None:
    """Bundles written today are read by servers of tomorrow, so a changed schema is a decision.

    After it was taken, ``python -m tests.model_server.published`` writes the new schema.
    """
    assert schema("contract") == published("contract")
