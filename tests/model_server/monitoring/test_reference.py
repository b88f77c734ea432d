"""The drift reference: every value is counted once, in the bin that its edges say."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from model_server.contract import Contract
from model_server.feature import Feature
from model_server.monitoring.reference import MAX_CATEGORIES, Categories, Numbers, Reference
from model_server.output import Output
from model_server.predictor import Prediction

BINARY = Output(
    target="y",
    task="classification",
    classes=("no", "yes"),
    positive="yes",
    decision="threshold",
    probabilities=True,
)
LABELS = Output(target="y", task="classification", classes=(0, 1), decision="predict", probabilities=False)
VALUE = Output(target="y", task="regression", decision="value", probabilities=False)


@given(st.lists(st.one_of(st.floats(-1e6, 1e6), st.just(float("nan"))), min_size=1, max_size=200))
def test_every_number_is_counted_once(values: list[float]) -> None:
    """Bins and missing values together are all rows, and edges ascend."""
    counted = Numbers.of(np.array(values))
    assert sum(counted.counts) + counted.missing == len(values)
    assert list(counted.edges) == sorted(set(counted.edges))


@given(st.lists(st.integers(-5, 5), min_size=1, max_size=100))
def test_few_distinct_numbers_get_a_bin_each(values: list[int]) -> None:
    """A count of children is not cut between one child and two."""
    counted = Numbers.of(np.array(values))
    shares = {number: values.count(number) for number in sorted(set(values))}
    assert list(counted.counts) == list(shares.values())


def test_many_distinct_numbers_get_ten_bins_of_equal_size() -> None:
    """Deciles hold a tenth each, the edge itself in the lower bin."""
    counted = Numbers.of(np.arange(1000.0))
    assert counted.counts == (100,) * 10
    assert counted.edges[0] == 99.0
    assert (counted.mean, counted.minimum, counted.maximum) == (499.5, 0.0, 999.0)


def test_a_column_without_values_is_only_missing() -> None:
    """Nothing is invented for it."""
    counted = Numbers.of(np.array([np.nan, np.nan]))
    assert (counted.missing, counted.counts, counted.mean) == (2, (0,), None)


def test_given_edges_are_kept() -> None:
    """Probabilities are always counted in tenths."""
    assert Numbers.of(np.array([0.05, 0.1, 0.95]), (0.1, 0.9)).counts == (2, 0, 1)


@pytest.mark.parametrize(("edges", "counts"), [((1.0, 2.0), (1, 2)), ((2.0, 1.0), (1, 2, 3)), ((1.0, 1.0), (0, 0, 0))])
def test_a_reference_that_contradicts_itself_is_refused(edges: tuple[float, ...], counts: tuple[int, ...]) -> None:
    """There must be one count a bin, and the edges must ascend."""
    with pytest.raises(ValidationError):
        Numbers(missing=0, edges=edges, counts=counts)


def test_known_categories_are_all_counted_and_others_together() -> None:
    """A category that never came is a zero, not an absence."""
    counted = Categories.of(["a", "x", None, "a", "y"], ("a", "b"))
    assert (counted.counts, counted.other, counted.missing) == ({"a": 2, "b": 0}, 2, 1)


def test_free_texts_are_counted_by_frequency_up_to_a_limit() -> None:
    """A reference stays small, whatever the column holds."""
    texts = [f"text {number}" for number in range(100)] + ["often"] * 5
    counted = Categories.of(list(texts))
    assert next(iter(counted.counts)) == "often"
    assert (len(counted.counts), counted.other) == (MAX_CATEGORIES, 101 - MAX_CATEGORIES)


def _contract(output: Output, *features: dict[str, Any]) -> Contract:
    return Contract(features=tuple(Feature.model_validate(feature) for feature in features), output=output)


def test_a_mixed_table_is_counted_by_type() -> None:
    """Numbers in bins, texts and truth values by name, labels and probabilities of the answers."""
    contract = _contract(
        BINARY,
        {"name": "age", "dtype": "int", "nullable": True},
        {"name": "plan", "dtype": "string", "categories": ["a", "b"]},
        {"name": "member", "dtype": "bool", "nullable": True},
    )
    frame = contract.frame([[1, "a", True], [None, "a", None], [3, "b", False]])
    prediction = Prediction(np.array(["yes", "no"], object), np.array([[0.25, 0.75], [0.95, 0.05]]))
    reference = Reference.build(contract, frame, prediction)
    assert (reference.n_rows, reference.n_answers) == (3, 2)
    assert reference.labels == {"no": 1, "yes": 1}
    age, plan, member = (reference.features[name] for name in ("age", "plan", "member"))
    assert isinstance(age, Numbers)
    assert (age.edges, age.counts, age.missing) == ((1.0,), (1, 1), 1)
    assert isinstance(plan, Categories)
    assert plan.counts == {"a": 2, "b": 1}
    assert isinstance(member, Categories)
    assert (member.counts, member.missing) == ({"false": 1, "true": 1}, 1)
    assert reference.scores["yes"].counts == (1, 0, 0, 0, 0, 0, 0, 1, 0, 0)
    assert reference.scores["no"].counts == (0, 0, 1, 0, 0, 0, 0, 0, 0, 1)


def test_truth_values_of_a_numeric_table_are_counted_by_name() -> None:
    """In a matrix they are zeros and ones; the reference says what they mean."""
    contract = _contract(LABELS, {"name": "member", "dtype": "bool"})
    reference = Reference.build(contract, contract.frame([[True], [False]]), Prediction(np.array([1, 0, 1])))
    member = reference.features["member"]
    assert isinstance(member, Categories)
    assert member.counts == {"false": 1, "true": 1}
    assert reference.labels == {"0": 1, "1": 2}
    assert reference.scores == {}


def test_a_regression_has_its_values_counted() -> None:
    """It answers no labels, so none are counted."""
    contract = _contract(VALUE, {"name": "a", "dtype": "float"})
    reference = Reference.build(contract, contract.frame([[1.0]]), Prediction(values=np.array([1.0, 2.0])))
    assert reference.labels == {}
    assert reference.scores["value"].counts == (1, 1)


def test_a_reference_survives_being_written_and_read() -> None:
    """It is a file of the bundle."""
    contract = _contract(LABELS, {"name": "a", "dtype": "float"}, {"name": "b", "dtype": "string"})
    reference = Reference.build(contract, contract.frame([[0.1, "x"], [0.3, "y"]]), Prediction(np.array([1])))
    assert Reference.model_validate_json(reference.model_dump_json()) == reference
