"""Evaluation: figures come from the right rows, simple models stand beside, and unevenness is shown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from sklearn import metrics
from sklearn.linear_model import LogisticRegression

from model_server.contract import Contract
from model_server.feature import Feature
from model_server.output import Output
from training.baselines import baselines
from training.calibration import calibration
from training.evaluate import intervals, plain_params
from training.scores import Answers, score
from training.slices import slices
from training.split import Split

if TYPE_CHECKING:
    from training.evaluate import Trained
    from training.figures import Figures

BINARY = Output(target="y", task="classification", classes=(0, 1), positive=1, decision="threshold", probabilities=True)
VALUE = Output(target="y", task="regression", decision="value", probabilities=False)


def _coin(count: int, seed: int = 0) -> Answers:
    draw = np.random.default_rng(seed)
    p = draw.random(count)
    truth = (draw.random(count) < p).astype(int)
    return Answers(BINARY, truth, (p >= 0.5).astype(int), np.column_stack([1 - p, p]))


def test_test_metrics_are_those_of_the_rows_set_apart(shop_model: tuple[Trained, Figures]) -> None:
    """The figure that decides is recomputed here from the pipeline and scikit-learn alone."""
    trained, figures = shop_model
    test = trained.split.test
    p = trained.pipeline.predict_proba(trained.table.frame.as_dataframe().iloc[test])[:, 1]
    assert figures.test_metrics["roc_auc"] == round(metrics.roc_auc_score(trained.table.target[test] == "yes", p), 4)
    assert (figures.train_samples, figures.test_samples) == (len(trained.split.train), len(test))
    assert figures.train_metrics["split"] == "train"


def test_the_figures_have_the_keys_that_readers_of_metrics_know(shop_model: tuple[Trained, Figures]) -> None:
    """Old readers look for these names."""
    told = shop_model[1].model_dump(mode="json")
    keys = {"model_class", "model_config", "feature_names", "n_features", "dataset", "train_samples", "test_samples"}
    assert keys | {"cv_roc_auc_mean", "cv_roc_auc_std", "train_metrics", "test_metrics"} <= told.keys()
    common = {"split", "accuracy", "precision_macro", "recall_macro", "f1_macro", "roc_auc", "avg_precision"}
    assert common <= told["train_metrics"].keys()
    assert common <= told["test_metrics"].keys()


def test_simple_models_stand_beside_the_model(shop_model: tuple[Trained, Figures]) -> None:
    """A figure means something only next to what one gets for nothing."""
    figures = shop_model[1]
    assert figures.baselines["majority"]["roc_auc"] == 0.5
    assert figures.baselines["logistic_regression"]["roc_auc"] > 0.5


def test_regressions_have_their_own_baselines() -> None:
    """They are the mean and a ridge regression."""
    contract = Contract(features=(Feature(name="a", dtype="float"),), output=VALUE)
    assert set(baselines(contract)) == {"mean", "ridge"}


def test_intervals_hold_the_figure_and_narrow_with_more_rows() -> None:
    """Four times the rows, half the width, roughly."""
    few, many = _coin(200), _coin(3200)
    narrow, wide = intervals(many, 200, 0)["roc_auc"], intervals(few, 200, 0)["roc_auc"]
    assert wide.low < score(few)["roc_auc"] < wide.high
    assert (wide.high - wide.low) / (narrow.high - narrow.low) == pytest.approx(4, rel=0.4)
    assert intervals(few, 50, 0) == intervals(few, 50, 0)
    assert intervals(few, 0, 0) == {}


def test_intervals_leave_out_draws_without_the_metric() -> None:
    """With one row of a class, many draws have none of it."""
    answers = Answers(BINARY, np.array([1, 0, 0, 0]), np.zeros(4, int), np.tile([0.6, 0.4], (4, 1)))
    found = intervals(answers, 100, 0)
    assert found["accuracy"].resamples == 100
    assert 0 < found["roc_auc"].resamples < 100


def test_a_calibrated_model_has_a_small_error_and_a_boastful_one_a_large() -> None:
    """Probabilities that come true are told from those that do not."""
    honest = _coin(20_000)
    p = np.asarray(honest.probabilities)[:, 1]
    pushed = np.where(p > 0.5, 0.99, 0.01)
    boastful = Answers(BINARY, honest.truth, honest.answered, np.column_stack([1 - pushed, pushed]))
    good, bad = calibration(honest), calibration(boastful)
    assert good is not None
    assert bad is not None
    assert good.expected_error < 0.02
    assert bad.expected_error > 0.2
    assert good.brier == pytest.approx(metrics.brier_score_loss(honest.truth, p), abs=1e-4)
    assert sum(part.n_rows for part in good.bins) == 20_000


def test_there_is_no_calibration_without_two_classes_and_probabilities() -> None:
    """Nothing is reported rather than something meaningless."""
    assert calibration(Answers(VALUE, np.ones(3), np.ones(3))) is None
    assert calibration(Answers(BINARY, np.arange(2), np.arange(2))) is None


def test_slices_cover_the_test_set_feature_by_feature(shop_model: tuple[Trained, Figures]) -> None:
    """Every test row is in one slice of each feature, missing values in their own."""
    trained, figures = shop_model
    sizes: dict[str, int] = {}
    for part in figures.slices:
        sizes[part.feature] = sizes.get(part.feature, 0) + part.n_rows
    assert sizes == {"city": len(trained.split.test), "member": len(trained.split.test)}
    assert {part.value for part in figures.slices if part.feature == "city"} == {"(missing)", "Basel", "Bern", "Zug"}


def test_a_slice_s_figures_are_those_of_its_rows(shop_model: tuple[Trained, Figures]) -> None:
    """Recomputed from the rows of one city."""
    trained, figures = shop_model
    test = trained.split.test
    rows = test[trained.table.frame.column("city")[test] == "Zug"]
    part = next(part for part in figures.slices if part.value == "Zug")
    expected = score(trained.answers(rows))
    assert part.metrics["accuracy"] == round(expected["accuracy"], 4)


def test_numbers_are_cut_at_quartiles_of_training_and_few_integers_by_value() -> None:
    """A slice of a number is a range with a readable name."""
    contract = Contract(
        features=(Feature(name="size", dtype="float", nullable=True), Feature(name="rooms", dtype="int")), output=VALUE
    )
    sizes: list[Any] = [float(size) for size in range(1, 9)]
    frame = contract.frame([*([size, 1 + int(size) % 2] for size in sizes), [None, 1], [2.5, 2]])
    parts = Split(np.arange(8), np.array([0, 7, 8, 9]), ())
    test = Answers(VALUE, np.arange(4.0), np.arange(4.0))
    cut = {(part.feature, part.value): part.n_rows for part in slices(contract, frame, parts, test, ("size", "rooms"))}
    assert cut == {
        ("size", "up to 2"): 1,
        ("size", "above 2 up to 4"): 1,
        ("size", "above 6"): 1,
        ("size", "(missing)"): 1,
        ("rooms", "1"): 2,
        ("rooms", "2"): 2,
    }


def test_a_feature_that_is_always_missing_is_one_slice() -> None:
    """An empty column is no reason to fail."""
    contract = Contract(features=(Feature(name="size", dtype="float", nullable=True),), output=VALUE)
    frame = contract.frame([[None], [None]])
    found = slices(
        contract, frame, Split(np.array([0]), np.array([1]), ()), Answers(VALUE, np.ones(1), np.ones(1)), ("size",)
    )
    assert [(part.value, part.n_rows) for part in found] == [("(missing)", 1)]


def test_parameters_are_told_as_json_values() -> None:
    """A manifest holds no Python objects."""
    model = LogisticRegression(C=np.float64(0.5), max_iter=7)
    assert plain_params(model)["C"] == 0.5
    assert plain_params(object()) == {}

    class Odd(LogisticRegression):  # type: ignore[misc]
        def get_params(self, deep: bool = True) -> dict[str, Any]:  # noqa: ARG002, FBT001, FBT002
            return {"limit": float("inf"), "sizes": (1, 2), "inner": LogisticRegression()}

    assert plain_params(Odd()) == {"inner": "LogisticRegression", "limit": "inf", "sizes": [1, 2]}
