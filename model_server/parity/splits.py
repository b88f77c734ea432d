"""Splits: where the answers of a model jump, whatever the model is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

    from model_server.predictor import Array

Rows = TypeVar("Rows")


@dataclass(frozen=True, slots=True, eq=False)
class Splits(Generic[Rows]):
    """Where the answers of a model to rows of some form jump.

    Attributes:
        before: Computes the columns that are split from N rows, [N, C].
        column: int64 [S], the column that is split.
        threshold: float64 [S]; at most this goes left.
        single: Whether the column is rounded to float32 before it is compared.
    """

    before: Callable[[Rows], Array]
    column: Array
    threshold: Array
    single: bool
