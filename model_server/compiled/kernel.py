"""Kernel: the methods of a fitted estimator without its checks, and where its answers jump."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from model_server.compiled.inputs import Array, Inputs, matrix_of

if TYPE_CHECKING:
    from model_server.compiled.inputs import Step
    from model_server.parity.splits import Splits

#: A method of an estimator, on what compiled steps made.
Method = Callable[[Inputs], Array]
#: A kernel on the matrix it was made for: [N, C] -> [N, K].
Walk = Callable[[Array], Array]


@dataclass(frozen=True, slots=True, eq=False)
class Kernel:
    """An estimator's methods, without its checks.

    Attributes:
        predict: Labels or values, shape [N], or [N, 1].
        predict_proba: float64 [N, K]; None where the estimator has none.
        decision_function: float64 [N] or [N, K]; None where the estimator has none.
        splits: Where its answers jump.
        blas: Names of the estimators whose sums go through BLAS: their last bit depends on how many rows there are.
        left: Names of what is left to scikit-learn itself.
        neighbours_matter: Whether scikit-learn's own last bit may depend on how many rows are asked at once, even
            without BLAS.
    """

    predict: Method
    predict_proba: Method | None = None
    decision_function: Method | None = None
    splits: tuple[Splits[Inputs], ...] = ()
    blas: tuple[str, ...] = ()
    left: tuple[str, ...] = ()
    neighbours_matter: bool = False

    def after(self, before: Step, left: tuple[str, ...] = ()) -> Kernel:
        """Put steps before the estimator."""

        def behind(method: Method | None) -> Method | None:
            return None if method is None else lambda inputs: method(before(inputs))

        predict = self.predict
        return Kernel(
            predict=lambda inputs: predict(before(inputs)),
            predict_proba=behind(self.predict_proba),
            decision_function=behind(self.decision_function),
            splits=tuple(replace(some, before=_chained(before, some.before)) for some in self.splits),
            blas=self.blas,
            left=(*left, *self.left),
            neighbours_matter=self.neighbours_matter or bool(left),
        )


def _chained(first: Step, then: Method) -> Method:
    return lambda inputs: then(first(inputs))


def single_precision(inputs: Inputs) -> Array:
    """Give numbers as trees compare them, float32 [N, C], C-contiguous."""
    return np.ascontiguousarray(matrix_of(inputs), dtype=np.float32)


def softmax(scores: Array) -> Array:
    """Turn log-odds of K classes into probabilities, in place, in the operations of scikit-learn's own softmax."""
    scores -= scores.max(axis=1).reshape(-1, 1)
    np.exp(scores, out=scores)
    scores /= scores.sum(axis=1).reshape(-1, 1)
    return scores


def two_columns(positive: Array) -> Array:
    """Put the probabilities of both classes beside each other; float64 [N] -> [N, 2]."""
    both = np.empty((len(positive), 2))
    both[:, 1] = positive
    np.subtract(1, positive, out=both[:, 0])
    return both
