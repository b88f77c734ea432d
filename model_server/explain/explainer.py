"""Explainer: splits a predictor's answers by source feature, exactly; knows pipelines, no protocol.

What is computed. The values are those of the final estimator over its own columns: path-dependent TreeSHAP for trees
(see ``shapley``), weight times distance to a reference for linear models (see ``linear``). Columns that a pipeline made
from one feature, such as one-hot columns, are summed. Such a sum is additive, as Shapley values are, but it is not the
Shapley value of a game whose players are the features; for one-to-one steps (scalers, ordinal codes) it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import numpy as np

from model_server.compiled.preprocessing import Preprocessing, preprocessing
from model_server.errors import BugError, NotSupported
from model_server.explain import linear, trees
from model_server.explain.additive import dense
from model_server.explain.explanation import Explanation
from model_server.explain.layout import Layout
from model_server.parity.unforeseen import Unforeseen

if TYPE_CHECKING:
    from model_server.contract import Output
    from model_server.explain.additive import Additive, Array
    from model_server.frame import Frame
    from model_server.predictor import Predictor

#: Largest difference between margin and explanation, relative to the margin where that is above 1.
TOLERANCE = 1e-9


class Explainer:
    """The one way to explain a bundle's answers; built once, used for every frame."""

    def __init__(self, predictor: Predictor, background: Frame | None = None) -> None:
        """Take a pipeline apart and check that explanations of the golden rows add up.

        Args:
            predictor: The predictor whose answers are explained.
            background: Rows whose mean is the reference of a linear model; without them it is the training mean where
                a StandardScaler recorded it, else the mean of the golden rows. Trees need none.

        Raises:
            NotSupported: The pipeline has an estimator or a step that cannot be split; the text names it and those
                that can.
            BugError: The explanations do not add up to what the model answers.
        """
        self.predictor = predictor
        self._features = predictor.contract.names
        self._steps, self._estimator = _taken_apart(predictor.pipeline)
        golden = predictor.golden_frame()
        self._model = self._additive(background, golden)
        self._compiled = self._compile(golden)
        self._kept, self._sign, self._output_names = _outputs(predictor.contract.output, len(self._model.base))
        self._check(golden)

    @classmethod
    def for_predictor(cls, predictor: Predictor, background: Frame | None = None) -> Self:
        """Make the explainer of a predictor; arguments and errors as in the constructor."""
        return cls(predictor, background)

    @property
    def reference(self) -> str:
        """What the base stands for, in words."""
        return self._model.reference

    def explain(self, frame: Frame) -> Explanation:
        """Explain the answers for a checked frame.

        Args:
            frame: N rows of the predictor's contract.

        Returns:
            The explanation of the N rows.
        """
        parts = self._model.contributions(self._columns(frame), len(self._features))
        base, parts = self._pick(self._model.base), self._pick(parts)
        return Explanation(self._model.space, base, parts, self._features, self._output_names, self.reference)

    def _additive(self, background: Frame | None, golden: Frame) -> Additive:
        kind = type(self._estimator).__name__
        layout = Layout.of_features(len(self._features))
        if not type(self._estimator).__module__.startswith("sklearn.") or kind not in (
            *trees.SUPPORTED,
            *linear.SUPPORTED,
        ):
            names = ", ".join((*trees.SUPPORTED, *linear.SUPPORTED))
            raise NotSupported(f"explanations are not supported for {kind}; supported estimators: {names}")
        for step in self._steps:
            layout = layout.through(step)
        if kind in trees.SUPPORTED:
            return trees.TreeModel(self._estimator, layout)
        rows = golden if background is None else background
        name = f"the {rows.n_rows} {'golden' if background is None else 'background'} rows"
        return linear.LinearModel(
            self._estimator, layout, linear.Background(self._transformed(rows), name, is_given=background is not None)
        )

    def _compile(self, golden: Frame) -> Preprocessing | None:
        if not self._steps or hasattr(self._estimator, "feature_names_in_"):  # nothing to do, or it wants a table
            return None
        return preprocessing(self._steps, golden, lambda frame: dense(self._transformed(frame)))

    def _pick(self, numbers: Array) -> Array:
        picked: Array = self._sign * numbers[..., self._kept]
        return picked

    def _columns(self, frame: Frame) -> Any:
        if self._compiled is not None:
            try:
                return self._compiled.columns(frame)
            except Unforeseen:
                pass  # scikit-learn's own steps know what becomes of such a value
        return self._transformed(frame)

    def _transformed(self, frame: Frame) -> Any:
        columns = self.predictor.inputs(frame)
        for step in self._steps:
            columns = step.transform(columns)
        return columns

    def _check(self, frame: Frame) -> None:
        margin = _margin(self.predictor, frame, self._model.space)
        explained = self.explain(frame).margin
        error = np.abs(explained - self._pick(margin)) / np.maximum(1.0, np.abs(margin).max())
        if not error.max() <= TOLERANCE:
            raise BugError(
                f"explanations of {type(self._estimator).__name__} do not add up: the golden rows differ by up to "
                f"{error.max():.1e}, at most {TOLERANCE:.0e} is admitted; report it with the training configuration"
            )


def _taken_apart(pipeline: Any) -> tuple[list[Any], Any]:
    if not hasattr(pipeline, "steps"):
        return [], pipeline
    steps = [step for _, step in pipeline.steps]
    return [step for step in steps[:-1] if step not in (None, "passthrough")], steps[-1]


def _outputs(output: Output, count: int) -> tuple[slice, float, tuple[str, ...]]:
    """Say which of the model's outputs are shown, with which sign and under which names."""
    if output.task == "regression":
        return slice(None), 1.0, (output.target,)
    names = tuple(str(label) for label in output.classes)
    if len(names) > 2:
        return slice(None), 1.0, names
    positive = output.positive_index
    if count == 1:  # the log-odds of the second class
        return slice(None), 1.0 if positive == 1 else -1.0, (names[positive],)
    return slice(positive, positive + 1), 1.0, (names[positive],)


def _margin(predictor: Predictor, frame: Frame, space: str) -> Array:
    ask = {"log-odds": "decision_function", "probability": "predict_proba", "value": "predict"}[space]
    answer = np.asarray(getattr(predictor.pipeline, ask)(predictor.inputs(frame)), dtype=np.float64)
    return answer.reshape(frame.n_rows, -1)
