"""Feature: name, type, unit, bounds and categories of one input column; knows one column, not its neighbours."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

import numpy as np
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    FiniteFloat,
    StrictBool,
    StrictFloat,
    StrictInt,
    StrictStr,
    model_validator,
)

from model_server.columns import LARGEST_FLOAT, Bad, parse
from model_server.frame import Dtype

if TYPE_CHECKING:
    from model_server.frame import Column

Scalar = StrictBool | StrictInt | StrictFloat | StrictStr
Name = Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[^\x00-\x1f]+$")]
ColumnValues = Sequence[object] | np.ndarray[Any, Any]

_TEXTS: dict[bool, frozenset[type]] = {False: frozenset({str}), True: frozenset({str, type(None)})}
_NOUN = {"float": "a finite number", "int": "an integer", "bool": "true or false", "string": "a string"}
# What limits a number that has no bounds of its own on both sides.
_LARGEST = {"float": f"at most {LARGEST_FLOAT:g}", "int": "below 2**53"}


class Feature(BaseModel):
    """One input column.

    Attributes:
        name: The column's name, unique in the contract.
        dtype: ``float``, ``int``, ``bool`` or ``string``.
        description: What it measures, for people.
        unit: Unit of the values, for example ``months``; empty for none.
        minimum: Smallest admitted value, inclusive.
        maximum: Largest admitted value, inclusive.
        out_of_bounds: ``reject`` refuses a value outside the bounds, ``warn`` admits and counts it.
        categories: The admitted strings, or None for any.
        nullable: Whether null (in binary tensors: NaN) is admitted as a missing value.
        example: A valid value for documentation.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Name
    dtype: Dtype
    description: str = ""
    unit: str = ""
    minimum: FiniteFloat | None = None
    maximum: FiniteFloat | None = None
    out_of_bounds: Literal["reject", "warn"] = "reject"
    categories: tuple[str, ...] | None = None
    nullable: bool = False
    example: Scalar | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        bounded = self.minimum is not None or self.maximum is not None
        if bounded and self.dtype not in ("float", "int"):
            raise ValueError(f"feature {self.name!r}: bounds need dtype float or int")
        if self.categories is not None and self.dtype != "string":
            raise ValueError(f"feature {self.name!r}: categories need dtype string")
        if self.categories is not None and not 0 < len(self.categories) == len(set(self.categories)):
            raise ValueError(f"feature {self.name!r}: categories must be distinct, and at least one")
        low, high = self.bounds
        if not low <= high:
            raise ValueError(f"feature {self.name!r}: minimum is above maximum")
        if self.example is not None and self.check([self.example])[1].any():
            raise ValueError(f"feature {self.name!r}: the example {self.rule}")
        return self

    @property
    def bounds(self) -> tuple[float, float]:
        """Lowest and highest admitted value; infinite where there is none."""
        low = -math.inf if self.minimum is None else self.minimum
        return low, math.inf if self.maximum is None else self.maximum

    @cached_property
    def rule(self) -> str:
        """What a value must be, in words, for error texts and documentation."""
        text = f"must be {_NOUN[self.dtype]}"
        if self.categories is not None:
            text = f"must be one of {', '.join(map(repr, self.categories[:20]))}"
            text += f" and {len(self.categories) - 20} more" if len(self.categories) > 20 else ""
        if self.out_of_bounds == "reject":
            text += self._bounds_text()
        if self.dtype in _LARGEST and not all(map(math.isfinite, self.bounds)):
            text += f", {_LARGEST[self.dtype]} in size"
        return text + (" or null" if self.nullable else "") + (f" ({self.unit})" if self.unit else "")

    @cached_property
    def _admitted(self) -> frozenset[object]:
        return frozenset([*(self.categories or ()), *([None] if self.nullable else [])])

    def admits_texts(self, values: Sequence[Any]) -> bool:
        """Say whether a string feature admits all of N JSON values.

        Raises:
            TypeError: Some value is an object or a list, which it does not admit either.
        """
        if self.categories is not None:
            return self._admitted.issuperset(values)
        return _TEXTS[self.nullable].issuperset(map(type, values))

    def _bounds_text(self) -> str:
        low, high = self.minimum, self.maximum
        if low is not None and high is not None:
            return f" within {_number(low)}..{_number(high)}"
        lower = f" >= {_number(low)}" if low is not None else ""
        return f" <= {_number(high)}" if high is not None else lower

    def check(self, values: ColumnValues) -> tuple[Column, Bad, int]:
        """Check N values of this feature.

        Returns:
            The typed column of shape [N], a bool mask [N] of refused values, and how many merely warn.
        """
        column, bad = parse(values, self.dtype, nullable=self.nullable)
        if self.categories is not None:
            allowed = self._admitted
            bad = bad | np.array([not _is_in(value, allowed) for value in column], dtype=bool)
        if self.minimum is None and self.maximum is None:
            return column, bad, 0
        low, high = self.bounds
        outside = (column < low) | (column > high)
        if self.out_of_bounds == "warn":
            return column, bad, int((outside & ~bad).sum())
        return column, bad | outside, 0


def _number(bound: float) -> str:
    return f"{bound:g}" if float(f"{bound:g}") == bound else repr(bound)


def _is_in(value: object, allowed: frozenset[object]) -> bool:
    return (isinstance(value, str) or value is None) and value in allowed  # other values may not even be hashable
