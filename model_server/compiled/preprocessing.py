"""Preprocessing: the steps before an estimator on their own, for explanations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from model_server.compiled.inputs import Array, Given, inputs_of, matrix_of
from model_server.compiled.steps import Steps
from model_server.parity.unforeseen import Unforeseen

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from model_server.frame import Frame


class Preprocessing:
    """The steps before an estimator."""

    def __init__(self, steps: Sequence[Any], frame: Frame) -> None:
        """Compile the fitted steps.

        Args:
            steps: Transformers in order.
            frame: Some rows, to learn from what passes between them.

        Raises:
            Unforeseen: One of them cannot be compiled, or they end in texts.
        """
        named = frame.matrix is None or hasattr(steps[0], "feature_names_in_")
        self._steps = Steps(steps, Given(inputs_of(frame), named=named))
        self._steps.given.require_numbers()

    @property
    def left(self) -> list[str]:
        """Names of the steps that are left to scikit-learn."""
        return self._steps.left

    def columns(self, frame: Frame) -> Array:
        """Compute what the estimator is given.

        Args:
            frame: N checked rows.

        Returns:
            float64 [N, C], C-contiguous.

        Raises:
            Unforeseen: A value, such as a category that training never saw, is scikit-learn's to judge.
        """
        return np.ascontiguousarray(matrix_of(self._steps(inputs_of(frame))))


def preprocessing(steps: Sequence[Any], frame: Frame, transform: Callable[[Frame], Array]) -> Preprocessing | None:
    """Compile steps and compare them with scikit-learn's.

    Args:
        steps: Fitted transformers in order.
        frame: Rows to compare on.
        transform: What the steps themselves make of rows, float64 [N, C].

    Returns:
        The compiled steps; None when they cannot be compiled or differ in a single bit.
    """
    try:
        compiled = Preprocessing(steps, frame)
        columns = compiled.columns(frame)
    except Unforeseen:
        return None
    return compiled if np.array_equal(columns, transform(frame), equal_nan=True) else None
