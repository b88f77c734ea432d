"""Predictors: the pipeline's answers, by the bundle's decision rule, the same for one row and for many."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.compose import make_column_transformer
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.linear_model import LinearRegression, LogisticRegression, RidgeClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from model_server.checks import Status, worst
from model_server.contract import Contract, Feature, Output
from model_server.errors import BugError, BundleIncompatible, GoldenMismatch
from model_server.predictor import Prediction
from tests.bundles import contracts, writing
from tests.model_server import oracle
from tests.model_server.drawing import few

if TYPE_CHECKING:
    from pathlib import Path

    from model_server.predictor import Predictor

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(120, 3))
TWO = np.where(X[:, 0] + 0.3 * RANDOM.normal(size=120) > 0, "yes", "no")
THREE = np.digitize(X[:, 0], [-0.5, 0.5])


def contract(output: Output) -> Contract:
    """Declare three numbers and an output."""
    return Contract(features=contracts.numbers(3), output=output)


def predictor(directory: Path, pipeline: Any, output: Output) -> Predictor:
    """Bundle a fitted pipeline and open it."""
    declared = contract(output)
    return writing.predictor(directory / "1.0.0", pipeline, declared, declared.frame_from_matrix(X[:20]))


@pytest.fixture(scope="module", name="forest")
def _forest(tmp_path_factory: pytest.TempPathFactory) -> Predictor:
    """Give a forest of two classes."""
    pipeline = make_pipeline(StandardScaler(), RandomForestClassifier(n_estimators=15, n_jobs=2, random_state=0))
    output = contracts.classes("no", "yes", positive="yes")
    return predictor(tmp_path_factory.mktemp("forest"), pipeline.fit(X, TWO), output)


@pytest.fixture(scope="module", name="line")
def _line(tmp_path_factory: pytest.TempPathFactory) -> Predictor:
    """Give a linear regression."""
    pipeline = make_pipeline(StandardScaler(), LinearRegression()).fit(X, X @ np.array([1.0, 2.0, 3.0]))
    return predictor(tmp_path_factory.mktemp("line"), pipeline, contracts.VALUE)


numbers = st.floats(-5, 5)
batches = st.lists(st.lists(numbers, min_size=3, max_size=3), min_size=1, max_size=8)


@few
@given(rows=batches)
def test_a_batch_is_its_single_rows(forest: Predictor, rows: list[list[float]]) -> None:
    """To the last bit for trees: who shares a batch with whom must not matter."""
    together = forest.predict(forest.contract.frame(rows))
    singles = [forest.predict(forest.contract.frame([row])) for row in rows]

    assert together.labels is not None
    assert together.probabilities is not None
    assert together.labels.tolist() == [single.labels.tolist()[0] for single in singles if single.labels is not None]
    assert together.probabilities.tolist() == [
        single.probabilities.tolist()[0] for single in singles if single.probabilities is not None
    ]
    assert len(together) == len(rows)


@few
@given(rows=batches)
def test_a_batch_of_a_linear_model_is_its_single_rows(line: Predictor, rows: list[list[float]]) -> None:
    """To 1e-12: BLAS may add in another order when there are more rows."""
    together = line.predict(line.contract.frame(rows)).values
    singles = [line.predict(line.contract.frame([row])).values for row in rows]

    assert oracle.close(np.concatenate([single for single in singles if single is not None]), together, 1e-12)


@few
@given(rows=batches, data=st.data())
def test_the_order_of_rows_is_kept(forest: Predictor, rows: list[list[float]], data: st.DataObject) -> None:
    """Answers stand where their rows stood."""
    order = data.draw(st.permutations(range(len(rows))))

    straight = forest.predict(forest.contract.frame(rows)).probabilities
    shuffled = forest.predict(forest.contract.frame([rows[index] for index in order])).probabilities

    assert straight is not None
    assert shuffled is not None
    assert np.array_equal(straight[list(order)], shuffled)


def test_labels_follow_the_threshold_of_the_contract(tmp_path: Path) -> None:
    """Not the estimator's own half: costs decide where a warning starts, and exactly there it does."""
    model = LogisticRegression().fit(X, TWO)
    frame = contract(contracts.VALUE).frame_from_matrix(X)
    exactly = float(model.predict_proba(X)[7, 1])
    output = contracts.classes("no", "yes", positive="yes").model_copy(update={"threshold": exactly})

    prediction = predictor(tmp_path, model, output).predict(frame)

    assert prediction.labels is not None
    assert prediction.labels.tolist() == np.where(model.predict_proba(X)[:, 1] >= exactly, "yes", "no").tolist()
    assert prediction.labels[7] == "yes"


def test_the_positive_class_may_be_the_first(tmp_path: Path) -> None:
    """The threshold speaks of its probability, wherever its column is."""
    model = LogisticRegression().fit(X, TWO)
    output = contracts.classes("no", "yes", positive="no").model_copy(update={"threshold": 0.9})
    frame = contract(output).frame_from_matrix(X)

    prediction = predictor(tmp_path, model, output).predict(frame)

    assert prediction.labels is not None
    assert prediction.labels.tolist() == np.where(model.predict_proba(X)[:, 0] >= 0.9, "no", "yes").tolist()


def test_of_several_classes_the_most_probable_is_answered(tmp_path: Path) -> None:
    """Integer labels stay integers on the way out."""
    model = LogisticRegression().fit(X, THREE)
    frame = contract(contracts.VALUE).frame_from_matrix(X)

    prediction = predictor(tmp_path, model, contracts.classes(0, 1, 2)).predict(frame)

    assert prediction.labels is not None
    assert prediction.probabilities is not None
    assert prediction.labels.tolist() == model.predict(X).tolist()
    assert prediction.labels.dtype == np.int64
    assert np.array_equal(prediction.probabilities, model.predict_proba(X))


def test_an_estimator_without_probabilities_answers_labels(tmp_path: Path) -> None:
    """By its own rule; probabilities are not made up."""
    model = RidgeClassifier().fit(X, TWO)
    output = Output(target="y", task="classification", classes=("no", "yes"), decision="predict", probabilities=False)
    opened = predictor(tmp_path, model, output)

    prediction = opened.predict(opened.contract.frame_from_matrix(X))

    assert prediction.labels is not None
    assert prediction.labels.tolist() == model.predict(X).tolist()
    assert prediction.probabilities is None
    assert worst(opened.check_golden()) is Status.PASS


@pytest.mark.parametrize("column_of_targets", [False, True], ids=["flat", "one column"])
def test_a_regression_answers_values(tmp_path: Path, column_of_targets: bool) -> None:  # noqa: FBT001 - a table
    """Some estimators answer a column when they were fitted on one."""
    y = X @ np.array([1.0, 2.0, 3.0])
    model = LinearRegression().fit(X, y[:, None] if column_of_targets else y)
    declared = contract(contracts.VALUE)
    golden = {"rows": X[:2].tolist(), "outputs": {"value": model.predict(X[:2]).ravel().tolist()}}
    opened = writing.open_files(tmp_path / "1.0.0", declared, writing.files(model, golden))

    prediction = opened.predict(declared.frame_from_matrix(X))

    assert prediction.values is not None
    assert prediction.values.tolist() == model.predict(X).ravel().tolist()
    assert prediction.labels is None
    assert worst(opened.check_golden()) is Status.PASS


def test_named_columns_reach_the_pipeline_by_name(tmp_path: Path) -> None:
    """A pipeline that selects columns gets the table it was fitted on."""
    features = (Feature(name="colour", dtype="string"), Feature(name="x", dtype="float"))
    declared = Contract(features=features, output=contracts.VALUE)
    colours = RANDOM.choice(["red", "blue"], size=60).tolist()
    frame = declared.frame_from_columns({"colour": colours, "x": X[:60, 0]})
    steps = make_column_transformer((OneHotEncoder(), ["colour"]), remainder="passthrough")
    model = make_pipeline(steps, LinearRegression()).fit(frame.as_dataframe(), X[:60, 1])

    prediction = writing.predictor(tmp_path / "1.0.0", model, declared, frame).predict(frame)

    assert prediction.values is not None
    assert prediction.values.tolist() == model.predict(frame.as_dataframe()).tolist()


def test_a_numeric_model_may_have_been_fitted_on_names(tmp_path: Path) -> None:
    """Then it is asked by name, or scikit-learn would warn at every request."""
    declared = contract(contracts.VALUE)
    frame = declared.frame_from_matrix(X)
    model = RandomForestRegressor(n_estimators=3, random_state=0).fit(frame.as_dataframe(), X[:, 0])

    prediction = writing.predictor(tmp_path / "1.0.0", model, declared, frame, named=True).predict(frame)

    assert prediction.values is not None
    assert prediction.values.tolist() == model.predict(frame.as_dataframe()).tolist()


def test_one_request_is_one_job(forest: Predictor) -> None:
    """Workers cost more than a small request saves."""
    assert forest.pipeline.get_params()["randomforestclassifier__n_jobs"] == 1


def test_golden_rows_agree(forest: Predictor) -> None:
    """One check an output; a server is ready only when all pass."""
    checks = forest.check_golden()

    assert [check.name for check in checks] == ["golden label", "golden probabilities"]
    assert worst(checks) is Status.PASS


SPOILED: dict[str, tuple[Any, str]] = {
    "another value": (
        lambda outputs: outputs | {"value": [outputs["value"][0] + 1e-6, *outputs["value"][1:]]},
        "golden value",
    ),
    "null": (lambda outputs: {"value": [None, *outputs["value"][1:]]}, "golden value"),
    "another shape": (lambda outputs: {"value": [[value] for value in outputs["value"]]}, "golden value"),
    "another output": (lambda outputs: {"label": outputs["value"]}, "golden label"),
    "uneven": (lambda outputs: {"value": [[1.0, 2.0], *outputs["value"][1:]]}, "golden value"),
    "a text": (lambda outputs: {"value": ["1", *outputs["value"][1:]]}, "golden value"),
}


@pytest.mark.parametrize("case", SPOILED)
def test_golden_rows_that_differ_fail(case: str, tmp_path: Path) -> None:
    """By an output's name, with the difference and its limit; never with a traceback."""
    spoil, name = SPOILED[case]
    model = LinearRegression().fit(X, X[:, 0])
    golden = {"rows": X[:3].tolist(), "outputs": spoil({"value": model.predict(X[:3]).tolist()})}
    opened = writing.open_files(tmp_path / "1.0.0", contract(contracts.VALUE), writing.files(model, golden))

    (check,) = opened.check_golden()

    assert (check.name, check.status) == (name, Status.FAIL)


def test_golden_labels_that_differ_are_counted(tmp_path: Path) -> None:
    """How many of how many says whether a class was renamed or a row fell over the edge."""
    model = LogisticRegression().fit(X, TWO)
    labels = model.predict(X[:5]).tolist()
    labels[0] = "no" if labels[0] == "yes" else "yes"
    golden = {"rows": X[:5].tolist(), "outputs": {"label": labels}}
    output = contracts.classes("no", "yes", positive="yes")

    (check,) = writing.open_files(tmp_path / "1.0.0", contract(output), writing.files(model, golden)).check_golden()

    assert (check.status, check.observed) == (Status.FAIL, 1)


def test_golden_rows_that_break_the_contract_are_no_golden_rows(tmp_path: Path) -> None:
    """They could never be asked by a client."""
    model = LinearRegression().fit(X, X[:, 0])
    golden = {"rows": [[1.0, 2.0]], "outputs": {"value": [1.0]}}
    opened = writing.open_files(tmp_path / "1.0.0", contract(contracts.VALUE), writing.files(model, golden))

    with pytest.raises(GoldenMismatch, match="must have 3 values"):
        opened.check_golden()


def named_model(columns: list[str]) -> Any:
    """Fit on a table with these columns."""
    import pandas as pd

    return LinearRegression().fit(pd.DataFrame(X[:, : len(columns)], columns=columns), X[:, 0])


@pytest.mark.parametrize(
    ("model", "text"),
    [
        (named_model(["x0", "x2", "x1"]), r"same names in another order; the pipeline's order is \['x0', 'x2', 'x1'\]"),
        (named_model(["x0", "x1", "z"]), r"only in the pipeline: \['z'\]; only in the contract: \['x2'\]"),
        (LinearRegression().fit(X[:, :2], X[:, 0]), "the pipeline takes 2 features, the contract has 3"),
    ],
    ids=["order", "names", "number"],
)
def test_a_pipeline_of_other_features_is_refused(model: Any, text: str, tmp_path: Path) -> None:
    """A column in the wrong place gives an answer, and a wrong one."""
    golden = {"rows": X[:1].tolist(), "outputs": {"value": [1.0]}}

    with pytest.raises(BundleIncompatible, match=text):
        writing.open_files(tmp_path / "1.0.0", contract(contracts.VALUE), writing.files(model, golden))


def test_a_pipeline_of_other_classes_is_refused(tmp_path: Path) -> None:
    """Their order is that of the probability columns."""
    model = LogisticRegression().fit(X, TWO)
    golden = {"rows": X[:1].tolist(), "outputs": {"label": ["yes"]}}
    output = contracts.classes("yes", "no", positive="yes")

    with pytest.raises(BundleIncompatible, match="classes, or their order"):
        writing.open_files(tmp_path / "1.0.0", contract(output), writing.files(model, golden))


def broken_model() -> Any:
    """Fit, then lose the weights as an overflow in training would."""
    model = LinearRegression().fit(X, X[:, 0])
    model.coef_[:] = np.inf
    return model


@pytest.mark.filterwarnings("ignore:invalid value")
@pytest.mark.parametrize(
    ("model", "text"),
    [(broken_model(), "not finite"), (LinearRegression().fit(X, X[:, :2]), "answered 6 rows for 3")],
    ids=["infinite", "two values a row"],
)
def test_an_answer_that_is_none_is_our_bug(model: Any, text: str, tmp_path: Path) -> None:
    """A client must not get infinity, nor the first of two answers."""
    golden = {"rows": X[:1].tolist(), "outputs": {"value": [1.0]}}
    declared = contract(contracts.VALUE)
    opened = writing.open_files(tmp_path / "1.0.0", declared, writing.files(model, golden))

    with pytest.raises(BugError, match=text):
        opened.predict(declared.frame_from_matrix(X[:3]))


def test_a_prediction_of_nothing_has_no_length() -> None:
    """It would be counted as an answer."""
    with pytest.raises(BugError):
        len(Prediction())
