"""The drift reference: how features and answers were distributed in training; pure, knows numbers alone.

It is counted once, when a bundle is made, and kept in it as ``reference.json``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

if TYPE_CHECKING:
    from model_server.contract import Contract, Feature, Output
    from model_server.frame import Frame
    from model_server.predictor import Prediction

Array = np.ndarray[Any, Any]
Count = Annotated[int, Field(ge=0)]

#: Bins of a feature: few enough that each holds many rows, so that shares are steady (deciles).
N_BINS = 10
#: A column of at most this many distinct numbers gets one bin a number.
MAX_DISTINCT = 20
#: Categories that are counted by name; the rest are counted together.
MAX_CATEGORIES = 50

_FROZEN = ConfigDict(frozen=True, extra="forbid")


class Numbers(BaseModel):
    """Distribution of a number.

    Attributes:
        kind: ``numbers``.
        missing: How many values were missing.
        edges: E ascending bin edges; bin i holds ``edges[i-1] < x <= edges[i]``, the outer bins are open.
        counts: E + 1 counts, in the order of the bins.
        mean: Mean of the values present; None when there are none.
        std: Their standard deviation (population).
        minimum: Their smallest.
        maximum: Their largest.
    """

    model_config = _FROZEN

    kind: Literal["numbers"] = "numbers"
    missing: Count
    edges: tuple[float, ...]
    counts: tuple[Count, ...]
    mean: float | None = None
    std: float | None = None
    minimum: float | None = None
    maximum: float | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if len(self.counts) != len(self.edges) + 1:
            raise ValueError("counts must be one more than edges")
        if any(low >= high for low, high in zip(self.edges, self.edges[1:], strict=False)):
            raise ValueError("edges must ascend")
        return self

    @classmethod
    def of(cls, values: Array, edges: tuple[float, ...] | None = None) -> Numbers:
        """Count values.

        Args:
            values: Shape [N], NaN = missing.
            edges: Ascending bin edges; left out: one bin a number for few distinct numbers, else deciles.

        Returns:
            The distribution.
        """
        numbers = np.asarray(values, dtype=np.float64)
        present = numbers[~np.isnan(numbers)]
        chosen = _edges(present) if edges is None else edges
        places = np.searchsorted(np.array(chosen), present, side="left")
        counts = np.bincount(places, minlength=len(chosen) + 1)
        missing = len(numbers) - len(present)
        if not len(present):
            return cls(missing=missing, edges=chosen, counts=tuple(counts.tolist()))
        return cls(
            missing=missing,
            edges=chosen,
            counts=tuple(counts.tolist()),
            mean=_steady(present.mean()),
            std=_steady(present.std()),
            minimum=float(present.min()),
            maximum=float(present.max()),
        )


class Categories(BaseModel):
    """Distribution of a string or of a truth value.

    Attributes:
        kind: ``categories``.
        missing: How many values were missing.
        counts: How often each value came; truth values are ``false`` and ``true``.
        other: How many values were none of those.
    """

    model_config = _FROZEN

    kind: Literal["categories"] = "categories"
    missing: Count
    counts: dict[str, Count]
    other: Count = 0

    @classmethod
    def of(cls, values: list[str | None], known: tuple[str, ...] | None = None) -> Categories:
        """Count values.

        Args:
            values: N texts, None = missing.
            known: The values to count by name; left out: the most frequent.

        Returns:
            The distribution.
        """
        found: dict[str, int] = {} if known is None else dict.fromkeys(known, 0)
        for value in values:
            if value is not None:
                found[value] = found.get(value, 0) + 1
        ranked = sorted(found, key=lambda name: (-found[name], name))
        named = ranked[:MAX_CATEGORIES] if known is None else known
        counts = {name: found[name] for name in named}
        missing = sum(value is None for value in values)
        return cls(missing=missing, counts=counts, other=len(values) - missing - sum(counts.values()))


Distribution = Annotated[Numbers | Categories, Field(discriminator="kind")]


class Reference(BaseModel):
    """What is normal for a model.

    Attributes:
        format: Of this document.
        n_rows: Rows that the features were counted on.
        n_answers: Rows that the answers were counted on.
        features: Distribution of each feature, by name.
        labels: How often each label was answered, by its text; empty for a regression.
        scores: Distribution of the answered numbers: the probability of each class, by its text, or ``value``.
    """

    model_config = _FROZEN

    format: Literal[1] = 1
    n_rows: int = Field(ge=1)
    n_answers: int = Field(ge=1)
    features: dict[str, Distribution]
    labels: dict[str, Count] = Field(default_factory=dict)
    scores: dict[str, Numbers] = Field(default_factory=dict)

    @classmethod
    def build(cls, contract: Contract, frame: Frame, prediction: Prediction) -> Reference:
        """Count features and answers.

        Args:
            contract: Of the model.
            frame: N rows, the features to count.
            prediction: M answers to count, of rows the model was not fitted on, so that they are not too sure.

        Returns:
            The reference.
        """
        features = {feature.name: _feature(feature, frame.column(feature.name)) for feature in contract.features}
        return cls(
            n_rows=frame.n_rows,
            n_answers=len(prediction),
            features=features,
            labels=_labels(contract.output, prediction),
            scores=_scores(contract.output, prediction),
        )


def _feature(feature: Feature, column: Array) -> Numbers | Categories:
    if feature.dtype == "string":
        return Categories.of(column.tolist(), feature.categories)
    if feature.dtype == "bool":
        words = [None if value != value else "true" if value else "false" for value in column.tolist()]  # noqa: PLR0124
        return Categories.of(words, ("false", "true"))
    return Numbers.of(column)


def _labels(output: Output, prediction: Prediction) -> dict[str, int]:
    if prediction.labels is None:
        return {}
    return Categories.of([str(label) for label in prediction.labels], tuple(map(str, output.classes))).counts


def _scores(output: Output, prediction: Prediction) -> dict[str, Numbers]:
    if prediction.values is not None:
        return {"value": Numbers.of(prediction.values)}
    if prediction.probabilities is None:
        return {}
    tenths = tuple(tenth / 10 for tenth in range(1, 10))
    return {
        str(label): Numbers.of(column, tenths)
        for label, column in zip(output.classes, prediction.probabilities.T, strict=True)
    }


def _edges(present: Array) -> tuple[float, ...]:
    distinct = np.unique(present)
    if len(distinct) <= MAX_DISTINCT:
        return tuple(distinct[:-1].tolist())
    shares = np.arange(1, N_BINS) / N_BINS
    # Edges are values of the data, never averages of two: equal data give equal bytes.
    return tuple(np.unique(np.quantile(present, shares, method="inverted_cdf")).tolist())


def _steady(number: float) -> float:
    # Ten digits: sums taken in another order differ after the fifteenth, and would change the bytes.
    return float(f"{number:.10g}")
