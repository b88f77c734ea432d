"""The input and output contract of a model; knows names, types, units and bounds, not protocols and not the model.

Everything a client sends becomes a checked ``Frame`` here, or a ``ContractError`` that names feature, row and rule.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from model_server.admission import Admission
from model_server.errors import ContractError, Violation
from model_server.feature import Feature
from model_server.frame import Frame
from model_server.output import Label, Output, Tier

if TYPE_CHECKING:
    from model_server.columns import Bad
    from model_server.feature import ColumnValues
    from model_server.frame import Column, Dtype

__all__ = ["Contract", "Feature", "Label", "Output", "Tier"]


class Contract(BaseModel):
    """Features in order, and the output."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    features: tuple[Feature, ...] = Field(min_length=1)
    output: Output

    @model_validator(mode="after")
    def _unique(self) -> Self:
        if len(set(self.names)) != len(self.names):
            raise ValueError("feature names must be unique")
        return self

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Feature names in contract order."""
        return tuple(feature.name for feature in self.features)

    @cached_property
    def _dtypes(self) -> tuple[Dtype, ...]:
        return tuple(feature.dtype for feature in self.features)

    @cached_property
    def is_numeric(self) -> bool:
        """Whether no feature is a string, so that a frame is one float64 matrix."""
        return all(feature.dtype != "string" for feature in self.features)

    @cached_property
    def _admission(self) -> Admission:
        return Admission(self.features)

    @cached_property
    def _name_set(self) -> frozenset[str]:
        return frozenset(self.names)

    def frame(self, rows: Sequence[object]) -> Frame:
        """Check rows of JSON values.

        Args:
            rows: N rows, each a list of F values in contract order or an object with the F names as keys.

        Returns:
            The checked frame.

        Raises:
            ContractError: Some value, row or the number of rows breaks the contract.
        """
        if not rows:
            raise ContractError([Violation("must have at least one row")])
        admitted = self._admission.rows(rows)
        if admitted is not None:
            return admitted
        listed: list[Any] = [self._values(row) for row in rows]
        width = len(self.names)
        if all(type(row) is list and len(row) == width for row in listed):
            return self.frame_from_columns(dict(zip(self.names, map(list, zip(*listed, strict=True)), strict=True)))
        raise ContractError([flaw for index, row in enumerate(rows) for flaw in self._row_flaws(row, index)])

    def _values(self, row: object) -> object:
        if type(row) is dict and row.keys() == self._name_set:
            return list(map(row.__getitem__, self.names))
        return row

    def _row_flaws(self, row: object, index: int) -> list[Violation]:
        if isinstance(row, Mapping):
            flaws = [Violation("is missing", name, index) for name in self.names if name not in row]
            return flaws + [self._unknown(str(key), index) for key in row if key not in self._name_set]
        if not isinstance(row, list):
            return [Violation("must be a list of values in contract order, or an object of named values", row=index)]
        if len(row) == len(self.names):
            return []
        return [Violation(f"must have {len(self.names)} values in contract order, got {len(row)}", row=index)]

    def _unknown(self, key: str, row: int | None = None) -> Violation:
        near = difflib.get_close_matches(key[:128], self.names, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        return Violation(f"is not a feature of this model{hint}", key[:64], row)

    def frame_from_columns(self, columns: Mapping[str, ColumnValues]) -> Frame:
        """Check named columns.

        Args:
            columns: N values a feature name: JSON values in a list, or binary tensor data in an array of shape [N].

        Returns:
            The checked frame.

        Raises:
            ContractError: A column is missing, unknown, of another length, or holds a value that breaks its rule.
        """
        flaws = [Violation("is missing", name) for name in self.names if name not in columns]
        flaws += [self._unknown(name) for name in columns if name not in self._name_set]
        n_rows = len(next(iter(columns.values()))) if columns else 0
        flaws += [
            Violation(f"must have as many rows as the first column, {n_rows}, got {len(values)}", name)
            for name, values in columns.items()
            if len(values) != n_rows
        ]
        if not n_rows and not flaws:
            flaws.append(Violation("must have at least one row"))
        if flaws:
            raise ContractError(flaws)
        admitted = self._admission.columns(columns, n_rows)
        if admitted is not None:
            return admitted
        return self._checked([feature.check(columns[feature.name]) for feature in self.features], n_rows)

    def _checked(self, parts: Sequence[tuple[Column, Bad, int]], n_rows: int) -> Frame:
        self._refuse(np.column_stack([bad for _, bad, _ in parts]))
        warned = {name: count for name, (_, _, count) in zip(self.names, parts, strict=True) if count}
        columns = {name: column for name, (column, _, _) in zip(self.names, parts, strict=True)}
        if not self.is_numeric:
            return Frame(self.names, self._dtypes, n_rows, columns=columns, warned=warned)
        matrix = np.column_stack([column.astype(np.float64) for column in columns.values()])
        return Frame(self.names, self._dtypes, n_rows, matrix=matrix, warned=warned)

    def _refuse(self, bad: np.ndarray[tuple[int, int], np.dtype[np.bool_]]) -> None:
        if bad.any():
            places = np.argwhere(bad)
            raise ContractError(
                [Violation(self.features[column].rule, self.names[column], int(row)) for row, column in places]
            )

    def frame_from_matrix(self, matrix: np.ndarray[Any, Any]) -> Frame:
        """Check a matrix of numbers; only a contract without string features has that form.

        Args:
            matrix: Any numeric dtype, shape [N, F], columns in contract order, NaN = missing.

        Returns:
            The checked frame; it holds a float64 matrix itself.

        Raises:
            ContractError: The shape is wrong or some value breaks its rule.
        """
        if not self.is_numeric or matrix.ndim != 2 or matrix.shape[1] != len(self.names):
            raise ContractError([Violation(self._shape_rule())])
        if not len(matrix):
            raise ContractError([Violation("must have at least one row")])
        admitted = None
        if matrix.dtype.kind == "f":
            admitted = self._admission.matrix(matrix.astype(np.float64, copy=False))
        return admitted or self.frame_from_columns(dict(zip(self.names, matrix.T, strict=True)))

    def _shape_rule(self) -> str:
        if self.is_numeric:
            return f"must have shape [-1, {len(self.names)}]"
        return "this model has string features: send one tensor a column, named as in its metadata"
