"""Substitution: real rows with some of their values replaced."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from model_server.frame import Frame

if TYPE_CHECKING:
    from collections.abc import Sequence

    from model_server.predictor import Array


class Substitution:
    """M copies of rows, each with one place to put a value in."""

    def __init__(self, base: Frame, features: Sequence[int] | Array, turns: Array | None = None) -> None:
        """Copy rows.

        Args:
            base: Real rows; copies take them in turn.
            features: Shape [M], the feature that each copy replaces.
            turns: Shape [M], whose turn it is; left out: one after the other.
        """
        self.features = np.asarray(features, dtype=np.int64)
        turns = np.arange(len(self.features)) if turns is None else turns
        self._taken = base.take((turns % base.n_rows).tolist())
        self._matrix = None if base.matrix is None else np.array(self._taken.matrix)
        self._columns = {name: column.copy() for name, column in self._taken.columns.items()}
        replaced = np.unique(self.features).tolist() if self._matrix is None else []
        self._places = [(base.names[index], np.flatnonzero(self.features == index)) for index in replaced]

    def put(self, values: Sequence[Any] | Array) -> Frame:
        """Replace the M values, None = missing; the frame is valid until the next call."""
        if self._matrix is not None:
            numbers = np.array(values, dtype=np.float64)
            self._matrix[np.arange(len(self.features)), self.features] = numbers
            return Frame(self._taken.names, self._taken.dtypes, len(self.features), matrix=self._matrix)
        given = np.asarray(values, dtype=object) if isinstance(values, list) else np.asarray(values)
        for name, places in self._places:
            column = self._columns[name]
            column[places] = _missing_as_nan(given[places]) if column.dtype.kind == "f" else given[places]
        return Frame(self._taken.names, self._taken.dtypes, len(self.features), columns=self._columns)


def _missing_as_nan(values: Array) -> Array:
    return values if values.dtype.kind != "O" else np.array(values.tolist(), dtype=np.float64)
