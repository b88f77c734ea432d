"""Fitting: what is learned is learned inside the Pipeline and each fold; the decision rule is the model's own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from model_server.contract import Contract
from tests.bundles.visits import changed, write_config
from training import data, fit
from training.config import TrainConfig, load
from training.errors import BadConfig
from training.evaluate import cross_validate
from training.sections import Step, Target
from training.split import split

if TYPE_CHECKING:
    from pathlib import Path

    from model_server.frame import Frame
    from training.evaluate import Trained
    from training.figures import Figures


#: Codes by the contract, for features that have no categories.
ENCODER = {"use": "sklearn.preprocessing.OrdinalEncoder", "params": {"categories": "contract"}}


class Witness(StandardScaler):  # type: ignore[misc] # scikit-learn ships no types
    """A scaler that remembers the means of every fit, of itself and of its copies."""

    seen: list[list[float]] = []  # noqa: RUF012 - shared by copies on purpose

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Any:
        """Fit and remember."""
        fitted = super().fit(X, y, sample_weight)
        self.seen.append(self.mean_.tolist())
        return fitted


def _config(**changes: Any) -> TrainConfig:
    return TrainConfig.model_validate(changed(changes))


def test_preprocessing_is_fitted_on_each_fold_s_rows_alone(tmp_path: Path) -> None:
    """A scaler that saw the rows it is scored on leaks them; each fold's means are of its own rows, not of all."""
    rows = {"use": "sklearn.linear_model.LogisticRegression"}
    path = write_config(
        tmp_path,
        {"features": [{"name": "age", "dtype": "float", "nullable": False}], "preprocessing": [], "estimator": rows},
    )
    lines = (path.parent / "visits.csv").read_text(encoding="utf-8").splitlines()
    kept = [line for line in lines if line.split(",")[3]]
    (path.parent / "visits.csv").write_text("\n".join(kept) + "\n", encoding="utf-8")
    config = load(path)
    table = data.load(config, path.parent)
    parts = split(table, config)
    train = table.frame.as_matrix()[parts.train]
    pipeline = Pipeline([("scale", Witness()), ("model", LogisticRegression())])
    fitted = fit.fit(clone(pipeline), table.frame.take(parts.train.tolist()), table.target[parts.train])
    Witness.seen.clear()
    output = fit.output(config.target, fitted, table.frame.take(parts.train.tolist()))
    trained = _trained(config, table, parts, fitted, Contract(features=config.features, output=output))
    cross_validate(trained, pipeline)
    expected = [train[fitted_on].mean(axis=0).tolist() for fitted_on, _ in parts.folds]
    assert Witness.seen == [pytest.approx(means) for means in expected]
    assert all(means != pytest.approx(train.mean(axis=0).tolist()) for means in Witness.seen)


def _trained(*parts: Any) -> Trained:
    from training.evaluate import Trained

    return Trained(*parts)


def test_a_mixed_table_is_fitted_by_name_and_learns_only_from_training_rows(
    shop_model: tuple[Trained, Figures],
) -> None:
    """The imputed and scaled numbers are those of the training part."""
    trained = shop_model[0]
    assert trained.pipeline.feature_names_in_.tolist() == list(trained.contract.names)
    scaler = trained.pipeline.named_steps["columns"].named_transformers_["numbers"][-1]
    age = trained.table.frame.column("age")[trained.split.train]
    filled = np.where(np.isnan(age), np.nanmedian(age), age)
    assert scaler.mean_[0] == pytest.approx(filled.mean())


def test_a_numeric_table_is_fitted_as_one_matrix_with_groups_by_position() -> None:
    """Serving sends a matrix without names; a pipeline with names would refuse or warn on each request."""
    config = _config(
        features=[{"name": name, "dtype": "float"} for name in ("a", "b", "c")],
        preprocessing=[
            {"name": "scaled", "columns": ["c"], "steps": [{"use": "sklearn.preprocessing.StandardScaler"}]},
            {"name": "plain", "columns": ["a", "b"]},
        ],
    )
    pipeline = fit.build(config)
    frame = data.features_only(config).frame([[1.0, 2.0, 3.0], [2.0, 0.0, 5.0], [0.0, 1.0, 1.0]])
    fitted = fit.fit(pipeline, frame, np.array([0, 1, 0]))
    assert getattr(fitted, "feature_names_in_", None) is None
    assert isinstance(pipeline[0], ColumnTransformer)
    assert pipeline[0].transform(frame.as_matrix())[:, 0].tolist() == pytest.approx([0.0, 1.2247449, -1.2247449])


def test_one_group_of_all_features_is_a_plain_pipeline_and_none_is_the_model_alone() -> None:
    """A simple model stays simple to read, to explain and to export."""
    numbers = [{"name": "a", "dtype": "float"}]
    twice = [{"use": "sklearn.preprocessing.StandardScaler"}, {"use": "sklearn.preprocessing.StandardScaler"}]
    plain = fit.build(_config(features=numbers, preprocessing=[{"name": "all", "steps": twice}]))
    assert list(plain.named_steps) == ["standardscaler1", "standardscaler2", "model"]
    assert list(fit.build(_config(features=numbers, preprocessing=[])).named_steps) == ["model"]


def test_objects_are_built_inside_parameters() -> None:
    """A meta-estimator takes its estimator from the YAML as well."""
    inner = {"use": "sklearn.tree.DecisionTreeClassifier", "params": {"max_depth": 2}}
    made = fit.make(Step(use="sklearn.ensemble.BaggingClassifier", params={"estimator": inner}), "estimator")
    assert made.estimator.max_depth == 2
    named = [["tree", inner], ["dummy", {"use": "sklearn.dummy.DummyClassifier"}]]
    voting = fit.make(Step(use="sklearn.ensemble.VotingClassifier", params={"estimators": named}), "estimator")
    assert [type(part).__name__ for _, part in voting.estimators] == ["DecisionTreeClassifier", "DummyClassifier"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        pytest.param({"estimator.use": "sklearn.linear_model.Nothing"}, ["estimator.use", "Nothing"], id="no class"),
        pytest.param({"estimator.use": "no_such_package.Model"}, ["estimator.use", "installed"], id="no package"),
        pytest.param({"estimator.params": {"speed": 1}}, ["estimator.params", "speed"], id="unknown parameter"),
        pytest.param(
            {"preprocessing.0.steps.0.params": {"speed": 1}}, ["preprocessing.numbers.params", "speed"], id="step's"
        ),
        pytest.param({"preprocessing.0.columns": ["age"]}, ["'basket'", "no group"], id="forgotten feature"),
        pytest.param({"preprocessing.0.columns": [], "preprocessing.0.dtypes": ["int"], "features.0.dtype": "float"},
                     ["preprocessing.numbers", "no feature has dtype int"], id="empty group"),
        pytest.param(
            {"preprocessing.1.steps": [ENCODER]},
            ["preprocessing.flags.params.categories", "member"],
            id="categories without any",
        ),
    ],
)  # fmt: skip
def test_a_pipeline_that_cannot_be_built_names_the_key(changes: dict[str, Any], words: list[str]) -> None:
    """Import paths and parameters are checked when they are used, and told like any other mistake."""
    with pytest.raises(BadConfig) as caught:
        fit.build(_config(**changes))
    assert all(word in str(caught.value) for word in words), str(caught.value)


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"estimator.params": {"C": -1.0}}, id="a value the estimator refuses"),
        pytest.param({"preprocessing": []}, id="texts for a model of numbers"),
    ],
)
def test_an_estimator_that_refuses_the_data_is_a_mistake_in_the_configuration(
    tmp_path: Path, changes: dict[str, Any]
) -> None:
    """scikit-learn's own words reach the person, without its traceback."""
    path = write_config(tmp_path, changes)
    config = load(path)
    table = data.load(config, path.parent)
    with pytest.raises(BadConfig, match="cannot be fitted"):
        fit.fit(fit.build(config), table.frame, table.target)


def _numbers(count: int = 40) -> tuple[Frame, Any]:
    draw = np.random.default_rng(0)
    config = _config(features=[{"name": name, "dtype": "float"} for name in ("a", "b")], preprocessing=[])
    X = draw.normal(size=(count, 2))
    return data.features_only(config).frame_from_matrix(X), (X[:, 0] > 0).astype(int)


def _target(**more: Any) -> Target:
    return Target.model_validate({"column": "y", "task": "classification", "label_definition": "one half"} | more)


def test_labels_come_from_probabilities_where_that_is_the_model_s_own_rule() -> None:
    """One pass gives both, and they never contradict each other."""
    frame, y = _numbers()
    pipeline = fit.fit(Pipeline([("model", LogisticRegression())]), frame, y)
    output = fit.output(_target(), pipeline, frame)
    assert (output.decision, output.classes, output.positive, output.threshold) == ("threshold", (0, 1), 1, 0.5)
    assert fit.answer(pipeline, output, frame).labels.tolist() == pipeline.predict(frame.as_matrix()).tolist()  # type: ignore[union-attr]


def test_a_model_without_probabilities_is_asked_for_labels() -> None:
    """Not every classifier has probabilities."""
    frame, y = _numbers()
    pipeline = fit.fit(Pipeline([("model", LinearSVC())]), frame, y)
    output = fit.output(_target(), pipeline, frame)
    assert (output.decision, output.probabilities) == ("predict", False)


def test_many_classes_are_decided_by_the_largest_probability() -> None:
    """There is no threshold between three."""
    frame, _ = _numbers()
    y = np.digitize(frame.as_matrix()[:, 0], [-0.5, 0.5])
    pipeline = fit.fit(Pipeline([("model", LogisticRegression())]), frame, y)
    output = fit.output(_target(), pipeline, frame)
    assert (output.decision, output.classes) == ("argmax", (0, 1, 2))
    assert (
        np.asarray(fit.answer(pipeline, output, frame).labels).tolist() == pipeline.predict(frame.as_matrix()).tolist()
    )


def test_a_model_whose_labels_disagree_with_its_probabilities_is_asked_for_labels() -> None:
    """A support vector machine's calibrated probabilities may say otherwise than its margin."""

    class Contrary(LogisticRegression):  # type: ignore[misc]
        def predict(self, X: Any) -> Any:
            return 1 - super().predict(X)

    frame, y = _numbers()
    pipeline = fit.fit(Pipeline([("model", Contrary())]), frame, y)
    assert fit.output(_target(), pipeline, frame).decision == "predict"


def test_a_threshold_that_was_chosen_decides_even_against_the_model_s_own_rule() -> None:
    """Costs may ask for another threshold than one half; that is written down and kept."""
    frame, y = _numbers()
    pipeline = fit.fit(Pipeline([("model", LogisticRegression())]), frame, y)
    output = fit.output(_target(threshold=0.9, positive=0), pipeline, frame)
    answer = fit.answer(pipeline, output, frame)
    reached = np.asarray(answer.probabilities)[:, 0] >= 0.9
    assert np.asarray(answer.labels).tolist() == [0 if yes else 1 for yes in reached]
    assert 0 < reached.sum() < (y == 0).sum()


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        pytest.param({"threshold": 0.5}, "needs probabilities", id="threshold"),
        pytest.param({"tiers": [{"name": "low", "at_least": 0}]}, "decision 'threshold'", id="tiers"),
    ],
)
def test_what_needs_probabilities_is_refused_without_them(changes: dict[str, Any], rule: str) -> None:
    """A tier of a model that has no probabilities would mean nothing."""
    frame, y = _numbers()
    pipeline = fit.fit(Pipeline([("model", LinearSVC())]), frame, y)
    with pytest.raises(BadConfig, match=rule):
        fit.output(_target(**changes), pipeline, frame)
