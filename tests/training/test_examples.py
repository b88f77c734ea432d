"""The four examples: each reproduces the figures that are told of it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import yaml
from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold, cross_val_score, train_test_split
from sklearn.preprocessing import StandardScaler

from model_server.bundle import open_bundle, verify
from model_server.checks import Status, worst
from model_server.predictor import Predictor
from model_server.sources.uri import from_uri
from training.__main__ import main
from training.figures import Figures

if TYPE_CHECKING:
    from model_server.bundle import Bundle

ROOT = Path(__file__).resolve().parents[2]
ACCEPTANCE: dict[str, dict[str, Any]] = yaml.safe_load((ROOT / "docs/acceptance.yaml").read_text(encoding="utf-8"))
RECIPE = {"n_estimators": 200, "learning_rate": 0.05, "max_depth": 4, "subsample": 0.8, "random_state": 42}
EXAMPLES = ("breast-cancer", "churn", "iris", "diabetes")


@pytest.fixture(scope="session")
def bundles(registry: Path) -> dict[str, Bundle]:
    """The examples, opened."""
    return {name: open_bundle(verify(from_uri(str(registry), name))) for name in EXAMPLES}


@pytest.fixture(scope="session")
def figures(bundles: dict[str, Bundle]) -> dict[str, Figures]:
    """Their figures."""
    return {name: Figures.from_bytes(bundle.verified.read("metrics.json")) for name, bundle in bundles.items()}


def test_breast_cancer_is_the_published_recipe(bundles: dict[str, Bundle], figures: dict[str, Figures]) -> None:
    """Data, split, scaler and parameters, one by one."""
    pipeline, told = bundles["breast-cancer"].pipeline, figures["breast-cancer"]
    assert (told.train_samples, told.test_samples, told.n_features) == (455, 114, 30)
    assert [type(step) for _, step in pipeline.steps] == [StandardScaler, GradientBoostingClassifier]
    assert {name: told.model_config_[name] for name in RECIPE} == RECIPE


def test_breast_cancer_reproduces_the_published_figures(figures: dict[str, Figures]) -> None:
    """Test accuracy, areas, and precision and recall by class, as measured with this scikit-learn."""
    told = figures["breast-cancer"]
    assert told.test_metrics["accuracy"] == pytest.approx(0.9561, abs=5e-4)
    assert told.test_metrics["roc_auc"] == pytest.approx(0.9921, abs=5e-4)
    assert told.train_metrics["roc_auc"] == pytest.approx(1.0, abs=5e-4)
    rows = {name: (p.precision, p.recall, p.f1, p.support) for name, p in told.per_class.items()}
    assert rows["malignant"] == pytest.approx((0.97, 0.90, 0.94, 42), abs=0.006)
    assert rows["benign"] == pytest.approx((0.95, 0.99, 0.97, 72), abs=0.006)


def test_breast_cancer_is_the_recipe_written_out_in_scikit_learn(bundles: dict[str, Bundle]) -> None:
    """Thirteen lines without any of our code give the very same probabilities."""
    X, y = load_breast_cancer(return_X_y=True)
    train, test, y_train, y_test = train_test_split(X, y, test_size=0.2, stratify=y, random_state=42)
    scaler = StandardScaler().fit(train)
    model = GradientBoostingClassifier(
        n_estimators=200, learning_rate=0.05, max_depth=4, subsample=0.8, random_state=42
    )
    model.fit(scaler.transform(train), y_train)
    expected = model.predict_proba(scaler.transform(test))
    predictor = Predictor(bundles["breast-cancer"])
    answered = predictor.predict(predictor.contract.frame(test.tolist())).probabilities
    assert np.array_equal(np.asarray(answered), expected)
    assert roc_auc_score(y_test, expected[:, 1]) == pytest.approx(0.9921, abs=5e-4)


def test_the_recipe_with_a_single_tree_fails_its_gates(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A degraded model stops the build, and the log names metric, value and limit; the registry stays empty."""
    config = yaml.safe_load((ROOT / "training" / "configs" / "breast_cancer.yaml").read_text(encoding="utf-8"))
    config["estimator"]["params"]["n_estimators"] = 1
    config["cross_validation"] = {"folds": 2}
    config["report"]["bootstrap_resamples"] = 0
    path = tmp_path / "degraded.yaml"
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    assert main(["run", str(path), "--registry", str(tmp_path / "registry"), "--promote"]) == 1
    told = capsys.readouterr().err
    observed = re.search(r"test_metrics\.roc_auc floor: observed (0\.\d+); limit 0\.98", told)
    assert observed is not None, told
    assert float(observed[1]) < 0.98
    assert "improve the data or the model" in told
    assert not (tmp_path / "registry").exists()


def test_both_ways_to_cross_validate_are_reported(figures: dict[str, Figures]) -> None:
    """The honest one decides; the published one, scaled before the folds, has its own key and its own value."""
    told = figures["breast-cancer"]
    first, honest = told.cross_validation_preprocessed_first, told.cross_validation
    assert first is not None
    assert honest is not None
    assert (first.mean, first.std) == pytest.approx((0.9922, 0.0053), abs=5e-4)
    assert (honest.mean, honest.std) == pytest.approx((0.9924, 0.0054), abs=5e-4)
    assert (told.cv_roc_auc_mean, told.cv_roc_auc_std) == (honest.mean, honest.std)


def test_the_folds_are_the_recipe_s(figures: dict[str, Figures]) -> None:
    """Stratified, shuffled, seed 42: a small model on the same folds scores the same with scikit-learn's own loop."""
    X, y = load_breast_cancer(return_X_y=True)
    train, _, y_train, _ = train_test_split(X, y, test_size=0.2, stratify=y, random_state=42)
    folds = StratifiedKFold(5, shuffle=True, random_state=42)
    model = GradientBoostingClassifier(
        n_estimators=200, learning_rate=0.05, max_depth=4, subsample=0.8, random_state=42
    )
    fitted_on, scored_on = next(folds.split(train, y_train))
    (score,) = cross_val_score(
        model, StandardScaler().fit_transform(train), y_train, cv=[(fitted_on, scored_on)], scoring="roc_auc"
    )
    told = figures["breast-cancer"].cross_validation_preprocessed_first
    assert told is not None
    assert told.scores[0] == pytest.approx(score, abs=1e-4)


def test_the_sample_of_the_article_is_malignant(bundles: dict[str, Bundle]) -> None:
    """Row 0 of the data set, which is also the example of the contract."""
    predictor = Predictor(bundles["breast-cancer"])
    row = load_breast_cancer().data[0].tolist()
    assert [feature.example for feature in predictor.contract.features] == row
    prediction = predictor.predict(predictor.contract.frame([row]))
    assert np.asarray(prediction.labels).tolist() == [0]
    assert np.asarray(prediction.probabilities)[0, 0] > 0.95


def test_churn_is_learnable_but_not_trivial(figures: dict[str, Figures]) -> None:
    """The drawn customers are about as predictable as real ones, and trees find what a straight line misses."""
    told = figures["churn"]
    assert told.test_metrics["roc_auc"] == pytest.approx(0.88, abs=0.03)
    assert told.cv_roc_auc_mean == pytest.approx(0.88, abs=0.03)
    assert told.baselines["logistic_regression"]["roc_auc"] < float(told.test_metrics["roc_auc"]) - 0.01


def test_churn_has_codes_in_the_artifact_and_tiers_in_the_contract(bundles: dict[str, Bundle]) -> None:
    """Serving code knows neither: another model brings its own."""
    churn = bundles["churn"]
    columns = churn.pipeline.named_steps["columns"]
    encoder = columns.named_transformers_["codes"]
    assert [list(part) for part in encoder.categories_] == [
        ["month-to-month", "one-year", "two-year"],
        ["electronic_check", "mailed_check", "bank_transfer", "credit_card"],
        ["none", "dsl", "fiber_optic"],
    ]
    output = churn.manifest.contract.output
    tiers = [output.tier(p) for p in (0.29999, 0.3, 0.59999, 0.6)]
    assert tiers == ["low", "medium", "medium", "high"]
    serving = churn.manifest.serving
    assert (serving.facade, serving.max_batch_rows, serving.health_status) == ("record", 1000, "healthy")
    assert serving.title == "StreamFlow Churn Predictor"


def test_iris_answers_texts_and_diabetes_numbers(bundles: dict[str, Bundle]) -> None:
    """Three classes with words for labels, and a regression."""
    iris, diabetes = bundles["iris"].manifest.contract.output, bundles["diabetes"].manifest.contract.output
    assert (iris.classes, iris.decision) == (("setosa", "versicolor", "virginica"), "argmax")
    assert (diabetes.task, diabetes.decision, diabetes.probabilities) == ("regression", "value", False)


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_server_s_predictor_answers_the_golden_rows(name: str, bundles: dict[str, Bundle]) -> None:
    """What training wrote down is what the server says, for every class and over the whole range."""
    bundle = bundles[name]
    assert worst(Predictor(bundle).check_golden()) is Status.PASS
    assert len(bundle.golden.rows) == 16
    if bundle.manifest.contract.output.classes:
        assert set(bundle.golden.outputs["label"]) == set(bundle.manifest.contract.output.classes)


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_examples_of_the_contract_are_valid_requests(name: str, bundles: dict[str, Bundle]) -> None:
    """Whoever tries the documentation's example gets an answer."""
    predictor = Predictor(bundles[name])
    example = {feature.name: feature.example for feature in predictor.contract.features}
    assert len(predictor.predict(predictor.contract.frame([example]))) == 1


@pytest.mark.parametrize(("name", "limits"), ACCEPTANCE.items())
def test_the_acceptance_criteria_hold(name: str, limits: dict[str, Any], figures: dict[str, Figures]) -> None:
    """The numbers we promised ourselves, measured on the rows set apart."""
    for path, floor in limits.get("at_least", {}).items():
        assert (figures[name].at(path) or 0.0) >= floor, path
    for path, ceiling in limits.get("at_most", {}).items():
        assert (figures[name].at(path) or 0.0) <= ceiling, path


@pytest.mark.parametrize("name", EXAMPLES)
def test_no_checkout_path_is_in_a_bundle(name: str, registry: Path) -> None:
    """A bundle moves to other machines and other users; a path of this one would say nothing there."""
    folder = registry / name / "1.0.0"
    for path in folder.rglob("*"):
        if path.is_file() and path.name != "run.json":
            assert str(ROOT).encode() not in path.read_bytes(), path.name
