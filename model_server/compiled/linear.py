"""Linear: linear and logistic models as one matrix product.

The product is scikit-learn's own, of the same arrays, but the last bit of a sum in BLAS depends on how many rows are
summed at once and on how they lie in memory. So these kernels are held to 1e-12 and not to the same bits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from model_server.compiled.inputs import Array, Inputs, matrix_of
from model_server.compiled.kernel import Kernel, Method, softmax, two_columns
from model_server.parity.unforeseen import Unforeseen

if TYPE_CHECKING:
    from model_server.compiled.inputs import Given

LOGISTIC = ("LogisticRegression", "LogisticRegressionCV")
#: Classifiers that answer labels by their scores; SGDClassifier also answers probabilities where its loss has them.
SCORED = (
    *("SGDClassifier", "LinearSVC", "RidgeClassifier", "RidgeClassifierCV"),
    *("Perceptron", "PassiveAggressiveClassifier"),
)
REGRESSIONS = (
    *("LinearRegression", "Ridge", "RidgeCV", "Lasso", "LassoCV", "ElasticNet", "ElasticNetCV", "Lars", "LassoLars"),
    *("BayesianRidge", "ARDRegression", "HuberRegressor", "TheilSenRegressor", "QuantileRegressor", "SGDRegressor"),
    *("PassiveAggressiveRegressor", "LinearSVR", "OrthogonalMatchingPursuit", "LassoLarsIC"),
)


def regression(estimator: Any, given: Given) -> Kernel:
    """Compile a linear regression."""
    return Kernel(_scores(estimator, given), blas=(type(estimator).__name__,))


def classifier(estimator: Any, given: Given) -> Kernel:
    """Compile a linear classifier.

    Raises:
        Unforeseen: It answers several labels a row, or probabilities by a rule that is not repeated here.
    """
    classes = np.asarray(estimator.classes_)
    if len(estimator.coef_) != (1 if len(classes) == 2 else len(classes)):
        raise Unforeseen("several labels a row")
    scores = _scores(estimator, given)
    return Kernel(
        predict=_labels(scores, classes),
        predict_proba=_probabilities(estimator, scores),
        decision_function=scores,
        blas=(type(estimator).__name__,),
    )


def _scores(estimator: Any, given: Given) -> Method:
    given.require_numbers()
    weights, intercept = np.asarray(estimator.coef_), estimator.intercept_
    if weights.dtype != np.float64:
        raise Unforeseen("weights that are not float64")
    across, name = weights.T, type(estimator).__name__
    is_flat = hasattr(estimator, "classes_") or type(estimator).__name__ == "SGDRegressor"

    def scores(inputs: Inputs) -> Array:
        found: Array = matrix_of(inputs) @ across + intercept
        if not np.isfinite(found).all():
            raise Unforeseen(f"a value reaches {name} that it refuses")
        return found.reshape(-1) if is_flat and found.ndim > 1 and found.shape[1] == 1 else found

    return scores


def _labels(scores: Method, classes: Array) -> Method:
    def labels(inputs: Inputs) -> Array:
        found = scores(inputs)
        places = (found > 0).astype(np.intp) if found.ndim == 1 else found.argmax(axis=1)
        answer: Array = classes.take(places, axis=0)
        return answer

    return labels


def _probabilities(estimator: Any, scores: Method) -> Method | None:
    kind = type(estimator).__name__
    if kind not in LOGISTIC and not hasattr(estimator, "predict_proba"):
        return None
    if len(estimator.classes_) > 2:
        if kind not in LOGISTIC:
            raise Unforeseen("probabilities of several classes, each against the rest")
        return lambda inputs: softmax(scores(inputs))
    if kind not in LOGISTIC and estimator.loss != "log_loss":
        raise Unforeseen(f"probabilities of loss={estimator.loss!r}")
    from scipy.special import expit

    return lambda inputs: two_columns(expit(scores(inputs)))
