"""Outcome: what a model call found for the rows of one request; knows frames and predictions, no protocol.

Requests share model calls, so an outcome is a view of a whole: what is made of all rows at once is kept with the whole.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from model_server.frame import join_frames
from model_server.predictor import Prediction

if TYPE_CHECKING:
    from collections.abc import Sequence

    from model_server.explain import Reason
    from model_server.frame import Frame


# Not frozen, as little as is made once a request: freezing a dataclass makes it five times as slow to create.
@dataclass(slots=True, eq=False)
class Whole:
    """What one model call found.

    Attributes:
        frame: The checked rows.
        prediction: One answer a row.
        reasons: The asked number of reasons a row; empty when none were asked for.
        columns: Labels or values, and the probabilities row by row, each number as JSON has it, once they were wanted.
        texts: The rows of v1 as JSON, once they were wanted.
    """

    frame: Frame
    prediction: Prediction
    reasons: tuple[tuple[Reason, ...], ...] = ()
    columns: tuple[list[str], list[str]] | None = None
    texts: list[str] | None = None


@dataclass(slots=True, eq=False)
class Outcome:
    """Some rows of a whole.

    Attributes:
        whole: What the model call found.
        start: The first of the rows there.
        n_rows: How many they are.
    """

    whole: Whole
    start: int
    n_rows: int

    @property
    def stop(self) -> int:
        """The row behind the last."""
        return self.start + self.n_rows

    @property
    def frame(self) -> Frame:
        """The checked rows; views where a contract's table is one matrix."""
        return self.whole.frame.take(slice(self.start, self.stop))

    @property
    def prediction(self) -> Prediction:
        """One answer a row, as views."""
        whole, start, stop = self.whole.prediction, self.start, self.stop
        return Prediction(
            None if whole.labels is None else whole.labels[start:stop],
            None if whole.probabilities is None else whole.probabilities[start:stop],
            None if whole.values is None else whole.values[start:stop],
        )

    @property
    def reasons(self) -> tuple[tuple[Reason, ...], ...]:
        """The asked number of reasons a row; empty when none were asked for."""
        return self.whole.reasons[self.start : self.stop]

    def take(self, start: int, stop: int) -> Outcome:
        """Give some of the rows, counted from the first of these."""
        return Outcome(self.whole, self.start + start, min(stop, self.n_rows) - start)


def outcome_of(frame: Frame, prediction: Prediction, reasons: tuple[tuple[Reason, ...], ...] = ()) -> Outcome:
    """Make an outcome of all rows of a model call."""
    return Outcome(Whole(frame, prediction, reasons), 0, frame.n_rows)


def join_outcomes(parts: Sequence[Outcome]) -> Outcome:
    """Put the outcomes of the slices of one request together, in order."""
    if len(parts) == 1:
        return parts[0]
    predictions = [part.prediction for part in parts]
    joined = {
        name: np.concatenate([getattr(prediction, name) for prediction in predictions])
        for name in ("labels", "probabilities", "values")
        if getattr(predictions[0], name) is not None
    }
    frame = join_frames([part.frame for part in parts])
    return outcome_of(frame, Prediction(**joined), tuple(row for part in parts for row in part.reasons))
