"""Frame: rows that passed the contract, as typed columns; knows their layout, not how they were checked.

Training and serving hand the very same frames to a pipeline, so their inputs cannot diverge.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from model_server.errors import BugError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd

Dtype = Literal["float", "int", "bool", "string"]
Matrix = np.ndarray[tuple[int, int], np.dtype[np.float64]]
Column = np.ndarray[tuple[int], np.dtype[Any]]


# Not frozen: docs/decisions.md, 33.
@dataclass(slots=True, eq=False)
class Frame:
    """Checked rows of one contract.

    Attributes:
        names: Feature names in contract order, F of them.
        dtypes: The declared type of each feature.
        n_rows: N, at least 1.
        matrix: float64 of shape [N, F], columns in contract order, NaN = missing; None when a feature is a string.
        columns: One array of shape [N] a feature, in contract order; filled when ``matrix`` is None. float64 for
            ``float`` (NaN = missing), int64 for ``int`` (float64 when nullable), bool for ``bool`` (float64 when
            nullable), object for ``string`` (None = missing).
        warned: How many values of each feature lay outside bounds that only warn.
    """

    names: tuple[str, ...]
    dtypes: tuple[Dtype, ...]
    n_rows: int
    matrix: Matrix | None = None
    columns: Mapping[str, Column] = field(default_factory=dict)
    warned: Mapping[str, int] = field(default_factory=dict)

    def as_matrix(self) -> Matrix:
        """Give the frame as one matrix.

        Returns:
            float64 of shape [N, F], not a copy.

        Raises:
            BugError: The contract has string features, so there is no such matrix.
        """
        if self.matrix is None:
            raise BugError("a frame with string features has no matrix; use as_dataframe()")
        return self.matrix

    def as_dataframe(self) -> pd.DataFrame:
        """Give the frame as a pandas table.

        Returns:
            N rows and one column a feature, named and ordered as in the frame; typed as ``columns`` when a feature is a
            string, else float64 throughout.
        """
        import pandas as pd  # heavy; only pipelines that select columns by name need it

        if self.matrix is not None:
            return pd.DataFrame(self.matrix, columns=list(self.names), copy=False)
        return pd.DataFrame({name: self.columns[name] for name in self.names}, copy=False)

    def column(self, name: str) -> Column:
        """Give the values of one feature, shape [N]."""
        if self.matrix is not None:
            return self.matrix[:, self.names.index(name)]
        return self.columns[name]

    def take(self, rows: slice | Sequence[int]) -> Frame:
        """Give some of the rows as a frame of their own; warnings stay with the whole."""
        if self.matrix is not None:
            part = self.matrix[rows]
            return Frame(self.names, self.dtypes, len(part), matrix=part)
        columns = {name: column[rows] for name, column in self.columns.items()}
        return Frame(self.names, self.dtypes, len(next(iter(columns.values()))), columns=columns)

    def to_rows(self) -> list[list[float | int | bool | str | None]]:
        """Give the rows as JSON scalars of the declared types, in contract order; a missing value is None."""
        columns = [_json_scalars(self.column(name), dtype) for name, dtype in zip(self.names, self.dtypes, strict=True)]
        return [list(row) for row in zip(*columns, strict=True)]


def join_frames(frames: Sequence[Frame]) -> Frame:
    """Put frames of one contract below each other.

    Args:
        frames: At least one.

    Returns:
        All rows in order; warnings stay with the parts.
    """
    first = frames[0]
    if len(frames) == 1:
        return first
    n_rows = sum(frame.n_rows for frame in frames)
    if first.matrix is not None:
        matrix = np.concatenate([frame.as_matrix() for frame in frames])
        return Frame(first.names, first.dtypes, n_rows, matrix=matrix)
    columns = {name: np.concatenate([frame.columns[name] for frame in frames]) for name in first.names}
    return Frame(first.names, first.dtypes, n_rows, columns=columns)


def _json_scalars(column: Column, dtype: Dtype) -> list[Any]:
    values = column.tolist()
    if column.dtype.kind != "f":
        return values
    scalar: type = {"int": int, "bool": bool}.get(dtype, float)
    return [None if math.isnan(value) else scalar(value) for value in values]
