"""Figures: what ``metrics.json`` holds, as a schema; knows names of figures, not how they are found."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from model_server.checks import Check, Status
from model_server.errors import BundleTampered, describe

_FROZEN = ConfigDict(frozen=True, extra="forbid")


class CrossValidated(BaseModel):
    """A metric over the folds of the training part; ``std`` is the population's."""

    model_config = _FROZEN

    metric: str
    folds: int
    scores: tuple[float, ...]
    mean: float
    std: float


class Interval(BaseModel):
    """A bootstrap interval of a test metric."""

    model_config = _FROZEN

    low: float
    high: float
    level: float
    resamples: int


class ReliabilityBin(BaseModel):
    """Rows whose answered probability lies in one tenth: what was answered and what happened, on average."""

    model_config = _FROZEN

    low: float
    high: float
    n_rows: int
    mean_probability: float
    observed_share: float


class Calibration(BaseModel):
    """How far answered probabilities are from what happened; ``brier`` is the mean squared difference."""

    model_config = _FROZEN

    brier: float
    expected_error: float
    bins: tuple[ReliabilityBin, ...]


class ClassFigures(BaseModel):
    """Precision, recall and F1 of one class on the test set, and how many of its rows there were."""

    model_config = _FROZEN

    precision: float
    recall: float
    f1: float
    support: int


class Confusion(BaseModel):
    """Test rows by class: true classes down, answered classes across."""

    model_config = _FROZEN

    labels: tuple[int | str, ...]
    matrix: tuple[tuple[int, ...], ...]


class Slice(BaseModel):
    """Test metrics of the rows that share a value; ``metrics`` lacks what is not defined for them."""

    model_config = _FROZEN

    feature: str
    value: str
    n_rows: int
    metrics: dict[str, float]


class GateCheck(BaseModel):
    """A verdict of a gate, as it is written down."""

    model_config = _FROZEN

    name: str
    status: Literal["PASS", "INCONCLUSIVE", "ERROR", "FAIL"]
    observed: float | str | None = None
    limit: float | str | None = None
    text: str = ""

    @classmethod
    def of(cls, check: Check) -> GateCheck:
        """Write a check down."""
        status: Any = check.status.name
        return cls(name=check.name, status=status, observed=check.observed, limit=check.limit, text=check.text)

    def as_check(self) -> Check:
        """Read a check back."""
        return Check(self.name, Status[self.status], self.observed, self.limit, self.text)


class GateRecord(BaseModel):
    """The gates that need nothing but this bundle, and what is held against the production bundle at promotion."""

    model_config = _FROZEN

    primary: str
    max_drop: float | None = None
    checks: tuple[GateCheck, ...] = ()


class Figures(BaseModel):
    """All figures of one training; the content of ``metrics.json``.

    Attributes:
        format: Of this document.
        task: What is predicted.
        model_class: Name of the estimator's class.
        model_config_: Its parameters; written as ``model_config``.
        feature_names: In contract order.
        n_features: How many.
        dataset: Name of the table.
        train_samples: Rows trained on.
        test_samples: Rows set apart.
        cv_roc_auc_mean: Mean ROC-AUC over the folds, for classifications that report it.
        cv_roc_auc_std: Its standard deviation.
        cross_validation: The primary metric over the folds; everything is fitted inside each fold.
        cross_validation_preprocessed_first: The same with preprocessing fitted once on all folds, which leaks.
        train_metrics: Metrics on the rows trained on; informational.
        test_metrics: Metrics on the rows set apart.
        baselines: Test metrics of simple models, by name.
        intervals: Bootstrap intervals of test metrics, by metric.
        calibration: Of the positive class, for two classes.
        confusion_matrix: On the test set, for classifications.
        per_class: On the test set, by class name.
        slices: Of the test set.
        reported: Figures that came with an adopted model, not measured here.
        gates: The verdicts.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True, serialize_by_alias=True)

    format: Literal[1] = 1
    task: Literal["classification", "regression"]
    model_class: str
    model_config_: dict[str, JsonValue] = Field(default_factory=dict, alias="model_config")
    feature_names: tuple[str, ...]
    n_features: int
    dataset: str
    train_samples: int | None = None
    test_samples: int
    cv_roc_auc_mean: float | None = None
    cv_roc_auc_std: float | None = None
    cross_validation: CrossValidated | None = None
    cross_validation_preprocessed_first: CrossValidated | None = None
    train_metrics: dict[str, float | str] = Field(default_factory=dict)
    test_metrics: dict[str, float | str]
    baselines: dict[str, dict[str, float]] = Field(default_factory=dict)
    intervals: dict[str, Interval] = Field(default_factory=dict)
    calibration: Calibration | None = None
    confusion_matrix: Confusion | None = None
    per_class: dict[str, ClassFigures] = Field(default_factory=dict)
    slices: tuple[Slice, ...] = ()
    reported: dict[str, JsonValue] = Field(default_factory=dict)
    gates: GateRecord

    @property
    def primary(self) -> float | None:
        """The primary test metric; None where it is not defined."""
        value = self.test_metrics.get(self.gates.primary)
        return value if isinstance(value, float | int) else None

    def at(self, path: str) -> float | None:
        """Find a number by its dotted path, for example ``test_metrics.roc_auc``; None when there is no such number."""
        node: Any = self.model_dump(mode="json")
        for key in path.split("."):
            node = node.get(key) if isinstance(node, dict) else None
        return float(node) if isinstance(node, int | float) and not isinstance(node, bool) else None

    def paths(self) -> list[str]:
        """List the dotted paths of all numbers, sorted."""
        return sorted(
            _paths(self.model_dump(mode="json", exclude={"gates", "model_config_", "reported", "format"}), "")
        )

    @classmethod
    def from_bytes(cls, content: bytes) -> Figures:
        """Read ``metrics.json``.

        Raises:
            BundleTampered: It is not valid.
        """
        try:
            return cls.model_validate_json(content)
        except ValidationError as error:
            raise BundleTampered(f"metrics.json is not valid: {describe(error)}") from error


def _paths(node: Any, prefix: str) -> list[str]:
    if isinstance(node, dict):
        return [path for key, value in node.items() for path in _paths(value, f"{prefix}.{key}" if prefix else key)]
    return [prefix] if isinstance(node, int | float) and not isinstance(node, bool) else []
