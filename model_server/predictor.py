"""Predictor: a checked frame in, a prediction out; synchronous and pure, knows no protocol and no thread.

Labels come from the probabilities that are answered beside them, by the bundle's decision rule, in one model pass;
only a bundle whose manifest says ``predict`` asks the estimator for labels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from model_server.checks import Check, Status
from model_server.errors import BugError, BundleIncompatible, ContractError, GoldenMismatch

if TYPE_CHECKING:
    from model_server.bundle import Bundle
    from model_server.contract import Contract, Output
    from model_server.frame import Frame

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True, eq=False)
class Prediction:
    """Answers for N rows.

    Attributes:
        labels: Shape [N], int64 or object (str); None for a regression.
        probabilities: float64 of shape [N, K] in the order of the contract's classes; None where there are none.
        values: float64 of shape [N]; None for a classification.
    """

    labels: Array | None = None
    probabilities: Array | None = None
    values: Array | None = None

    def __len__(self) -> int:
        for part in (self.labels, self.values):
            if part is not None:
                return len(part)
        raise BugError("a prediction has labels or values")


class Model(Protocol):
    """What answers frames: the fitted pipeline itself (``Fitted``), or what was compared with it and takes its place.

    Attributes:
        name: ``scikit-learn``, ``compiled`` or ``onnx``, for the log.
        is_bounded: Whether a call does nothing but kernels, whose time depends on the number of rows alone.
    """

    name: str
    is_bounded: bool

    def predict(self, frame: Frame) -> Array:
        """Give labels or values, shape [N] or [N, 1]."""
        ...

    def predict_proba(self, frame: Frame) -> Array:
        """Give probabilities, float64 [N, K] in the order of the contract's classes."""
        ...


class Fitted:
    """The pipeline as it was fitted."""

    name = "scikit-learn"
    is_bounded = False

    def __init__(self, pipeline: Any, *, is_numeric: bool) -> None:
        """Bind a pipeline.

        Args:
            pipeline: Fitted.
            is_numeric: Whether frames are one matrix.
        """
        self.pipeline = pipeline
        #: Whether it takes a pandas table with named columns.
        self.by_name = getattr(pipeline, "feature_names_in_", None) is not None or not is_numeric

    def inputs(self, frame: Frame) -> Any:
        """Lay a frame out as the pipeline was fitted: a pandas table for named columns, else float64 [N, F]."""
        return frame.as_dataframe() if self.by_name else frame.as_matrix()

    def predict(self, frame: Frame) -> Array:
        """See ``Model``."""
        return np.asarray(self.pipeline.predict(self.inputs(frame)))

    def predict_proba(self, frame: Frame) -> Array:
        """See ``Model``."""
        return np.asarray(self.pipeline.predict_proba(self.inputs(frame)), dtype=np.float64)


class Predictor:
    """The one way to ask a bundle's pipeline."""

    def __init__(self, bundle: Bundle, model: Model | None = None) -> None:
        """Bind a bundle and check that the pipeline fits its contract.

        Args:
            bundle: The opened bundle.
            model: What answers in the pipeline's place; None for the pipeline itself.

        Raises:
            BundleIncompatible: Feature names, their order, their number or the classes differ from the contract.
        """
        self.bundle = bundle
        self.contract: Contract = bundle.manifest.contract
        self.pipeline = bundle.pipeline
        _check_fits(self.pipeline, self.contract)
        _use_one_job(self.pipeline)
        self.fitted = Fitted(self.pipeline, is_numeric=self.contract.is_numeric)
        self.model: Model = self.fitted if model is None else model
        self._output: Output = self.contract.output
        self._classes = _label_array(self._output)
        self._positive = self._output.positive_index if self._output.decision == "threshold" else 0

    def inputs(self, frame: Frame) -> Any:
        """Lay a frame out as the pipeline was fitted: a pandas table for named columns, else float64 [N, F]."""
        return self.fitted.inputs(frame)

    def predict(self, frame: Frame) -> Prediction:
        """Answer for a checked frame.

        Args:
            frame: N rows of this bundle's contract.

        Returns:
            The prediction for each row, in order.

        Raises:
            BugError: The pipeline answered another number of rows, or something that is not finite.
        """
        if self._output.task == "regression":
            values = np.asarray(self.model.predict(frame), dtype=np.float64).ravel()  # some answer a column
            return _checked(Prediction(values=values), frame.n_rows)
        probabilities = self.model.predict_proba(frame) if self._output.probabilities else None
        return _checked(Prediction(self._labels(frame, probabilities), probabilities), frame.n_rows)

    def _labels(self, frame: Frame, probabilities: Array | None) -> Array:
        if probabilities is None or self._output.decision == "predict":
            return self.model.predict(frame).astype(self._classes.dtype, copy=False)
        if self._output.decision == "threshold":
            positive = self._positive
            reached = probabilities[:, positive] >= self._output.threshold
            chosen = reached.view(np.int8) if positive == 1 else 1 - reached.view(np.int8)
        else:
            chosen = probabilities.argmax(axis=1)
        labels: Array = self._classes.take(chosen)
        return labels

    def check_golden(self) -> list[Check]:
        """Predict the golden rows and compare; this also warms every code path of a request.

        Returns:
            One check an output, with the largest absolute difference (for labels: the number that differ).
        """
        golden = self.bundle.golden
        prediction = self.predict(self.golden_frame())
        return [
            _compare(name, _array(expected, name), _part(prediction, name), golden.tolerance)
            for name, expected in golden.outputs.items()
        ]

    def golden_frame(self) -> Frame:
        """Check the golden rows against the contract.

        Raises:
            GoldenMismatch: They break the bundle's own contract.
        """
        try:
            return self.contract.frame(self.bundle.golden.rows)
        except ContractError as error:
            raise GoldenMismatch(f"golden rows break the bundle's own contract: {error}") from error


def _part(prediction: Prediction, name: str) -> Array | None:
    return {"label": prediction.labels, "probabilities": prediction.probabilities, "value": prediction.values}[name]


def _array(recorded: list[Any], name: str) -> Array | None:
    try:
        return np.array(recorded, dtype=object if name == "label" else np.float64)
    except (TypeError, ValueError):  # not numbers, or rows of unequal length
        return None


def _compare(name: str, expected: Array | None, actual: Array | None, tolerance: float) -> Check:
    if actual is None or expected is None or expected.shape != actual.shape:
        return Check(f"golden {name}", Status.FAIL, text="the model gives no such output, or in another shape")
    if name == "label":
        wrong = int(np.sum(expected != actual.astype(object)))
        return Check(f"golden {name}", Status.FAIL if wrong else Status.PASS, wrong, 0.0, "labels that differ")
    difference = float(np.max(np.abs(expected - actual)))
    status = Status.PASS if difference <= tolerance else Status.FAIL
    return Check(f"golden {name}", status, difference, tolerance, "largest absolute difference")


def _checked(prediction: Prediction, n_rows: int) -> Prediction:
    if len(prediction) != n_rows:
        raise BugError(f"the pipeline answered {len(prediction)} rows for {n_rows}")
    for numbers in (prediction.probabilities, prediction.values):
        # A sum is cheaper to look at; one that overflows proves nothing.
        if numbers is not None and not math.isfinite(numbers.sum()) and not np.isfinite(numbers).all():
            raise BugError("the pipeline answered a number that is not finite")
    return prediction


def _label_array(output: Output) -> Array:
    if output.classes and all(isinstance(label, int) for label in output.classes):
        return np.array(output.classes, dtype=np.int64)
    return np.array(output.classes, dtype=object)


def _check_fits(pipeline: Any, contract: Contract) -> None:
    names = getattr(pipeline, "feature_names_in_", None)
    if names is not None and tuple(names) != contract.names:
        difference = _difference(names, contract.names)
        raise BundleIncompatible(f"the pipeline's features differ from the contract's: {difference}")
    count = getattr(pipeline, "n_features_in_", len(contract.names))
    if count != len(contract.names):
        raise BundleIncompatible(f"the pipeline takes {count} features, the contract has {len(contract.names)}")
    classes = getattr(pipeline, "classes_", None)
    if contract.output.task == "classification" and classes is not None:
        labels = tuple(np.asarray(classes).tolist())
        if labels != contract.output.classes:
            raise BundleIncompatible("the pipeline's classes, or their order, differ from the contract's")


def _difference(pipeline: Any, contract: tuple[str, ...]) -> str:
    missing = [name for name in pipeline if name not in contract]
    extra = [name for name in contract if name not in set(pipeline)]
    if missing or extra:
        return f"only in the pipeline: {missing}; only in the contract: {extra}"
    return f"same names in another order; the pipeline's order is {list(pipeline)}"


def _use_one_job(pipeline: Any) -> None:
    # A request is small: joblib's worker hand-over costs more than it saves, and replicas use the other cores.
    parameters = pipeline.get_params(deep=True) if hasattr(pipeline, "get_params") else {}
    jobs = {name: 1 for name, value in parameters.items() if name.split("__")[-1] == "n_jobs" and value != 1}
    if jobs:
        pipeline.set_params(**jobs)
