"""Slices: the test set cut by one feature at a time; knows where to cut, not what is measured on the pieces."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from training.figures import Slice
from training.scores import rounded, score

if TYPE_CHECKING:
    from model_server.contract import Contract, Feature
    from model_server.frame import Frame
    from training.scores import Answers
    from training.split import Split

Array = np.ndarray[Any, Any]

#: An integer feature of at most this many values is cut by value, other numbers at the quartiles of the training part.
FEW = 6


def slices(
    contract: Contract, frame: Frame, split: Split, test: Answers, chosen: tuple[str, ...] | None
) -> tuple[Slice, ...]:
    """Score the test set by slices.

    Args:
        contract: Names the features.
        frame: All rows.
        split: Which of them are the test set.
        test: The answers for it.
        chosen: Features to cut by; None for every bool and every string feature with categories.

    Returns:
        One slice a feature and value that has rows.
    """
    return tuple(
        Slice(feature=feature.name, value=name, n_rows=int(rows.sum()), metrics=rounded(score(test.take(rows))))
        for feature in contract.features
        if (feature.name in chosen if chosen is not None else _is_natural(feature))
        for name, rows in _cut(feature, frame.column(feature.name), split)
        if rows.any()
    )


def _is_natural(feature: Feature) -> bool:
    return feature.dtype == "bool" or feature.categories is not None


def _cut(feature: Feature, column: Array, split: Split) -> list[tuple[str, Array]]:
    test = column[split.test]
    if feature.dtype == "string":
        names = np.array(["(missing)" if value is None else value for value in test.tolist()])
        return [(str(name), names == name) for name in np.unique(names)]
    numbers, fitted = test.astype(np.float64), column[split.train].astype(np.float64)
    missing = [("(missing)", np.isnan(numbers))]
    present = fitted[~np.isnan(fitted)]
    distinct = np.unique(present)
    if feature.dtype == "bool":
        return [("false", numbers == 0), ("true", numbers == 1), *missing]
    if feature.dtype == "int" and len(distinct) <= FEW:
        return [(f"{value:g}", numbers == value) for value in distinct] + missing
    edges = np.unique(np.quantile(present, (0.25, 0.5, 0.75), method="inverted_cdf")) if len(present) else np.array([])
    return [*_between(numbers, edges.tolist()), *missing]


def _between(numbers: Array, edges: list[float]) -> list[tuple[str, Array]]:
    lows, highs = [-np.inf, *edges], [*edges, np.inf]
    return [
        (_range_name(low, high), (numbers > low) & (numbers <= high)) for low, high in zip(lows, highs, strict=True)
    ]


def _range_name(low: float, high: float) -> str:
    if np.isinf(low):
        return f"up to {high:g}"
    return f"above {low:g}" if np.isinf(high) else f"above {low:g} up to {high:g}"
