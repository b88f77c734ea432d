"""Trees: single trees, forests and boosting by scikit-learn's own compiled kernels.

Sums are taken tree by tree in scikit-learn's order, so that the last bit agrees. The kernels have no public names. They
are looked for when a model is loaded; where one is missing, the estimator is left to its public methods.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from model_server.compiled.inputs import Array, Inputs, matrix_of
from model_server.compiled.joined import JoinedTrees
from model_server.compiled.kernel import Kernel, Method, Walk, single_precision, softmax, two_columns
from model_server.compiled.ranked import RankedTrees
from model_server.parity.splits import Splits
from model_server.parity.unforeseen import Unforeseen

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from model_server.compiled.inputs import Given


def boosted(estimator: Any, given: Given) -> Kernel:
    """Compile a GradientBoostingClassifier or -Regressor.

    Raises:
        Unforeseen: Its first guess is an estimator of its own, its loss has no probabilities of a known form, or this
            scikit-learn has no such kernel.
    """
    given.require_numbers()
    if estimator.init not in (None, "zero"):
        raise Unforeseen("a first guess that is an estimator of its own")
    scores = _staged(estimator)
    raw = _checked(estimator, scores)
    splits = _splits_of([tree.tree_ for tree in estimator.estimators_.ravel()])
    if not hasattr(estimator, "classes_"):
        return Kernel(lambda inputs: raw(inputs).ravel(), splits=splits)
    if estimator.loss != "log_loss":
        raise Unforeseen(f"probabilities of loss={estimator.loss!r}")
    return boosted_classes(raw, np.asarray(estimator.classes_), splits, zero_is_second=True)


def boosted_classes(raw: Method, classes: Array, splits: tuple[Splits[Inputs], ...], *, zero_is_second: bool) -> Kernel:
    """Answer classes by log-odds, float64 [N, 1] or [N, K]; one log-odds of zero is a tie, which each kind breaks."""
    from scipy.special import expit

    if len(classes) > 2:
        return Kernel(
            predict=lambda inputs: classes[raw(inputs).argmax(axis=1)],
            predict_proba=lambda inputs: softmax(raw(inputs)),
            decision_function=raw,
            splits=splits,
        )

    def labels(inputs: Inputs) -> Array:
        scores = raw(inputs).ravel()
        answer: Array = classes[(scores >= 0 if zero_is_second else scores > 0).astype(np.intp)]
        return answer

    return Kernel(
        predict=labels,
        predict_proba=lambda inputs: two_columns(expit(raw(inputs).ravel())),
        decision_function=lambda inputs: raw(inputs).ravel(),
        splits=splits,
    )


def _staged(estimator: Any) -> Walk:
    """Give the sum over all stages, float32 [N, C] -> float64 [N, K]; few rows are not walked."""
    predict_stages = _stages_kernel()
    stages, rate = estimator.estimators_, estimator.learning_rate
    start = estimator._raw_predict_init(np.zeros((1, estimator.n_features_in_), dtype=np.float32))  # noqa: SLF001 - not public

    def staged(rows: Array) -> Array:
        total: Array = start.repeat(len(rows), axis=0)
        predict_stages(stages, rows, rate, total)
        return total

    few = _few_rows(stages, rate)
    return staged if few is None else _checked_few(few, start, staged)


def _checked_few(few: RankedTrees, start: Array, staged: Walk) -> Walk:
    """Method for few rows at once, where it gives the same bits."""
    most = few.most_rows

    def all_at_once(rows: Array) -> Array:
        terms = few.answers(rows)
        terms[:, 0] += start[0, 0]  # the sum starts with it; addition of two is the same either way round
        total: Array = terms.cumsum(axis=1)[:, -1:]  # strictly in order, as in _total
        return total

    # A compiler may fuse "total += rate * value" into one rounding (it does for ARM), which two steps cannot repeat.
    rows = np.random.default_rng(0).normal(size=(64, few.n_columns)).astype(np.float32)
    if not np.array_equal(np.concatenate([all_at_once(row[None]) for row in rows]), staged(rows)):
        return staged
    return lambda rows: all_at_once(rows) if len(rows) <= most else staged(rows)


def _stages_kernel() -> Callable[..., None]:
    try:
        from sklearn.ensemble._gradient_boosting import predict_stages
    except ImportError as error:
        raise Unforeseen("this scikit-learn has no such kernel") from error
    kernel: Callable[..., None] = predict_stages
    return kernel


def _few_rows(stages: Array, rate: float) -> RankedTrees | None:
    if stages.shape[1] != 1:  # several trees a stage each add to a class of their own
        return None
    trees = [tree.tree_ for tree in stages[:, 0]]
    try:
        ranked = RankedTrees(trees, [rate * tree.value[:, 0, 0] for tree in trees])
    except Unforeseen:
        return None
    return ranked if ranked.most_rows else None


def _total(terms: Array) -> Array:
    """Add up [T, N, K] over T, strictly in order: numpy's own sum adds pairs, which rounds otherwise."""
    total: Array = terms.cumsum(axis=0)[-1]
    return total


def forest(estimator: Any, given: Given) -> Kernel:
    """Compile a random forest, extremely randomized trees, or a single tree.

    Raises:
        Unforeseen: It has several targets.
    """
    given.require_numbers()
    if estimator.n_outputs_ != 1:
        raise Unforeseen("several targets")
    members = getattr(estimator, "estimators_", [estimator])
    takes_nan = all(member.__sklearn_tags__().input_tags.allow_nan for member in members)
    trees = [member.tree_ for member in members]
    mean = _mean(trees, is_single=members[0] is estimator)
    walk = _checked(estimator, mean, takes_nan=takes_nan)
    splits = _splits_of(trees)
    if not hasattr(estimator, "classes_"):
        return Kernel(lambda inputs: walk(inputs)[:, 0], splits=splits)
    classes = np.asarray(estimator.classes_)
    return Kernel(lambda inputs: classes.take(walk(inputs).argmax(axis=1), axis=0), walk, splits=splits)


def _mean(trees: Sequence[Any], *, is_single: bool) -> Walk:
    """Average what the trees answer, float32 [N, C] -> float64 [N, K]."""
    if is_single:
        only = trees[0]
        alone: Walk = only.predict
        return alone
    joined = _joined_forest(trees)
    most = joined.most_rows if joined else 0

    def mean(rows: Array) -> Array:
        if joined is not None and len(rows) <= most:
            total = _total(joined.answers(rows))
        else:
            total = trees[0].predict(rows)
            for tree in trees[1:]:
                total += tree.predict(rows)
        total /= len(trees)
        return total

    return mean


def _joined_forest(trees: Sequence[Any]) -> JoinedTrees | None:
    try:
        return JoinedTrees(trees, [tree.value[:, 0, :] for tree in trees])
    except Unforeseen:
        return None


def _checked(estimator: Any, walk: Walk, *, takes_nan: bool = False) -> Method:
    """Leave what the estimator refuses to the estimator: infinity, and missing values where it takes none."""
    name = type(estimator).__name__
    refused = np.isinf if takes_nan else lambda rows: ~np.isfinite(rows)

    def walked(inputs: Inputs) -> Array:
        rows = single_precision(inputs)
        if not math.isfinite(rows.sum()) and refused(rows).any():
            raise Unforeseen(f"a value reaches {name} that it refuses")
        return walk(rows)

    return walked


def _splits_of(trees: Sequence[Any]) -> tuple[Splits[Inputs], ...]:
    column = np.concatenate([tree.feature for tree in trees])
    threshold = np.concatenate([tree.threshold for tree in trees])
    inner = column >= 0
    return (Splits(matrix_of, column[inner].astype(np.int64), threshold[inner], single=True),)
