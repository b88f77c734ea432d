"""Encoders: categories -> numbers, by a lookup table that scikit-learn's own encoder filled in.

An encoder has many rules: dropped, rare, missing and unknown categories. None of them is repeated here. When a model is
loaded, the fitted encoder is asked once for each of its categories, for a missing and for an unknown value; from then
on its answers are looked up. Where it refuses a value or warns of it, that value is left to it.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from model_server.compiled.inputs import Array, Inputs, columns_of, plain, row_count
from model_server.parity.probes import UNKNOWN_TEXT
from model_server.parity.unforeseen import Unforeseen

if TYPE_CHECKING:
    from collections.abc import Sequence

    from model_server.compiled.inputs import Given, Step


def encoder(step: Any, given: Given) -> Step:
    """Compile an encoder of scikit-learn that has one list of categories a column.

    Raises:
        Unforeseen: Its tables are no fit for this.
    """
    learnt = _learnt(step, given)
    width = sum(column.rows.shape[1] for column in learnt)

    def encoded(inputs: Inputs) -> Inputs:
        result, start = np.empty((row_count(inputs), width)), 0
        for column, values in zip(learnt, columns_of(inputs), strict=True):
            end = start + column.rows.shape[1]
            result[:, start:end] = column.encode(values)
            start = end
        return result

    return encoded


class _Places(dict[Any, int]):
    """Row of the table that stands for a value."""

    nan: int | None = None
    unknown: int | None = None

    def __missing__(self, value: Any) -> int:
        place = self.nan if value != value and self.nan is not None else self.unknown  # noqa: PLR0124 - is it NaN?
        if place is None:
            raise Unforeseen("a category that the encoder refuses or warns of")
        return place


class _Column:
    """The table of one column."""

    def __init__(self, values: Sequence[Any], rows: Array) -> None:
        """Fill the table: what the encoder makes of each value, float64 [R, width]."""
        self.rows = rows
        self._places = _Places({value: row for row, value in enumerate(values) if value == value})  # noqa: PLR0124
        self._places.nan = next((row for row, value in enumerate(values) if value != value), None)  # noqa: PLR0124

    def add(self, value: Any, row: Array, *, stands_for_all: bool) -> None:
        """Add a value that is no category, float64 [1, width]; it may stand for all unknown ones."""
        place = len(self.rows)
        self.rows = np.concatenate([self.rows, row])
        if stands_for_all:
            self._places.unknown = place
        elif value is None:
            self._places[None] = place
        else:
            self._places.nan = place

    def encode(self, values: Array) -> Array:
        """Look up N values; float64 [N, width]."""
        places = list(map(self._places.__getitem__, values.tolist()))
        return self.rows.take(places, axis=0)


def _learnt(step: Any, given: Given) -> list[_Column]:
    """Ask the encoder for all categories at once, then for what is none of them."""
    known = [categories.tolist() for categories in step.categories_]
    spans, most = _spans(step), max(map(len, known))
    answer = _encoded(step, [[values[row % len(values)] for row in range(most)] for values in known], given)
    columns = [_Column(values, answer[: len(values), span]) for values, span in zip(known, spans, strict=True)]
    # An encoder told to refuse what is unknown also refuses a missing value that is no category.
    if getattr(step, "handle_unknown", "ignore") != "error":
        for place, span in enumerate(spans):
            for value, stands_for_all in _others(known[place], step.categories_[place], is_text=given.texts[place]):
                row = _asked(step, place, value, given)
                if row is not None:
                    columns[place].add(value, row[:, span], stands_for_all=stands_for_all)
    return columns


def _asked(step: Any, place: int, value: Any, given: Given) -> Array | None:
    """Ask for one value of one column, beside any categories in the others; None when it is refused or warned of."""
    values = [[value if index == place else some[0]] for index, some in enumerate(step.categories_)]
    try:
        return _encoded(step, values, given)
    except (ValueError, TypeError, Unforeseen):
        return None


def _spans(step: Any) -> list[slice]:
    widths = getattr(step, "_n_features_outs", None)
    if widths is None:  # an ordinal code is one column, a target encoder gives one a class of several
        several = getattr(step, "target_type_", "") == "multiclass"
        widths = [len(step.classes_) if several else 1] * len(step.categories_)
    ends = np.cumsum(widths).tolist()
    return [slice(end - int(width), end) for end, width in zip(ends, widths, strict=True)]


def _encoded(step: Any, values: Sequence[Sequence[Any]], given: Given) -> Array:
    columns = [
        np.array(list(some), dtype=_dtype(categories, given, index))
        for index, (some, categories) in enumerate(zip(values, step.categories_, strict=True))
    ]
    # Recorded and not raised: filters are the whole process's, and requests may be answered beside a reload.
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        answer = plain(step.transform(_table(step, columns, given)))
    if told or isinstance(answer, list):
        raise Unforeseen("an encoder warns, or gives out objects")
    return answer


def _dtype(categories: Array, given: Given, place: int) -> Any:
    if given.texts[place] or categories.dtype.kind == "O":  # numbers among objects, where tables of both are joined
        return object
    return np.float64 if categories.dtype.kind not in "ib" else categories.dtype


def _table(step: Any, columns: list[Array], given: Given) -> Any:
    if not given.named:
        return np.column_stack([column.astype(object) for column in columns] if any(given.texts) else columns)
    import pandas as pd  # heavy, and imported already where a pipeline takes tables

    return pd.DataFrame(dict(zip(step.feature_names_in_, columns, strict=True)))


def _others(known: Sequence[Any], categories: Array, *, is_text: bool) -> list[tuple[Any, bool]]:
    """Give an unknown value, which stands for all others, and a missing one, as far as they are no categories."""
    if is_text:
        return [(value, value is not None) for value in (UNKNOWN_TEXT, None) if value not in known]
    if categories.dtype.kind == "b":
        return [(value, True) for value in (False, True) if value not in known]
    present = [float(value) for value in known if value == value]  # noqa: PLR0124 - is it NaN?
    others = [(max(present, default=0.0) + 1.0, True)]
    takes_nan = categories.dtype.kind != "i" and len(present) == len(known)
    return [*others, (float("nan"), False)] if takes_nan else others
