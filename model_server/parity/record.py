"""The record of a comparison: ``parity.json`` in a bundle, one document for all that may stand in for its pipeline.

Compiled kernels and ONNX Runtime each fill in their part, and read it before they answer. Its JSON schema is published:
servers read records that other releases wrote.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError

from model_server.parity.probes import Kind

if TYPE_CHECKING:
    from model_server.bundle import Verified

#: Name of the record in a bundle.
PARITY = "parity.json"

Count = Annotated[int, Field(ge=0)]


class OnnxParity(BaseModel):
    """The record of an estimator that was converted for ONNX Runtime.

    Attributes:
        used: Whether it may answer in scikit-learn's place, where a server is asked to use it.
        reason: Why, or why not.
        tolerance: Largest admitted difference, relative to the answer where that is above 1.
        largest_difference: The largest that was seen, rounded up to a power of ten.
        rows: How many rows were compared, by kind.
        beyond: How many of them were further apart than the tolerance, had another label, or were refused by one.
        splits: How many splits the model has.
        splits_compared: How many of them were compared one step of the number line to either side.
        double: Whether it computes in double precision.
        libraries: Versions of what converted it and compared it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    used: bool
    reason: str
    tolerance: FiniteFloat = Field(ge=0.0)
    largest_difference: FiniteFloat | None = None
    rows: dict[Kind, Count] = Field(default_factory=dict)
    beyond: dict[Kind, Count] = Field(default_factory=dict)
    splits: Count = 0
    splits_compared: Count = 0
    double: bool = False
    libraries: dict[str, str] = Field(default_factory=dict)


class Parity(BaseModel):
    """The record.

    Attributes:
        format: Of this document.
        used: Whether compiled kernels may answer in the pipeline's place.
        reason: Why, or why not.
        tolerance: Largest admitted difference; 0 = the same bits.
        largest_difference: The largest that was seen, rounded up to a power of ten, because the last bits of a BLAS
            differ between processors.
        rows: How many rows were compared, by kind.
        splits: How many splits the model has.
        splits_compared: How many of them were compared one step of the number line to either side.
        blas: Estimators whose sums go through BLAS.
        left: Steps and estimators that are left to scikit-learn inside the compiled pipeline.
        onnx: Of the converted estimator; None where none was asked for.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    used: bool
    reason: str
    tolerance: FiniteFloat = Field(default=0.0, ge=0.0)
    largest_difference: FiniteFloat | None = None
    rows: dict[Kind, Count] = Field(default_factory=dict)
    splits: Count = 0
    splits_compared: Count = 0
    blas: tuple[str, ...] = ()
    left: tuple[str, ...] = ()
    onnx: OnnxParity | None = None


def recorded(verified: Verified) -> Parity | None:
    """Read the record of a bundle; None when there is none that can be read."""
    if PARITY not in verified.manifest.files:
        return None
    try:
        return Parity.model_validate_json(verified.read(PARITY))
    except ValidationError:
        return None


def rounded_up(difference: float) -> float | None:
    """Round up to a power of ten; None for what JSON cannot hold."""
    if not math.isfinite(difference):
        return None
    return float(f"1e{math.ceil(math.log10(difference))}") if difference else 0.0
