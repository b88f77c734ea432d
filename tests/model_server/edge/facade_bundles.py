"""Bundles for the facade's tests: one of each form of answer, small, and every pipeline really fitted."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_breast_cancer, load_iris
from sklearn.ensemble import GradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OrdinalEncoder, StandardScaler
from sklearn.svm import LinearSVC

from model_server.bundle import write
from model_server.contract import Contract, Feature, Output, Tier
from model_server.manifest import Serving
from tests.model_server import making

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from model_server.frame import Frame
    from model_server.manifest import Manifest

Row = list[Any]

TIERS = (Tier(name="low", at_least=0.0), Tier(name="medium", at_least=0.3), Tier(name="high", at_least=0.6))

#: The first mass of the data set: malignant.
MASS: Row = load_breast_cancer().data[0].tolist()

CUSTOMER: dict[str, Any] = {
    "tenure": 14,
    "monthly_charges": 79.85,
    "total_charges": 1117.9,
    "contract_type": "month-to-month",
    "payment_method": "electronic_check",
    "num_support_tickets": 3,
    "internet_service": "fiber_optic",
    "streaming_services": 2,
    "paperless_billing": True,
    "senior_citizen": False,
}
FLOWER = {"sepal length (cm)": 5.1, "sepal width (cm)": 3.5, "petal length (cm)": 1.4, "petal width (cm)": 0.2}

#: Set to let a ``Held`` estimator be unpickled.
RELEASED = threading.Event()


class Echo(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Answers its first feature as the probability of class 1; nothing can explain it."""

    def fit(self, X: Any, y: Any = None) -> Self:
        """Learn the number of columns."""
        del y
        self.n_features_in_ = X.shape[1]
        self.classes_ = np.array([0, 1])
        return self

    def predict_proba(self, X: Any) -> Any:
        """Give both probabilities."""
        return np.column_stack([1 - X[:, 0], X[:, 0]])


class Noted(Echo):
    """Notes how many rows each call has."""

    calls: ClassVar[list[int]] = []

    def predict_proba(self, X: Any) -> Any:
        """Note, then answer."""
        self.calls.append(len(X))
        return super().predict_proba(X)


class Held(Echo):
    """Cannot be unpickled before ``RELEASED`` is set."""

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Wait, then take the state."""
        assert RELEASED.wait(30.0), "the test never released the model"
        super().__setstate__(state)


def _publish(directory: Path, pipeline: Any, manifest: Manifest, golden: Frame) -> None:
    answers = making.outputs(pipeline, manifest.contract, making.fitting_input(golden))
    content = making.files(pipeline, {"rows": golden.to_rows(), "outputs": answers})
    write(directory, manifest, content, {})


def cells_manifest() -> Manifest:
    """Describe thirty numbers, two classes, vectors."""
    data = load_breast_cancer()
    features = tuple(
        Feature(name=str(name), dtype="float", minimum=0, description="of a nucleus", example=value)
        for name, value in zip(data.feature_names, MASS, strict=True)
    )
    output = making.classes(0, 1, positive=1).model_copy(update={"class_names": ("malignant", "benign")})
    serving = Serving(facade="vector", max_batch_rows=512, title="Breast cancer classifier")
    return making.manifest(Contract(features=features, output=output), name="cells", serving=serving)


def write_cells(directory: Path) -> None:
    """Train a boosting of 200 trees of depth 4 on 455 masses."""
    data = load_breast_cancer()
    X, _, y, _ = train_test_split(data.data, data.target, test_size=0.2, stratify=data.target, random_state=42)
    boosting = GradientBoostingClassifier(
        n_estimators=200, learning_rate=0.05, max_depth=4, subsample=0.8, random_state=42
    )
    manifest = cells_manifest()
    _publish(directory, make_pipeline(StandardScaler(), boosting).fit(X, y), manifest, manifest.contract.frame([MASS]))


def customers_manifest() -> Manifest:
    """Describe ten mixed features, a risk with tiers, named values."""
    words = {
        "contract_type": ("month-to-month", "one-year", "two-year"),
        "payment_method": ("electronic_check", "mailed_check", "bank_transfer", "credit_card"),
        "internet_service": ("none", "dsl", "fiber_optic"),
    }
    limits: dict[str, Any] = {
        "tenure": {"minimum": 0, "maximum": 120, "unit": "months"},
        "monthly_charges": {"minimum": 0, "unit": "dollars"},
        "total_charges": {"minimum": 0, "unit": "dollars"},
        "num_support_tickets": {"minimum": 0},
        "streaming_services": {"minimum": 0, "maximum": 4},
    }
    dtypes: dict[type, Any] = {int: "int", float: "float", str: "string", bool: "bool"}
    features = tuple(
        Feature(
            name=name,
            dtype=dtypes[type(value)],
            categories=words.get(name),
            description=f"The customer's {name}",
            example=value,
            **limits.get(name, {}),
        )
        for name, value in CUSTOMER.items()
    )
    output = Output(
        target="churn",
        task="classification",
        classes=(0, 1),
        class_names=("stays", "leaves"),
        positive=1,
        decision="threshold",
        probabilities=True,
        tiers=TIERS,
    )
    serving = Serving(facade="record", max_batch_rows=1000, health_status="healthy", title="StreamFlow Churn Predictor")
    return making.manifest(Contract(features=features, output=output), name="churn", serving=serving)


def customers(count: int) -> list[dict[str, Any]]:
    """Draw customers."""
    rng = np.random.default_rng(11)
    features = customers_manifest().contract.features
    return [{feature.name: _drawn(feature, rng) for feature in features} for _ in range(count)]


def _drawn(feature: Feature, rng: np.random.Generator) -> Any:
    if feature.categories is not None:
        return str(rng.choice(feature.categories))
    if feature.dtype == "bool":
        return bool(rng.integers(2))
    high = 100.0 if feature.maximum is None else feature.maximum
    return int(rng.integers(int(high) + 1)) if feature.dtype == "int" else round(float(rng.uniform(0, high)), 2)


def write_customers(directory: Path) -> None:
    """Train a boosting on customers of whom short monthly contracts leave."""
    manifest = customers_manifest()
    frame = manifest.contract.frame(customers(300))
    table = frame.as_dataframe()
    words = [feature for feature in manifest.contract.features if feature.categories is not None]
    names = [feature.name for feature in words]
    codes = OrdinalEncoder(categories=[list(feature.categories or ()) for feature in words])
    columns = ColumnTransformer([("codes", codes, names)], remainder="passthrough")
    y = ((table["contract_type"] == "month-to-month") & (table["tenure"] < 70)).astype(int)
    pipeline = make_pipeline(columns, GradientBoostingClassifier(n_estimators=30, random_state=0)).fit(table, y)
    _publish(directory, pipeline, manifest, frame.take(slice(5)))


def flowers_manifest() -> Manifest:
    """Describe four numbers, three words, named values."""
    features = tuple(Feature(name=name, dtype="float", minimum=0, unit="cm") for name in FLOWER)
    output = making.classes("setosa", "versicolor", "virginica")
    return making.manifest(Contract(features=features, output=output), name="flowers")


def write_flowers(directory: Path) -> None:
    """Train a logistic regression on all irises."""
    data, manifest = load_iris(), flowers_manifest()
    pipeline = make_pipeline(StandardScaler(), LogisticRegression()).fit(data.data, data.target_names[data.target])
    _publish(directory, pipeline, manifest, manifest.contract.frame([list(FLOWER.values())]))


def costs_manifest() -> Manifest:
    """Describe a regression with tiers and a value that may be missing."""
    features = (
        Feature(name="size", dtype="float", nullable=True),
        Feature(name="rooms", dtype="int", minimum=1, maximum=9, out_of_bounds="warn"),
        Feature(name="new", dtype="bool"),
    )
    output = Output(
        target="cost",
        task="regression",
        decision="value",
        probabilities=False,
        unit="euro",
        tiers=(Tier(name="cheap", at_least=0), Tier(name="dear", at_least=100)),
    )
    return making.manifest(Contract(features=features, output=output), name="costs")


def write_costs(directory: Path) -> None:
    """Train a boosting of histograms, which takes missing values."""
    rng, manifest = np.random.default_rng(5), costs_manifest()
    X = np.column_stack([rng.uniform(10, 90, 200), rng.integers(1, 10, 200), rng.integers(0, 2, 200)])
    pipeline = HistGradientBoostingRegressor(max_iter=20, random_state=0).fit(X, 2 * X[:, 0] + X[:, 2])
    _publish(directory, pipeline, manifest, manifest.contract.frame([[None, 3, True], [80.0, 2, False]]))


def echoed_manifest(*extra: str) -> Manifest:
    """Describe a risk whose first feature is its probability; further features may be named as options are."""
    names = ("p", *extra)
    features = tuple(Feature(name=name, dtype="float", minimum=0, maximum=1) for name in names)
    output = making.classes(0, 1, positive=1).model_copy(update={"tiers": TIERS, "target": "risk"})
    return making.manifest(Contract(features=features, output=output), name="echo")


def write_echoed(
    directory: Path,
    *extra: str,
    kind: type[Echo] = Echo,
    serving: Serving = Serving(),  # noqa: B008 - frozen
) -> None:
    """Publish an ``Echo``."""
    manifest = echoed_manifest(*extra).model_copy(update={"serving": serving})
    width = 1 + len(extra)
    _publish(directory, kind().fit(np.zeros((2, width))), manifest, manifest.contract.frame([[0.5] * width]))


def write_margins(directory: Path, serving: Serving = Serving(facade="vector")) -> None:  # noqa: B008 - frozen
    """Publish a classification without probabilities."""
    data = load_iris()
    output = Output(target="y", task="classification", classes=(0, 1, 2), decision="predict", probabilities=False)
    manifest = making.manifest(Contract(features=making.numbers(4), output=output), name="margins", serving=serving)
    pipeline = LinearSVC(random_state=0).fit(data.data, data.target)
    _publish(directory, pipeline, manifest, manifest.contract.frame(data.data[:2].tolist()))


WRITERS: dict[str, Callable[[Path], None]] = {
    "cells": write_cells,
    "churn": write_customers,
    "flowers": write_flowers,
    "costs": write_costs,
    "margins": write_margins,
}
