"""Comparison: a pipeline and a stand-in predict the same rows; how far apart they are, not what is admitted."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from model_server.contract import Output
    from model_server.frame import Frame
    from model_server.parity.probes import Kind, Probes
    from model_server.predictor import Array, Model, Predictor

#: Rows of a kind that the pipeline itself is asked one at a time; each costs milliseconds.
MOST_ASKED_ALONE = 16


@dataclass(slots=True)
class Comparison:
    """What was seen.

    Attributes:
        difference: Largest difference of numbers, relative to the expected one where that is above 1; infinite where
            one model answered and the other refused, or the shapes differ.
        labels_differ: How many labels differ.
        kinds: Kinds of rows with a difference of any size.
    """

    difference: float = 0.0
    labels_differ: int = 0
    kinds: set[Kind] = field(default_factory=set)

    def note(self, kind: Kind, expected: Array | None, actual: Array | None) -> None:
        """Take in the answers for the same rows; None stands for a refusal."""
        if expected is None and actual is None:
            return
        if expected is None or actual is None or expected.shape != actual.shape:
            self._differs(kind, np.inf)
        elif expected.dtype.kind == "f":
            scale = np.maximum(1.0, np.abs(expected))
            unequal = (expected != actual) & ~(np.isnan(expected) & np.isnan(actual))
            self._differs(kind, float(np.max(np.abs(expected - actual)[unequal] / scale[unequal], initial=0.0)))
        else:
            wrong = int(np.sum(expected != actual))
            self.labels_differ += wrong
            self.kinds |= {kind} if wrong else set()

    def _differs(self, kind: Kind, difference: float) -> None:
        self.difference = max(self.difference, np.inf if np.isnan(difference) else difference)
        self.kinds |= {kind} if difference else set()


def compare(
    predictor: Predictor, stand_in: Model, rows: Probes, singles: int, *, neighbours_matter: bool
) -> Comparison:
    """Compare the answers of a predictor's pipeline and of a stand-in.

    Args:
        predictor: Asks the pipeline itself.
        stand_in: What may take its place.
        rows: The rows to ask.
        singles: How many rows of each kind are also asked one at a time, because few rows take another way through the
            kernels.
        neighbours_matter: Whether the pipeline's own answer for a row may depend on how many rows it is given.

    Returns:
        What was seen.
    """
    found, fitted = Comparison(), predictor.fitted
    for kind, frame in rows.frames.items():
        for name in _asked(predictor.contract.output):
            for expected, some in _answered(fitted, name, frame):
                found.note(kind, expected, _answer(stand_in, name, some))
                for row in lone_rows(some, min(singles, MOST_ASKED_ALONE) if neighbours_matter else singles):
                    alone, part = some.take(row), None if expected is None else expected[row]
                    lone = _answer(fitted, name, alone) if neighbours_matter else part
                    found.note(kind, lone, _answer(stand_in, name, alone))
    return found


def lone_rows(frame: Frame, most: int) -> Iterator[slice]:
    """Choose rows to ask one at a time, evenly."""
    for place in np.unique(np.linspace(0, frame.n_rows - 1, min(most, frame.n_rows)).round().astype(int)).tolist():
        yield slice(place, place + 1)


def _asked(output: Output) -> list[str]:
    """Name the methods whose answers a predictor gives on."""
    if output.task == "regression":
        return ["predict"]
    own_labels = output.decision == "predict" or not output.probabilities
    return ["predict_proba"] * output.probabilities + ["predict"] * own_labels


def _answered(model: Model, name: str, frame: Frame) -> Iterator[tuple[Array | None, Frame]]:
    """Ask for all rows at once; where that is refused, for each."""
    answer = _answer(model, name, frame)
    if answer is not None or frame.n_rows == 1:
        yield answer, frame
        return
    for place in range(frame.n_rows):
        row = frame.take(slice(place, place + 1))
        yield _answer(model, name, row), row


def _answer(model: Model, name: str, frame: Frame) -> Any:
    try:
        return getattr(model, name)(frame)
    except (ValueError, TypeError):  # how scikit-learn refuses a value
        return None
