"""Scaling: scalers and imputers of scikit-learn in plain numpy.

It is scikit-learn's own, operation for operation, so that the last bit agrees.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from model_server.compiled.inputs import Array, Inputs, columns_of, matrix_of
from model_server.parity.unforeseen import Unforeseen

if TYPE_CHECKING:
    from model_server.compiled.inputs import Given, Step


def standard_scaler(step: Any, given: Given) -> Step:
    """Compile a StandardScaler."""
    return _scaler(step.mean_ if step.with_mean else None, step.scale_ if step.with_std else None, given)


def robust_scaler(step: Any, given: Given) -> Step:
    """Compile a RobustScaler."""
    return _scaler(step.center_ if step.with_centering else None, step.scale_ if step.with_scaling else None, given)


def _scaler(center: Array | None, scale: Array | None, given: Given) -> Step:
    given.require_numbers()

    def scaled(inputs: Inputs) -> Inputs:
        matrix = matrix_of(inputs)
        if center is None:
            return matrix if scale is None else matrix / scale
        matrix = matrix - center
        return matrix if scale is None else np.divide(matrix, scale, out=matrix)

    return scaled


def max_abs_scaler(step: Any, given: Given) -> Step:
    """Compile a MaxAbsScaler."""
    given.require_numbers()
    scale, clip = step.scale_, step.clip

    def scaled(inputs: Inputs) -> Inputs:
        matrix: Array = matrix_of(inputs) / scale
        return np.clip(matrix, -1.0, 1.0, out=matrix) if clip else matrix

    return scaled


def min_max_scaler(step: Any, given: Given) -> Step:
    """Compile a MinMaxScaler."""
    given.require_numbers()
    scale, least, clip = step.scale_, step.min_, step.feature_range if step.clip else None

    def scaled(inputs: Inputs) -> Inputs:
        matrix: Array = matrix_of(inputs) * scale
        matrix += least
        return matrix if clip is None else np.clip(matrix, *clip, out=matrix)

    return scaled


def simple_imputer(step: Any, given: Given) -> Step:
    """Compile a SimpleImputer.

    Raises:
        Unforeseen: It marks missing values in a way that frames do not.
    """
    if all(given.texts):
        return _text_imputer(step)
    given.require_numbers()
    if not _is_nan(step.missing_values):
        raise Unforeseen("another mark than NaN for missing values")
    statistics = np.asarray(step.statistics_, dtype=np.float64)
    kept = np.arange(len(statistics)) if step.keep_empty_features else np.flatnonzero(~np.isnan(statistics))
    statistics = statistics[kept]
    keeps_all = len(kept) == given.width
    marked = step.indicator_.features_ if step.add_indicator else None

    def imputed(inputs: Inputs) -> Inputs:
        matrix = matrix_of(inputs)
        missing = np.isnan(matrix)
        filled = matrix if keeps_all else matrix[:, kept]
        if missing.any():
            filled = np.where(missing if keeps_all else missing[:, kept], statistics, filled)
        return filled if marked is None else np.hstack([filled, missing[:, marked]])

    return imputed


def _text_imputer(step: Any) -> Step:
    if step.add_indicator or (step.missing_values is not None and not _is_nan(step.missing_values)):
        raise Unforeseen("indicators of missing texts, or another mark for them")
    fillings = step.statistics_.tolist()
    if not all(isinstance(filling, str) for filling in fillings):
        raise Unforeseen("a column that is filled with no text")
    if step.missing_values is not None:  # in a text column a missing value is None, which is not NaN to scikit-learn
        return lambda inputs: inputs

    def imputed(inputs: Inputs) -> Inputs:
        return [_filled(column, filling) for column, filling in zip(columns_of(inputs), fillings, strict=True)]

    return imputed


def _filled(column: Array, filling: str) -> Array:
    filled = column.copy()
    filled[[value is None for value in column]] = filling
    return filled


def _is_nan(value: Any) -> bool:
    return isinstance(value, float) and np.isnan(value)
