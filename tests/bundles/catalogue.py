"""The catalogue of bundles for tests: one entry for each kind of model, small, and every pipeline really fitted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_breast_cancer, load_iris
from sklearn.ensemble import GradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler
from sklearn.svm import LinearSVC

from model_server.contract import Contract, Feature, Output, Tier
from model_server.manifest import Serving
from tests.bundles import writing
from tests.bundles.contracts import VALUE, classes, manifest, numbers
from tests.bundles.estimators import Echo, Held, Waiting

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from model_server.bundle import Verified
    from model_server.manifest import Manifest

Row = list[Any]

#: Rows that linear and risk take.
NUMBERS = [[0.5, 1.0, -2.0], [3.0, 0.25, 1.5]]
#: Rows of people: age, income, member, plan.
PEOPLE: list[Row] = [[30, 1200.5, True, "basic"], [61, None, False, "plus"]]

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


@dataclass(frozen=True)
class Entry:
    """One bundle of the catalogue.

    Attributes:
        manifest: What is declared: name, version, contract and how it is served.
        fit: Fits the pipeline for a contract.
        golden: Rows whose answers the bundle records.
        named: Whether the pipeline was fitted on a pandas table although all features are numbers.
    """

    manifest: Manifest
    fit: Callable[[Contract], Any]
    golden: list[Any]
    named: bool = False

    @property
    def contract(self) -> Contract:
        """What rows must be, and what is answered."""
        return self.manifest.contract

    def write(self, directory: Path, **changes: Any) -> Verified:
        """Fit the pipeline and write its bundle, with some fields of the manifest changed."""
        described = self.manifest.model_copy(update=changes)
        golden = self.contract.frame(self.golden)
        return writing.bundle(directory, self.fit(self.contract), described, golden, named=self.named)


def write(name: str, directory: Path, **changes: Any) -> Verified:
    """Write the bundle of an entry, with some fields of its manifest changed."""
    return CATALOGUE[name].write(directory, **changes)


def _normal_numbers() -> np.ndarray[Any, Any]:
    return np.random.default_rng(7).normal(size=(40, 3))


def linear(factor: float = 1.0) -> Entry:
    """Describe a regression that answers ``factor`` times the sum of three numbers."""

    def fit(_contract: Contract) -> Any:
        X = _normal_numbers()
        return LinearRegression().fit(X, factor * X.sum(axis=1))

    return Entry(manifest(Contract(features=numbers(3), output=VALUE), name="linear"), fit, NUMBERS)


def risk() -> Entry:
    """Describe a classification of three numbers into 0 and 1, with tiers."""

    def fit(_contract: Contract) -> Any:
        X = _normal_numbers()
        return make_pipeline(StandardScaler(), LogisticRegression()).fit(X, (X.sum(axis=1) > 0).astype(int))

    tiers = (Tier(name="low", at_least=0.0), Tier(name="high", at_least=0.5))
    output = classes(0, 1, positive=1).model_copy(update={"tiers": tiers})
    return Entry(manifest(Contract(features=numbers(3), output=output), name="risk"), fit, NUMBERS)


def people() -> Entry:
    """Describe a classification of mixed columns into three words."""

    def fit(contract: Contract) -> Any:
        rng = np.random.default_rng(3)
        rows: list[Row] = [
            [int(rng.integers(18, 90)), float(rng.normal(2000, 500)), bool(rng.integers(2)), ("basic", "plus")[i % 2]]
            for i in range(60)
        ]
        scaled = ColumnTransformer([("scale", StandardScaler(), ["age"]), ("code", OneHotEncoder(), ["plan"])])
        labels = np.array(["no", "yes", "maybe"])[np.arange(60) % 3]
        return make_pipeline(scaled, LogisticRegression()).fit(contract.frame(rows).as_dataframe(), labels)

    features = (
        Feature(name="age", dtype="int", minimum=18, maximum=120, unit="years"),
        Feature(name="income", dtype="float", nullable=True),
        Feature(name="member", dtype="bool"),
        Feature(name="plan", dtype="string", categories=("basic", "plus")),
    )
    contract = Contract(features=features, output=classes("maybe", "no", "yes"))
    return Entry(manifest(contract, name="people"), fit, PEOPLE, named=True)


def waiting(kind: type[Waiting] = Waiting) -> Entry:
    """Describe a regression whose second column is the seconds it takes; null in the first breaks its promise."""
    contract = Contract(features=numbers(2, nullable=True), output=VALUE)
    name = kind.__name__.lower()
    return Entry(manifest(contract, name=name), lambda _: kind().fit(np.zeros((2, 2))), [[1.0, 0.0]])


def cells() -> Entry:
    """Describe a boosting of 200 trees of depth 4 on 455 masses of thirty numbers each, asked by vectors."""

    def fit(_contract: Contract) -> Any:
        X, _, y, _ = train_test_split(data.data, data.target, test_size=0.2, stratify=data.target, random_state=42)
        boosting = GradientBoostingClassifier(
            n_estimators=200, learning_rate=0.05, max_depth=4, subsample=0.8, random_state=42
        )
        return make_pipeline(StandardScaler(), boosting).fit(X, y)

    data = load_breast_cancer()
    features = tuple(
        Feature(name=str(name), dtype="float", minimum=0, description="of a nucleus", example=value)
        for name, value in zip(data.feature_names, MASS, strict=True)
    )
    output = classes(0, 1, positive=1).model_copy(update={"class_names": ("malignant", "benign")})
    serving = Serving(facade="vector", max_batch_rows=512, title="Breast cancer classifier")
    return Entry(manifest(Contract(features=features, output=output), name="cells", serving=serving), fit, [MASS])


def churn() -> Entry:
    """Describe a boosting on customers of whom short monthly contracts leave: a risk with tiers, asked by names."""

    def fit(contract: Contract) -> Any:
        table = contract.frame(customers(300)).as_dataframe()
        words = [feature for feature in contract.features if feature.categories is not None]
        codes = OrdinalEncoder(categories=[list(feature.categories or ()) for feature in words])
        columns = ColumnTransformer([("codes", codes, [word.name for word in words])], remainder="passthrough")
        y = ((table["contract_type"] == "month-to-month") & (table["tenure"] < 70)).astype(int)
        return make_pipeline(columns, GradientBoostingClassifier(n_estimators=30, random_state=0)).fit(table, y)

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
    contract = Contract(features=_customer_features(), output=output)
    return Entry(manifest(contract, name="churn", serving=serving), fit, customers(5))


def _customer_features() -> tuple[Feature, ...]:
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
    return tuple(
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


def customers(count: int) -> list[dict[str, Any]]:
    """Draw customers, always the same ones first."""
    rng = np.random.default_rng(11)
    features = _customer_features()
    return [{feature.name: _drawn(feature, rng) for feature in features} for _ in range(count)]


def _drawn(feature: Feature, rng: np.random.Generator) -> Any:
    if feature.categories is not None:
        return str(rng.choice(feature.categories))
    if feature.dtype == "bool":
        return bool(rng.integers(2))
    high = 100.0 if feature.maximum is None else feature.maximum
    return int(rng.integers(int(high) + 1)) if feature.dtype == "int" else round(float(rng.uniform(0, high)), 2)


def flowers() -> Entry:
    """Describe a logistic regression on all irises: four numbers, three words."""

    def fit(_contract: Contract) -> Any:
        data = load_iris()
        return make_pipeline(StandardScaler(), LogisticRegression()).fit(data.data, data.target_names[data.target])

    features = tuple(Feature(name=name, dtype="float", minimum=0, unit="cm") for name in FLOWER)
    contract = Contract(features=features, output=classes("setosa", "versicolor", "virginica"))
    return Entry(manifest(contract, name="flowers"), fit, [list(FLOWER.values())])


def costs() -> Entry:
    """Describe a boosting of histograms, a regression with tiers and a value that may be missing."""

    def fit(_contract: Contract) -> Any:
        rng = np.random.default_rng(5)
        X = np.column_stack([rng.uniform(10, 90, 200), rng.integers(1, 10, 200), rng.integers(0, 2, 200)])
        return HistGradientBoostingRegressor(max_iter=20, random_state=0).fit(X, 2 * X[:, 0] + X[:, 2])

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
    golden: list[Row] = [[None, 3, True], [80.0, 2, False]]
    return Entry(manifest(Contract(features=features, output=output), name="costs"), fit, golden)


def echo(*extra: str, kind: type[Echo] = Echo) -> Entry:
    """Describe a risk whose first feature is its probability; further features may be named as options are."""
    names = ("p", *extra)
    features = tuple(Feature(name=name, dtype="float", minimum=0, maximum=1) for name in names)
    output = classes(0, 1, positive=1).model_copy(update={"tiers": TIERS, "target": "risk"})
    described = manifest(Contract(features=features, output=output), name="echo")
    return Entry(described, lambda _: kind().fit(np.zeros((2, len(names)))), [[0.5] * len(names)])


def margins() -> Entry:
    """Describe a classification of four numbers without probabilities."""
    data = load_iris()
    output = Output(target="y", task="classification", classes=(0, 1, 2), decision="predict", probabilities=False)
    described = manifest(Contract(features=numbers(4), output=output), name="margins", serving=Serving(facade="vector"))
    return Entry(described, lambda _: LinearSVC(random_state=0).fit(data.data, data.target), data.data[:2].tolist())


#: By the name under which they are served.
CATALOGUE: dict[str, Entry] = {
    entry.manifest.name: entry
    for entry in (
        linear(),
        risk(),
        people(),
        waiting(),
        waiting(Held),
        cells(),
        churn(),
        flowers(),
        costs(),
        echo(),
        margins(),
    )
}


def write_two_versions(registry: Path) -> Path:
    """Make a registry with the model ``linear`` in versions 1.0.0 (sums) and 2.0.0 (sums times ten); 1.0.0 serves."""
    linear().write(registry / "linear" / "1.0.0")
    linear(10.0).write(registry / "linear" / "2.0.0", version="2.0.0")
    promote(registry, "1.0.0")
    return registry


def promote(registry: Path, version: str) -> None:
    """Point production at a version, in one step as ``python -m training promote`` does."""
    staged = registry / "linear" / ".production"
    staged.write_text(version + "\n", encoding="utf-8")
    staged.rename(registry / "linear" / "production")
