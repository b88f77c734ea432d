"""ConvertedModel: a pipeline whose estimator ONNX Runtime answers for, in the pipeline's place."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from model_server.compiled.inputs import Given, inputs_of, matrix_of
from model_server.compiled.steps import Steps
from model_server.parity.unforeseen import Unforeseen

if TYPE_CHECKING:
    from collections.abc import Callable

    from model_server.compiled.inputs import Array
    from model_server.frame import Frame
    from model_server.onnx.close import CloseCalls
    from model_server.onnx.session import Session
    from model_server.predictor import Fitted


def parts(pipeline: Any) -> tuple[list[Any], Any]:
    """Part a pipeline, or a bare estimator, into the steps before the estimator and the estimator."""
    if type(pipeline).__name__ != "Pipeline":
        return [], pipeline
    *before, last = [step for _, step in pipeline.steps]
    inner, estimator = parts(last)
    return [*before, *inner], estimator


def steps_before(fitted: Fitted, sample: Frame) -> Steps:
    """Compile the steps before the estimator.

    Raises:
        Unforeseen: One of them cannot even be called apart from the others, or they end in texts.
    """
    steps = Steps(parts(fitted.pipeline)[0], Given(inputs_of(sample), named=fitted.by_name))
    steps.given.require_numbers()
    return steps


class ConvertedModel:
    """Compiled steps and a converted estimator; see ``model_server.predictor.Model``."""

    name = "onnx"

    def __init__(self, fitted: Fitted, before: Steps, session: Session, close: CloseCalls) -> None:
        """Put the parts together.

        Args:
            fitted: The pipeline; it is asked for labels, for missing values, and where an answer is too close to call.
            before: Its steps before the estimator, compiled.
            session: Its estimator, converted.
            close: Which answers are too close to call.
        """
        self._fitted = fitted
        self._before = before
        self._session = session
        self._close = close
        self.is_bounded = not before.left

    def predict(self, frame: Frame) -> Array:
        """See ``Model``; labels of an estimator's own are scikit-learn's."""
        if hasattr(self._fitted.pipeline, "classes_"):
            return self._fitted.predict(frame)
        return self._answers(frame, lambda some: self._fitted.predict(some).reshape(-1, 1)).ravel()

    def predict_proba(self, frame: Frame) -> Array:
        """See ``Model``."""
        return self._answers(frame, self._fitted.predict_proba)

    def _answers(self, frame: Frame, ask: Callable[[Frame], Array]) -> Array:
        """Answer probabilities [N, K] or values [N, 1]; ``ask`` is scikit-learn's way to them."""
        given = self._given(frame)
        if given is None:
            return ask(frame)
        answers = self._session.run(given)
        rows = self._close.rows(answers)
        if rows:
            answers[rows] = ask(frame.take(rows))
        return answers

    def _given(self, frame: Frame) -> Array | None:
        try:
            columns = matrix_of(self._before(inputs_of(frame)))
        except Unforeseen:
            return None
        with np.errstate(over="ignore"):
            given: Array = np.ascontiguousarray(columns, dtype=self._session.dtype)
            finite = math.isfinite(given.sum()) or bool(np.isfinite(given).all())
        # Converters send missing values down other branches than scikit-learn; what it refuses it refuses by itself.
        return given if finite else None
