"""Inputs: what travels between compiled steps, a matrix or a list of columns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from model_server.parity.unforeseen import Unforeseen

if TYPE_CHECKING:
    from collections.abc import Sequence

    from model_server.frame import Frame

Array = np.ndarray[Any, Any]

#: float64 [N, C], or C arrays of shape [N]: numbers of any dtype, or objects (str, None = missing).
Inputs = Array | list[Array]
Step = Callable[[Inputs], Inputs]


@dataclass(frozen=True, slots=True, eq=False)
class Given:
    """What a step is given, for as long as it is compiled.

    Attributes:
        sample: Some real rows in that form.
        named: Whether scikit-learn hands the step a pandas table here, or an array.
    """

    sample: Inputs
    named: bool

    @property
    def width(self) -> int:
        """How many columns there are."""
        return len(self.sample) if isinstance(self.sample, list) else self.sample.shape[1]

    @property
    def texts(self) -> list[bool]:
        """Which of the columns hold objects."""
        if isinstance(self.sample, list):
            return [column.dtype.kind == "O" for column in self.sample]
        return [False] * self.width

    def require_numbers(self) -> None:
        """Refuse texts.

        Raises:
            Unforeseen: A column holds objects.
        """
        if any(self.texts):
            raise Unforeseen("text reaches a step that takes numbers")

    def take(self, places: Sequence[int]) -> Given:
        """Give some of the columns."""
        return Given(selected(self.sample, places), self.named)


def inputs_of(frame: Frame) -> Inputs:
    """Lay a checked frame out for the first step, without a copy."""
    return frame.matrix if frame.matrix is not None else [frame.columns[name] for name in frame.names]


def row_count(inputs: Inputs) -> int:
    """Count the rows."""
    return len(inputs[0]) if isinstance(inputs, list) else len(inputs)


def selected(inputs: Inputs, places: Sequence[int]) -> Inputs:
    """Give some of the columns, in that order."""
    if isinstance(inputs, list):
        return [inputs[place] for place in places]
    return inputs[:, places]


def columns_of(inputs: Inputs) -> list[Array]:
    """Give the columns one by one."""
    return inputs if isinstance(inputs, list) else list(inputs.T)


def matrix_of(inputs: Inputs) -> Array:
    """Give numbers as one matrix; a list becomes float64 [N, C], C-contiguous, a matrix stays itself."""
    if not isinstance(inputs, list):
        return inputs
    matrix = np.empty((len(inputs[0]), len(inputs)))
    for place, column in enumerate(inputs):
        matrix[:, place] = column
    return matrix


def plain(answer: Any) -> Inputs:
    """Turn what a step of scikit-learn gave out into inputs of the next one.

    Args:
        answer: An array or a sparse matrix of shape [N, C].

    Raises:
        Unforeseen: It is a table, or single precision, in which the next step would count differently.
    """
    values = answer.toarray() if hasattr(answer, "toarray") else answer
    if not isinstance(values, np.ndarray) or values.ndim != 2:
        raise Unforeseen("a step gives out a table")
    if values.dtype.kind == "O":
        return list(values.T)
    if values.dtype != np.float64 and values.dtype.kind not in "iub":
        raise Unforeseen("a step gives out numbers that are not float64")
    return values.astype(np.float64, copy=False)
