"""Explanations of linear models: weight times distance to a stated reference."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge, SGDRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler

from model_server.contract import Contract
from model_server.errors import NotSupported
from model_server.explain import Explainer
from tests.bundles import contracts, writing
from tests.model_server import oracle

if TYPE_CHECKING:
    from pathlib import Path

    from model_server.contract import Output
    from model_server.predictor import Predictor

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(3.0, 2.0, size=(150, 4))
Y = X @ np.array([1.0, -2.0, 0.0, 0.5]) + RANDOM.normal(size=150)


def predictor(directory: Path, pipeline: Any, output: Output) -> Predictor:
    """Bundle a fitted pipeline; the golden rows are the first twenty."""
    contract = Contract(features=contracts.numbers(4), output=output)
    return writing.predictor(directory / "small", pipeline, contract, contract.frame_from_matrix(X[:20]))


@pytest.mark.parametrize(
    "estimator",
    [LinearRegression(), Ridge(fit_intercept=False), SGDRegressor(random_state=0)],
    ids=lambda e: type(e).__name__,
)
def test_regressions_are_explained_against_the_training_mean(estimator: Any, tmp_path: Path) -> None:
    """A StandardScaler recorded the training means, so an average row has no contributions."""
    pipeline = make_pipeline(StandardScaler(), estimator).fit(X, Y)
    explainer = Explainer.for_predictor(predictor(tmp_path, pipeline, contracts.VALUE))
    rows = np.concatenate([X, X.mean(axis=0, keepdims=True)])

    answer = explainer.explain(explainer.predictor.contract.frame_from_matrix(rows))

    assert oracle.close(answer.margin[:, 0], pipeline.predict(rows))
    assert oracle.close(np.zeros((4, 1)), answer.contributions[-1])
    assert explainer.reference == "the training means, as the StandardScaler recorded them"
    assert answer.space == "value"


def test_contributions_are_shapley_values_over_the_reference(tmp_path: Path) -> None:
    """With a feature unknown, its reference stands in for it."""
    pipeline = make_pipeline(StandardScaler(), LogisticRegression()).fit(X, Y > 0)
    explainer = Explainer.for_predictor(predictor(tmp_path, pipeline, contracts.classes(0, 1, positive=1)))

    answer = explainer.explain(explainer.predictor.contract.frame_from_matrix(X[:1]))

    def game(known: frozenset[int]) -> float:
        row = np.where([column in known for column in range(4)], X[0], X.mean(axis=0))
        return float(pipeline.decision_function(row[None])[0])

    assert oracle.close(answer.contributions[0, :, 0], oracle.shapley(game, 4))
    assert oracle.close(answer.base[0], game(frozenset()))


def test_each_class_of_several_has_its_own_contributions(tmp_path: Path) -> None:
    """The scores before the softmax are linear, class by class."""
    labels = np.array(["low", "mid", "top"])[np.digitize(Y, [-3.0, 3.0])]
    pipeline = make_pipeline(StandardScaler(), LogisticRegression()).fit(X, labels)
    explainer = Explainer.for_predictor(predictor(tmp_path, pipeline, contracts.classes("low", "mid", "top")))

    answer = explainer.explain(explainer.predictor.contract.frame_from_matrix(X))

    assert oracle.close(answer.margin, pipeline.decision_function(X))
    assert answer.output_names == ("low", "mid", "top")
    assert [reasons[0].output for reasons in answer.reasons(1)] == pipeline.predict(X).tolist()


def test_without_a_recorded_mean_the_golden_rows_are_the_reference(tmp_path: Path) -> None:
    """A MinMaxScaler knows no mean; the golden rows are at hand in every bundle, and the text says so."""
    pipeline = make_pipeline(MinMaxScaler(), LinearRegression()).fit(X, Y)
    explainer = Explainer.for_predictor(predictor(tmp_path, pipeline, contracts.VALUE))

    answer = explainer.explain(explainer.predictor.contract.frame_from_matrix(X[:20]))

    assert oracle.close(np.zeros((4, 1)), answer.contributions.mean(axis=0))
    assert oracle.close(answer.base[0], pipeline.predict(X[:20]).mean())
    assert explainer.reference == "the means of the 20 golden rows"


def test_a_given_background_is_the_reference(tmp_path: Path) -> None:
    """Who gives rows wants them used, also where a scaler recorded means."""
    pipeline = make_pipeline(StandardScaler(), LinearRegression()).fit(X, Y)
    small = predictor(tmp_path, pipeline, contracts.VALUE)
    explainer = Explainer.for_predictor(small, background=small.contract.frame_from_matrix(X[100:110]))

    answer = explainer.explain(small.contract.frame_from_matrix(X))

    assert oracle.close(answer.base[0], pipeline.predict(X[100:110]).mean())
    assert oracle.close(answer.margin[:, 0], pipeline.predict(X))
    assert explainer.reference == "the means of the 10 background rows"


def test_several_targets_are_refused(tmp_path: Path) -> None:
    """A bundle answers one value a row; which of several weights would be explained is anybody's guess."""
    pipeline = LinearRegression().fit(X, np.column_stack([Y, Y]))
    contract = Contract(features=contracts.numbers(4), output=contracts.VALUE)
    golden = contract.frame_from_matrix(X[:20])
    content = writing.files(pipeline, {"rows": golden.to_rows(), "outputs": {"value": [0.0] * 20}})

    with pytest.raises(NotSupported, match="several targets"):
        Explainer.for_predictor(writing.open_files(tmp_path / "small", contract, content))
