"""Models: a fitted estimator, with or without a pipeline around it, as a kernel; dispatch by class.

What is not known here is left to the fitted estimator itself, called on the columns that compiled steps made.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from model_server.compiled import linear, trees
from model_server.compiled.calibrated import calibrated
from model_server.compiled.histogram import histogram
from model_server.compiled.inputs import Array, Given, Inputs, matrix_of
from model_server.compiled.kernel import Kernel, Method
from model_server.compiled.steps import Steps, table
from model_server.parity.unforeseen import Unforeseen

if TYPE_CHECKING:
    from collections.abc import Sequence

Maker = Callable[[Any, Given], Kernel]


def compile_model(estimator: Any, given: Given) -> Kernel:
    """Compile a fitted estimator.

    Args:
        estimator: A Pipeline or a bare estimator.
        given: What it is given.

    Returns:
        Its kernel.

    Raises:
        Unforeseen: Neither can it be compiled nor called on plain columns.
    """
    if type(estimator).__module__.startswith("sklearn."):
        kind = type(estimator).__name__
        if kind == "Pipeline":
            return _pipeline(estimator, given)
        if kind in _MAKERS:
            try:
                return _MAKERS[kind](estimator, given)
            except Unforeseen:
                pass
    return _as_it_is(estimator, given)


def _pipeline(pipeline: Any, given: Given) -> Kernel:
    *before, last = [step for _, step in pipeline.steps]
    steps = Steps(before, given)
    return compile_model(last, steps.given).after(steps, tuple(steps.left))


def _as_it_is(estimator: Any, given: Given) -> Kernel:
    kind = type(estimator).__name__
    names: Sequence[str] | None = getattr(estimator, "feature_names_in_", None)
    if (names is not None) != given.named or (names is None and any(given.texts)):
        raise Unforeseen(f"{kind} is not known here, and takes no plain columns")

    def laid_out(inputs: Inputs) -> Any:
        return matrix_of(inputs) if names is None else table(names, inputs)

    def asked(name: str) -> Method | None:
        method = getattr(estimator, name, None)
        return None if method is None else lambda inputs: np.asarray(method(laid_out(inputs)))

    def predict(inputs: Inputs) -> Array:
        return np.asarray(estimator.predict(laid_out(inputs)))

    return Kernel(predict, asked("predict_proba"), asked("decision_function"), left=(kind,), neighbours_matter=True)


def _calibrated(estimator: Any, given: Given) -> Kernel:
    return calibrated(estimator, given, compile_model)


_MAKERS: dict[str, Maker] = {
    "CalibratedClassifierCV": _calibrated,
    **dict.fromkeys((*linear.LOGISTIC, *linear.SCORED), linear.classifier),
    **dict.fromkeys(linear.REGRESSIONS, linear.regression),
    **dict.fromkeys(("GradientBoostingClassifier", "GradientBoostingRegressor"), trees.boosted),
    **dict.fromkeys(("HistGradientBoostingClassifier", "HistGradientBoostingRegressor"), histogram),
    **dict.fromkeys(
        (
            *("RandomForestClassifier", "RandomForestRegressor", "ExtraTreesClassifier", "ExtraTreesRegressor"),
            *("DecisionTreeClassifier", "DecisionTreeRegressor", "ExtraTreeClassifier", "ExtraTreeRegressor"),
        ),
        trees.forest,
    ),
}
