"""Histogram: histogram-based gradient boosting by scikit-learn's own kernel."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from model_server.compiled.encoders import encoder
from model_server.compiled.inputs import Array, Given, Inputs, matrix_of, selected
from model_server.compiled.joined import JoinedHistogramTrees, histogram_walk
from model_server.compiled.kernel import Kernel, Walk
from model_server.compiled.trees import boosted_classes
from model_server.parity.splits import Splits
from model_server.parity.unforeseen import Unforeseen

if TYPE_CHECKING:
    from model_server.compiled.inputs import Step

#: From so many numbers on numpy adds in pairs where they lie side by side. The log-odds of a class lie side by side, so
#: those of a row do only when there is but one row: its probabilities then differ in the last bit.
PAIRED = 8


def histogram(estimator: Any, given: Given) -> Kernel:
    """Compile a HistGradientBoostingClassifier or -Regressor.

    Raises:
        Unforeseen: This scikit-learn has no such kernel.
    """
    before = _categories_first(estimator, given)
    scores = _scores(estimator)

    def raw(inputs: Inputs) -> Array:
        return scores(matrix_of(before(inputs)))

    splits = (_splits(estimator, before),)
    if hasattr(estimator, "classes_"):
        kernel = boosted_classes(raw, np.asarray(estimator.classes_), splits, zero_is_second=False)
        return replace(kernel, neighbours_matter=len(estimator.classes_) >= PAIRED)
    inverse = estimator._loss.link.inverse  # noqa: SLF001 - a loss may answer on another scale than it is fitted on
    return Kernel(lambda inputs: inverse(raw(inputs).ravel()), splits=splits)


def _categories_first(estimator: Any, given: Given) -> Step:
    """Do what the estimator does to its columns: categories become codes and go before the numbers."""
    if estimator._preprocessor is None:  # noqa: SLF001 - no public attribute holds its encoder
        given.require_numbers()
        return lambda inputs: inputs
    inside = estimator._preprocessor.named_transformers_["encoder"]  # noqa: SLF001 - same
    by_category = np.flatnonzero(estimator.is_categorical_).tolist()
    others = np.flatnonzero(~estimator.is_categorical_).tolist()
    given.take(others).require_numbers()
    encode = encoder(inside, given.take(by_category))

    def arranged(inputs: Inputs) -> Inputs:
        codes = matrix_of(encode(selected(inputs, by_category)))
        return np.hstack([codes, matrix_of(selected(inputs, others))]) if others else codes

    return arranged


def _scores(estimator: Any) -> Walk:
    """Give the sum over all trees, float64 [N, C] -> float64 [N, K], each column contiguous."""
    from sklearn.utils._openmp_helpers import _openmp_effective_n_threads

    walk = histogram_walk()
    start = np.asarray(estimator._baseline_prediction, dtype=np.float64).reshape(1, -1)  # noqa: SLF001 - not public
    known, places = estimator._bin_mapper.make_known_categories_bitsets()  # noqa: SLF001 - not public
    classes = [list(trees) for trees in zip(*estimator._predictors, strict=True)]  # noqa: SLF001 - not public
    joined = _joined(classes, len(places), known, places)
    most = min((trees.most_rows for trees in joined), default=0)

    def tree_by_tree(rows: Array) -> Array:
        total = np.zeros((len(rows), len(classes)), order="F")
        total += start
        found, threads = np.empty(len(rows)), _openmp_effective_n_threads()
        for output, trees in enumerate(classes):
            for tree in trees:
                walk(tree.nodes, rows, tree.raw_left_cat_bitsets, known, places, threads, found)
                total[:, output] += found
        return total

    def all_at_once(rows: Array) -> Array:
        total = np.empty((len(rows), len(classes)), order="F")
        for output, trees in enumerate(joined):
            answers = trees.answers(rows)
            answers[0] += start[0, output]  # the sum starts with it; addition of two is the same either way round
            total[:, output] = answers.cumsum(axis=0)[-1]
        return total

    return lambda rows: all_at_once(rows) if len(rows) <= most else tree_by_tree(rows)


def _joined(classes: list[list[Any]], n_columns: int, known: Array, places: Array) -> list[JoinedHistogramTrees]:
    try:
        return [JoinedHistogramTrees(trees, n_columns, known, places) for trees in classes]
    except Unforeseen:
        return []


def _splits(estimator: Any, before: Step) -> Splits[Inputs]:
    nodes = np.concatenate([tree.nodes for trees in estimator._predictors for tree in trees])  # noqa: SLF001 - not public
    nodes = nodes[(nodes["is_leaf"] == 0) & (nodes["is_categorical"] == 0)]
    return Splits(
        lambda inputs: matrix_of(before(inputs)),
        nodes["feature_idx"].astype(np.int64),
        nodes["num_threshold"].astype(np.float64),
        single=False,
    )
