"""The behaviours that a well-known way to serve a classifier tests by name, and where each is tested here.

Thirty-four of them, in our own words: what the HTTP API promises, what loading does, and what predicting does. The last
of them, on the real breast-cancer model and without a server, are tested right here.
"""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest

from model_server.bundle import open_bundle, verify
from model_server.errors import ContractError
from model_server.predictor import Predictor
from tests.conformance.launch import bundle_of
from tests.docs.pages import ROOT

if TYPE_CHECKING:
    from pathlib import Path

HERE = "tests/docs/test_named_behaviours.py::"
FACADE = "tests/model_server/edge/http/test_facade.py::"
OPERATIONS = "tests/conformance/test_operations.py::"
BUNDLE = "tests/model_server/test_bundle.py::"
REAL = "[command:breast-cancer]"

BEHAVIOURS: dict[str, str] = {
    "health: answers 200 while the process lives": OPERATIONS + "test_health_tells_what_is_loaded" + REAL,
    "health: has status, model_loaded, model_version, uptime_seconds": FACADE + "test_health_names_the_bundle",
    "health: answers before the model is loaded, and says so": FACADE + "test_a_server_without_a_bundle_says_why",
    "ready: answers 200 once the model is loaded": OPERATIONS + "test_ready_says_ready" + REAL,
    "ready: answers 503 with a reason before": FACADE + "test_a_server_listens_before_its_model_is_loaded",
    "predict: answers 200 to a valid row": "tests/conformance/test_facade.py::test_predict_answers_one_row"
    "[command:breast-cancer-/predict]",
    "predict: the answer has exactly its keys": "tests/conformance/test_facade.py"
    "::test_a_vector_answer_has_exactly_its_keys" + REAL,
    "predict: the label is the right class": FACADE + "test_the_first_mass_is_malignant",
    "predict: probabilities sum to one": HERE + "test_probabilities_of_every_row_sum_to_one",
    "predict: another number of features is 422": FACADE + "test_a_body_that_is_no_vector_is_refused[two values]",
    "predict: an empty list is 422": FACADE + "test_a_body_that_is_no_vector_is_refused[no values]",
    "predict: a missing key is 422": FACADE + "test_a_body_that_is_no_vector_is_refused[an empty object]",
    "predict: texts for numbers are 422": FACADE
    + 'test_a_value_that_is_no_admitted_number_is_refused_by_its_index["48151623"]',
    "predict: NaN is 422, never 500": FACADE + "test_a_number_that_is_not_finite_is_refused[NaN]",
    "predict: infinity is 422, never 500": FACADE + "test_a_number_that_is_not_finite_is_refused[Infinity]",
    "predict: 503 while no model is loaded": OPERATIONS
    + "test_unload_makes_the_model_unready_until_it_is_loaded"
    + REAL,
    "batch: answers each row, in order, with the count": "tests/conformance/test_facade.py"
    "::test_a_batch_answers_each_row[command:breast-cancer-7-/predict/batch]",
    "batch: no rows are 422": FACADE + "test_a_batch_of_vectors_has_its_limit[0-422]",
    "batch: as many rows as allowed are answered": FACADE + "test_a_batch_of_vectors_has_its_limit[512-200]",
    "batch: one row more is 422": FACADE + "test_a_batch_of_vectors_has_its_limit[513-422]",
    "batch: a bad row is named": FACADE + "test_a_bad_instance_of_a_batch_is_named[bad0-must have 30 values]",
    "batch: answers what single requests do": FACADE + "test_a_batch_answers_what_single_requests_do",
    "load: what was written is opened": BUNDLE + "test_what_was_written_is_what_is_opened",
    "load: a missing folder is an error that says how to train": BUNDLE
    + "test_no_bundle_says_how_to_make_one[nowhere]",
    "load: a missing model file is an error": BUNDLE + "test_a_missing_file_is_refused[pipeline.joblib]",
    "load: metadata beside the model are optional": BUNDLE + "test_run_facts_may_change_or_be_absent",
    "load: the number of features and their names are known": HERE + "test_the_features_are_known_once_it_is_loaded",
    "predictor: another number of features names both numbers": HERE + "test_a_row_of_another_width_names_both_widths",
    "predictor: NaN and infinity are refused before the model": HERE
    + "test_no_number_that_is_not_finite_gets_through[nan]",
    "predictor: the same row gives the same answer": HERE + "test_the_same_row_gives_the_same_answer",
    "predictor: a list of values will do": HERE + "test_lists_and_arrays_are_the_same_rows",
    "predictor: a row is one dimension, rows are two": HERE + "test_rows_have_two_dimensions",
    "predictor: a batch equals its single rows": HERE + "test_a_batch_equals_its_single_rows",
    "predictor: a NaN in a batch names its row": HERE + "test_a_bad_number_in_a_batch_names_its_row",
}


def test_there_are_thirty_four() -> None:
    """As many as are named, none twice."""
    assert len(BEHAVIOURS) == len(set(BEHAVIOURS.values())) == 34


def collect(nodes: set[str]) -> set[str]:
    """Let pytest look for tests by their identifiers, without running them, and give those that it found."""
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", *sorted(nodes)]
    return set(subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False).stdout.splitlines())


def test_every_behaviour_has_its_test(request: pytest.FixtureRequest) -> None:
    """Pytest itself finds each, in this run or, where this run is of fewer tests, by looking again."""
    elsewhere = set(BEHAVIOURS.values()) - {item.nodeid for item in request.session.items}
    missing = elsewhere - collect(elsewhere) if elsewhere else set()

    assert {text: node for text, node in BEHAVIOURS.items() if node in missing} == {}


@pytest.fixture(scope="module")
def predictor(registry: Path) -> Predictor:
    """The breast-cancer model as training left it."""
    return Predictor(open_bundle(verify(bundle_of(registry, "breast-cancer"))))


@pytest.fixture(scope="module")
def rows(predictor: Predictor) -> list[list[float]]:
    """Real rows that the model was not trained on."""
    listed: list[list[float]] = predictor.contract.frame(predictor.bundle.golden.rows).as_matrix().tolist()
    return listed


def test_probabilities_of_every_row_sum_to_one(predictor: Predictor, rows: list[list[float]]) -> None:
    """One probability a class, each from 0 to 1."""
    probabilities = predictor.predict(predictor.contract.frame(rows)).probabilities

    assert probabilities is not None
    assert probabilities.shape == (len(rows), 2)
    assert probabilities.sum(axis=1) == pytest.approx(np.ones(len(rows)), abs=1e-12)
    assert ((probabilities >= 0) & (probabilities <= 1)).all()


def test_the_features_are_known_once_it_is_loaded(predictor: Predictor) -> None:
    """Thirty, the first of them the mean radius."""
    assert (len(predictor.contract.names), predictor.contract.names[0]) == (30, "mean radius")


def test_a_row_of_another_width_names_both_widths(predictor: Predictor, rows: list[list[float]]) -> None:
    """The text says what was expected and what came, so that the client sees which column is missing."""
    with pytest.raises(ContractError, match="must have 30 values in contract order, got 29"):
        predictor.contract.frame([rows[0][:29]])


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_no_number_that_is_not_finite_gets_through(predictor: Predictor, rows: list[list[float]], value: float) -> None:
    """There is no frame of it, so the model cannot be asked."""
    with pytest.raises(ContractError, match="feature 'mean texture', row 0: must be a finite number"):
        predictor.contract.frame([[rows[0][0], value, *rows[0][2:]]])


def test_the_same_row_gives_the_same_answer(predictor: Predictor, rows: list[list[float]]) -> None:
    """Nothing is drawn at random while predicting."""
    first, second = (predictor.predict(predictor.contract.frame(rows)) for _ in range(2))

    assert np.array_equal(np.asarray(first.probabilities), np.asarray(second.probabilities))
    assert np.array_equal(np.asarray(first.labels), np.asarray(second.labels))


def test_lists_and_arrays_are_the_same_rows(predictor: Predictor, rows: list[list[float]]) -> None:
    """JSON brings lists, binary tensors arrays."""
    listed = predictor.predict(predictor.contract.frame(rows))
    packed = predictor.predict(predictor.contract.frame_from_matrix(np.array(rows)))

    assert np.array_equal(np.asarray(listed.probabilities), np.asarray(packed.probabilities))


def test_rows_have_two_dimensions(predictor: Predictor, rows: list[list[float]]) -> None:
    """A bare vector is no batch, and a batch of batches is none either."""
    for shape in ((30,), (1, 1, 30)):
        with pytest.raises(ContractError, match=r"must have shape \[-1, 30\]"):
            predictor.contract.frame_from_matrix(np.array(rows[0]).reshape(shape))
    assert predictor.predict(predictor.contract.frame(rows[:1])).labels is not None


def test_a_batch_equals_its_single_rows(predictor: Predictor, rows: list[list[float]]) -> None:
    """Exactly, because trees only compare and add in a fixed order."""
    together = predictor.predict(predictor.contract.frame(rows)).probabilities
    alone = [predictor.predict(predictor.contract.frame([row])).probabilities for row in rows]

    assert np.array_equal(np.asarray(together), np.concatenate([np.asarray(one) for one in alone]))


def test_a_bad_number_in_a_batch_names_its_row(predictor: Predictor, rows: list[list[float]]) -> None:
    """By its position in the request, from 0."""
    bad = [row.copy() for row in rows]
    bad[7][3] = float("nan")
    with pytest.raises(ContractError) as caught:
        predictor.contract.frame(bad)

    assert [(flaw.feature, flaw.row) for flaw in caught.value.violations] == [("mean area", 7)]
