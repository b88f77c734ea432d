"""Admission: rows that keep every rule, checked all at once; knows no errors, and leaves what it cannot admit.

Nearly every request is right, so the happy path is one pass over its numbers: they are packed as doubles, which refuses
texts, null and anything that is no number, and compared with the bounds of their columns as one matrix. What is left is
true and false, which count as numbers in Python: they can only hide where a 1 or a 0 came out.
"""

from __future__ import annotations

import math
import struct
from itertools import starmap
from operator import itemgetter
from types import NoneType
from typing import TYPE_CHECKING, Any

import numpy as np

from model_server.columns import EXACT_INT, LARGEST_FLOAT
from model_server.frame import Frame, Matrix

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from model_server.feature import Feature
    from model_server.frame import Column

Array = np.ndarray[Any, Any]
_EDGE = {"float": LARGEST_FLOAT, "int": float(EXACT_INT), "bool": 1.0}
_NUMBERS: frozenset[type] = frozenset({float, int, NoneType})
_TRUTH: frozenset[type] = frozenset({bool, NoneType})
#: So few rows are asked for their types at once; it is cheaper than to look for ones and noughts first.
FEW_ROWS = 4


class Admission:
    """The rules of some features, laid out for whole matrices."""

    def __init__(self, features: Sequence[Feature]) -> None:
        """Lay the rules out.

        Args:
            features: Of the contract, in its order.
        """
        self._features = features
        self._names = tuple(feature.name for feature in features)
        self._dtypes = tuple(feature.dtype for feature in features)
        self._numbers = [place for place, feature in enumerate(features) if feature.dtype != "string"]
        self._texts = [place for place, feature in enumerate(features) if feature.dtype == "string"]
        self._pack = struct.Struct(f"{len(self._numbers)}d").pack
        self._rules = _Rules([features[place] for place in self._numbers])
        self._of_list = _picker(self._numbers) if self._texts else None
        self._of_object = _picker([self._names[place] for place in self._numbers])

    def rows(self, rows: Sequence[Any]) -> Frame | None:
        """Admit rows of JSON values.

        Args:
            rows: N rows, all lists in the order of the features, or all objects with their names as keys.

        Returns:
            The frame; None when something is not admitted, or is of a kind that is looked at one by one.
        """
        kinds = set(map(type, rows))
        if kinds == {list}:
            keys: Sequence[Any] = range(len(self._names))
            picker = self._of_list
        elif kinds == {dict}:
            keys, picker = self._names, self._of_object
        else:
            return None
        try:
            if set(map(len, rows)) != {len(keys)}:
                return None
            numbers: Sequence[Any] = rows if picker is None else list(map(picker, rows))
            texts = [self._text(self._features[at], [row[keys[at]] for row in rows]) for at in self._texts]
            matrix = self._matrix(numbers)
        except (struct.error, KeyError, TypeError):
            return None
        if matrix is None or not self._rules.types(numbers, matrix) or any(column is None for column in texts):
            return None
        return self._frame(matrix, texts)

    def matrix(self, matrix: Matrix) -> Frame | None:
        """Admit binary data, NaN = missing.

        Args:
            matrix: float64 [N, F]; there are no texts among the features.

        Returns:
            The frame, which holds the matrix itself; None when something is not admitted.
        """
        return self._frame(matrix, []) if self._rules.admit(matrix, may_miss=True) else None

    def columns(self, columns: Mapping[str, Sequence[object] | Array], n_rows: int) -> Frame | None:
        """Admit named columns of N values: JSON values in lists, or binary data in arrays, NaN = missing.

        Args:
            columns: One for each feature, all of one length.
            n_rows: N.

        Returns:
            The frame; None when something is not admitted, or is of a kind that is looked at one by one.
        """
        matrix = np.empty((n_rows, len(self._numbers)))
        try:
            filled = all(self._rules.fill(matrix, at, columns[self._names[p]]) for at, p in enumerate(self._numbers))
            texts = [self._text_column(place, columns[self._names[place]]) for place in self._texts] if filled else []
        except (OverflowError, TypeError):
            return None
        if not filled or any(column is None for column in texts) or not self._rules.admit(matrix, may_miss=True):
            return None
        return self._frame(matrix, texts)

    def _text_column(self, place: int, values: Sequence[object] | Array) -> Column | None:
        if not isinstance(values, np.ndarray):
            return self._text(self._features[place], list(values))
        return self._text(self._features[place], values.tolist()) if values.dtype.kind in "OU" else None

    def _matrix(self, numbers: Sequence[Any]) -> Matrix | None:
        """Pack numbers; None when they break a rule."""
        if not self._numbers:
            return np.empty((len(numbers), 0))
        may_miss = False
        try:
            packed = bytearray().join(starmap(self._pack, numbers))
        except struct.error:
            if not self._rules.may_miss:
                raise
            may_miss = True
            packed = bytearray().join(starmap(self._pack, map(_null_as_nan, numbers)))
        matrix = np.frombuffer(packed).reshape(len(numbers), len(self._numbers))
        if may_miss and np.count_nonzero(np.isnan(matrix)) != sum(row.count(None) for row in numbers):
            return None  # a NaN that was no null
        return matrix if self._rules.admit(matrix, may_miss=may_miss) else None

    @staticmethod
    def _text(feature: Feature, values: list[Any]) -> Column | None:
        if not feature.admits_texts(values):
            return None
        column = np.empty(len(values), dtype=object)
        column[:] = values
        return column

    def _frame(self, matrix: Matrix, texts: Sequence[Column | None]) -> Frame:
        warned = self._rules.warned(matrix)
        if not self._texts:
            return Frame(self._names, self._dtypes, len(matrix), matrix=matrix, warned=warned)
        found: dict[int, Any] = dict(zip(self._texts, texts, strict=True))
        for at, place in enumerate(self._numbers):
            found[place] = self._rules.column(matrix, at)
        columns = {name: found[place] for place, name in enumerate(self._names)}
        return Frame(self._names, self._dtypes, len(matrix), columns=columns, warned=warned)


class _Rules:
    """The rules of C number columns."""

    def __init__(self, features: Sequence[Feature]) -> None:
        self._names = [feature.name for feature in features]
        self._dtypes = [feature.dtype for feature in features]
        strict = [feature.out_of_bounds == "reject" for feature in features]
        bounds = [feature.bounds for feature in features]
        edges = [_EDGE[dtype] for dtype in self._dtypes]
        lowest = [0.0 if dtype == "bool" else -_EDGE[dtype] for dtype in self._dtypes]
        self._low = np.array([max(b[0], e) if s else e for b, e, s in zip(bounds, lowest, strict, strict=True)])
        self._high = np.array([min(b[1], e) if s else e for b, e, s in zip(bounds, edges, strict, strict=True)])
        self._fractional = np.array([dtype == "float" for dtype in self._dtypes], dtype=bool)
        self._has_whole = not self._fractional.all()
        self._nullable = np.array([feature.nullable for feature in features], dtype=bool)
        self.may_miss = bool(self._nullable.any())
        self._bools = [dtype == "bool" for dtype in self._dtypes]
        self._has_bools = any(self._bools)
        warns = [not s and b != (-math.inf, math.inf) for b, s in zip(bounds, strict, strict=True)]
        self._warn = np.array(bounds).T if any(warns) else None
        self._warns = np.array(warns, dtype=bool)
        self._casts = [_cast(feature) for feature in features]

    def admit(self, matrix: Matrix, *, may_miss: bool) -> bool:
        """Say whether every number keeps its rule; NaN is a missing value, or none."""
        good = (matrix >= self._low) & (matrix <= self._high)
        if self._has_whole:
            good &= (matrix == np.floor(matrix)) | self._fractional
        if may_miss and self.may_miss:
            good |= np.isnan(matrix) & self._nullable
        return b"\0" not in good.tobytes()  # all(), without its microsecond of Python

    def types(self, numbers: Sequence[Any], matrix: Matrix) -> bool:
        """Say whether true and false stand in their own columns and nowhere else."""
        if self._has_bools:
            patterns = {tuple(map(type, row)) for row in numbers}
            return all(map(self._fits, patterns))
        if len(numbers) > FEW_ROWS:
            hiding = ((matrix == 0) | (matrix == 1)).any(axis=1)
            numbers = [numbers[row] for row in np.flatnonzero(hiding).tolist()]
        return not any(bool in map(type, row) for row in numbers)

    def _fits(self, pattern: tuple[type, ...]) -> bool:
        pairs = zip(pattern, self._bools, strict=True)
        return all((kind is bool) == wanted or kind is NoneType for kind, wanted in pairs)

    def fill(self, matrix: Matrix, at: int, values: Sequence[object] | Array) -> bool:
        """Put N values into a column of a matrix, unless their type is none that the column takes without a look."""
        dtype = self._dtypes[at]
        if isinstance(values, np.ndarray):
            kind = values.dtype.kind
            matrix[:, at] = values if kind in "fiub" else np.nan
            if kind in "iu":  # an integer that is no float would turn into another one
                return bool((np.abs(matrix[:, at]) <= EXACT_INT).all())
            return kind == "f" or (kind == "b" and dtype == "bool")
        kinds = set(map(type, values))
        if not kinds <= (_TRUTH if dtype == "bool" else _NUMBERS):
            return False
        matrix[:, at] = np.array(values, dtype=np.float64)
        nulls = sum(value is None for value in values) if NoneType in kinds else 0
        return bool(np.count_nonzero(np.isnan(matrix[:, at])) == nulls)  # NaN cannot be written in JSON

    def warned(self, matrix: Matrix) -> dict[str, int]:
        """Count the numbers outside bounds that only warn."""
        if self._warn is None:
            return {}
        outside = ((matrix < self._warn[0]) | (matrix > self._warn[1])) & self._warns
        if not outside.any():
            return {}
        counts = outside.sum(axis=0).tolist()
        return {name: count for name, count in zip(self._names, counts, strict=True) if count}

    def column(self, matrix: Matrix, at: int) -> Column:
        """Give one column in the type that frames declare."""
        cast = self._casts[at]
        return matrix[:, at] if cast is None else matrix[:, at].astype(cast)


def _cast(feature: Feature) -> Any:
    return None if feature.nullable else {"int": np.int64, "bool": np.bool_}.get(feature.dtype)


def _null_as_nan(row: Iterable[Any]) -> list[Any]:
    return [math.nan if value is None else value for value in row]


def _picker(keys: Sequence[Any]) -> Callable[[Any], tuple[Any, ...]]:
    if len(keys) > 1:
        return itemgetter(*keys)
    return lambda row: tuple(row[key] for key in keys)
