"""Calibrated: a CalibratedClassifierCV as the mean of its calibrated members."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from model_server.compiled.inputs import Array, Inputs
from model_server.compiled.kernel import Kernel, Method
from model_server.parity.unforeseen import Unforeseen

if TYPE_CHECKING:
    from model_server.compiled.inputs import Given

Compile = Callable[[Any, "Given"], Kernel]
Curve = Callable[[Array], Array]


def calibrated(estimator: Any, given: Given, compile_model: Compile) -> Kernel:
    """Compile a calibrated classifier.

    Args:
        estimator: A fitted CalibratedClassifierCV.
        given: What it is given.
        compile_model: Compiles the classifiers inside.

    Raises:
        Unforeseen: It calibrates in a way that is not known here.
    """
    classes = np.asarray(estimator.classes_)
    members = [_member(member, given, compile_model) for member in estimator.calibrated_classifiers_]
    asks = [ask for ask, _ in members]

    def probabilities(inputs: Inputs) -> Array:
        total = asks[0](inputs)
        for ask in asks[1:]:
            total += ask(inputs)
        total /= len(asks)
        return total

    kernels = [kernel for _, kernel in members]
    return Kernel(
        predict=lambda inputs: classes[probabilities(inputs).argmax(axis=1)],
        predict_proba=probabilities,
        splits=tuple(some for kernel in kernels for some in kernel.splits),
        blas=tuple(dict.fromkeys(name for kernel in kernels for name in kernel.blas)),
        left=tuple(dict.fromkeys(name for kernel in kernels for name in kernel.left)),
        neighbours_matter=any(kernel.neighbours_matter for kernel in kernels),
    )


def _member(member: Any, given: Given, compile_model: Compile) -> tuple[Method, Kernel]:
    if member.method not in ("sigmoid", "isotonic"):
        raise Unforeseen(f"calibration by {member.method}")
    if not np.array_equal(member.classes, member.estimator.classes_):
        raise Unforeseen("a fold without some of the classes")
    kernel = compile_model(member.estimator, given)
    scores = _scores(kernel, len(member.classes))
    curves = [_curve(calibrator) for calibrator in member.calibrators]
    return _binary(scores, curves[0]) if len(member.classes) == 2 else _several(scores, curves), kernel


def _scores(kernel: Kernel, n_classes: int) -> Method:
    """Give what was calibrated, float64 [N, 1] or [N, K]: the decision function, else the probabilities."""
    decide = kernel.decision_function
    if decide is not None:
        return lambda inputs: decide(inputs).reshape(-1, 1 if n_classes == 2 else n_classes)
    probable = cast("Method", kernel.predict_proba)  # what was calibrated has one of the two
    return (lambda inputs: probable(inputs)[:, 1:]) if n_classes == 2 else probable


def _binary(scores: Method, curve: Curve) -> Method:
    def probabilities(inputs: Inputs) -> Array:
        positive = curve(scores(inputs)[:, 0])
        return _at_most_one(np.stack([1.0 - positive, positive], axis=1))

    return probabilities


def _several(scores: Method, curves: list[Curve]) -> Method:
    def probabilities(inputs: Inputs) -> Array:
        found = scores(inputs)
        each = np.zeros((len(found), len(curves)))
        for place, curve in enumerate(curves):
            each[:, place] = curve(found[:, place])
        total = np.sum(each, axis=1)[:, np.newaxis]
        alike = np.full_like(each, 1 / len(curves))
        return _at_most_one(np.divide(each, total, out=alike, where=total != 0))

    return probabilities


def _at_most_one(probabilities: Array) -> Array:
    over = (probabilities > 1.0) & (probabilities <= 1.0 + 1e-5)
    if over.any():
        probabilities[over] = 1.0
    return probabilities


def _curve(calibrator: Any) -> Curve:
    from scipy.special import expit

    if hasattr(calibrator, "a_"):
        slope, intercept = calibrator.a_, calibrator.b_
        return lambda scores: expit(-(slope * scores + intercept))
    low, high = calibrator.X_min_, calibrator.X_max_
    x, y = calibrator.X_thresholds_, calibrator.y_thresholds_
    if calibrator.out_of_bounds != "clip" or x.dtype != np.float64:
        raise Unforeseen("an isotonic calibration of another form")
    return lambda scores: np.interp(np.clip(scores, low, high), x, y)
