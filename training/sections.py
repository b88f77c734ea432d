"""Sections of a training configuration; knows the keys of each and their rules, not how they go together."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, JsonValue, model_validator

from model_server.contract import Label, Tier
from model_server.feature import Name

Seed = Annotated[int, Field(ge=0, lt=2**32)]
Share = Annotated[float, Field(gt=0.0, lt=1.0)]
Dtype = Literal["float", "int", "bool", "string"]


class Section(BaseModel):
    """A part of the configuration: frozen, and an unknown key is refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Builtin(Section):
    """A table that comes with scikit-learn.

    Attributes:
        kind: ``builtin``.
        name: ``breast_cancer``, ``iris`` or ``diabetes``.
    """

    kind: Literal["builtin"]
    name: Literal["breast_cancer", "iris", "diabetes"]


class Generator(Section):
    """A seeded table of our own with a written ground truth.

    Attributes:
        kind: ``generator``.
        name: ``churn``.
        seed: Equal seeds give equal tables.
        rows: How many.
    """

    kind: Literal["generator"]
    name: Literal["churn"]
    seed: Seed = 0
    rows: int = Field(default=6000, ge=100)


class TableFile(Section):
    """A CSV or Parquet file.

    Attributes:
        kind: ``file``.
        path: The file, relative to the YAML.
        missing: Texts of a CSV that stand for a missing value.
        separator: What parts the columns of a CSV.
    """

    kind: Literal["file"]
    path: str = Field(min_length=1)
    missing: tuple[str, ...] = ("", "NA", "NaN", "null")
    separator: str = Field(default=",", min_length=1, max_length=1)


class Target(Section):
    """The column to predict and what is answered for it.

    Attributes:
        column: Its name in the table.
        task: ``classification`` or ``regression``.
        label_definition: What the target means, in words.
        classes: The labels in ascending order; left out: those found in the table.
        class_names: A readable name a class, in the same order.
        positive: For two classes, the one that threshold and tiers speak of; left out: the second.
        threshold: Probability from which the label is ``positive``; left out: the estimator's own rule.
        tiers: Named bands of the positive class's probability, or of a regression value.
        unit: Unit of a regression value.
    """

    column: Name
    task: Literal["classification", "regression"]
    label_definition: str = Field(min_length=1)
    classes: tuple[Label, ...] | None = None
    class_names: tuple[str, ...] = ()
    positive: Label | None = None
    threshold: float | None = Field(default=None, ge=0.0, le=1.0)
    tiers: tuple[Tier, ...] = ()
    unit: str = ""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.task == "regression" and (self.classes or self.positive is not None or self.threshold is not None):
            raise ValueError("a regression has no classes, no positive class and no threshold")
        if self.classes is None:
            return self
        if len({type(label) for label in self.classes}) > 1 or list(self.classes) != sorted(set(self.classes)):
            raise ValueError("classes must be distinct and in ascending order, all integers or all strings")
        if self.class_names and len(self.class_names) != len(self.classes):
            raise ValueError("class_names must have one name a class, in the order of classes")
        if self.positive is not None and self.positive not in self.classes:
            raise ValueError("positive must be one of the classes")
        return self


class RandomSplit(Section):
    """Rows are drawn at random, for a classification with equal class shares on both sides.

    Attributes:
        by: ``random``.
        test_share: Share of the rows that test, 0 to 1.
        seed: Of the draw.
        stratify: Whether class shares are kept equal.
    """

    by: Literal["random"]
    test_share: Share = 0.2
    seed: Seed = 42
    stratify: bool = True


class GroupSplit(Section):
    """Whole groups are drawn at random, so that no customer, patient or machine is on both sides.

    Attributes:
        by: ``group``.
        column: Names the group of each row.
        test_share: Share of the groups that test, 0 to 1.
        seed: Of the draw.
    """

    by: Literal["group"]
    column: Name
    test_share: Share = 0.2
    seed: Seed = 42


class TimeSplit(Section):
    """The latest rows are the test set: every training time is before every test time.

    Attributes:
        by: ``time``.
        column: Numbers, or dates or times in ISO 8601.
        test_share: Share of the rows that test, 0 to 1; rows of one time stay together.
    """

    by: Literal["time"]
    column: Name
    test_share: Share = 0.2


class Step(Section):
    """An object by import path.

    Attributes:
        use: Import path of a class, for example ``sklearn.preprocessing.StandardScaler``.
        params: Its keyword arguments. An object with ``use`` and ``params`` is built in turn; the text ``contract`` for
            ``categories`` stands for the categories of the contract, in their order.
    """

    use: str = Field(pattern=r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)+$")
    params: dict[str, JsonValue] = Field(default_factory=dict)


class Group(Section):
    """Preprocessing of some columns.

    Attributes:
        name: A name for the group, unique.
        dtypes: Take the features of these dtypes.
        columns: Take these features. Without ``dtypes`` and ``columns``: all features.
        steps: What is done, in order; none passes the columns through.
    """

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    dtypes: tuple[Dtype, ...] = ()
    columns: tuple[Name, ...] = ()
    steps: tuple[Step, ...] = ()

    @model_validator(mode="after")
    def _one_selector(self) -> Self:
        if self.dtypes and self.columns:
            raise ValueError("a group takes dtypes or columns, not both")
        return self


class CrossValidation(Section):
    """Cross-validation inside the training part; the split's own rule (groups, time) holds in it too.

    Attributes:
        folds: How many.
        seed: Seed of the shuffle.
        preprocessed_first: Also report the figure with preprocessing fitted before the folds are made. It leaks, and is
            there to compare with publications that did so.
    """

    folds: int = Field(default=5, ge=2, le=50)
    seed: Seed = 42
    preprocessed_first: bool = False


class Sanity(Section):
    """What the table itself must be.

    Attributes:
        min_rows: Fewest rows.
        max_missing_share: Largest share of missing values of any feature, 0 to 1.
        min_class_share: Smallest share of the rarest class, 0 to 1.
        max_duplicate_share: Largest share of rows that repeat an earlier one, target included, 0 to 1.
    """

    min_rows: int = Field(default=50, ge=1)
    max_missing_share: float = Field(default=0.5, ge=0.0, le=1.0)
    min_class_share: float = Field(default=0.01, ge=0.0, le=1.0)
    max_duplicate_share: float = Field(default=0.5, ge=0.0, le=1.0)


class Gates(Section):
    """What a model must reach before it may be promoted.

    Attributes:
        primary: The metric that decides; left out: ``roc_auc`` or ``r2``.
        floors: Smallest admitted value by path in metrics.json, for example ``test_metrics.roc_auc``.
        ceilings: Largest admitted value by path, for example ``calibration.brier``.
        max_drop: How much worse than the bundle in production the primary test metric may be.
        beat: Baselines than which the primary test metric must be better; left out: all of them.
        data: What the table must be.
    """

    primary: str | None = None
    floors: dict[str, float] = Field(default_factory=dict)
    ceilings: dict[str, float] = Field(default_factory=dict)
    max_drop: float = Field(default=0.01, ge=0.0)
    beat: tuple[Literal["majority", "logistic_regression", "mean", "ridge"], ...] | None = None
    data: Sanity = Sanity()


class Report(Section):
    """What is reported beside the metrics.

    Attributes:
        slices: Features whose values split the test set; left out: every bool and every string feature with categories.
        bootstrap_resamples: How often the test set is drawn anew for the 95 % intervals; 0 for none.
        bootstrap_seed: Seed of these draws.
        pictures: Whether PNG pictures are made (needs matplotlib).
        error_samples: How many of the worst test rows are kept.
        golden_rows: How many test rows the server must answer as training did.
        intended_use: A paragraph of the model card.
        limits: A paragraph of the model card.
    """

    slices: tuple[Name, ...] | None = None
    bootstrap_resamples: int = Field(default=500, ge=0, le=100_000)
    bootstrap_seed: Seed = 0
    pictures: bool = True
    error_samples: int = Field(default=20, ge=0, le=1000)
    golden_rows: int = Field(default=16, ge=1, le=1000)
    intended_use: str = ""
    limits: str = ""


class Onnx(Section):
    """Whether the estimator is also converted for ONNX Runtime, and how far its answers may then be from the true ones.

    Attributes:
        tolerance: Largest admitted difference, relative to the answer where that is above 1.
    """

    tolerance: float = Field(default=1e-6, gt=0.0, le=1e-3)
