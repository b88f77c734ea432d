"""Parity: whether compiled kernels answer as the pipeline does, and the record of it; knows no kernel by name.

The record is made with the bundle and lies in it as ``parity.json``. A server uses compiled kernels only with a record
that says so, and only after it has compared them once more itself.
"""

from __future__ import annotations

import math
import warnings
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError

from model_server.compiled.comparison import Comparison, compare
from model_server.compiled.compiled_model import Compiled
from model_server.compiled.inputs import Unforeseen
from model_server.compiled.probes import LOADING, PUBLISHING, Effort, Kind, probes
from model_server.predictor import Predictor

if TYPE_CHECKING:
    from model_server.bundle import Verified
    from model_server.frame import Frame

#: Name of the record in a bundle.
PARITY = "parity.json"
#: Largest difference where sums go through BLAS, whose last bits depend on how many rows are summed at once; relative
#: to the answer where that is above 1.
BLAS_TOLERANCE = 1e-12

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


def measure(predictor: Predictor, sample: Frame) -> Parity:
    """Compile a predictor's pipeline and compare, thoroughly.

    Args:
        predictor: Asks the pipeline itself.
        sample: Real rows, such as the training table.

    Returns:
        The record for the bundle; equal arguments give an equal one.
    """
    return _compared(predictor, sample, PUBLISHING)[0]


def choose(predictor: Predictor) -> tuple[Predictor, str]:
    """Put compiled kernels in a pipeline's place, where the bundle's record and a comparison here both allow it.

    Args:
        predictor: Asks the pipeline itself.

    Returns:
        A predictor with compiled kernels, or the given one; and why, in words.
    """
    record = recorded(predictor.bundle.verified)
    if record is None:
        return predictor, f"the bundle has no valid {PARITY}"
    if not record.used:
        return predictor, record.reason
    here, compiled = _compared(predictor, None, LOADING)
    return (predictor if compiled is None else Predictor(predictor.bundle, compiled)), here.reason


def recorded(verified: Verified) -> Parity | None:
    """Read the record of a bundle; None when there is none that can be read."""
    if PARITY not in verified.manifest.files:
        return None
    try:
        return Parity.model_validate_json(verified.read(PARITY))
    except ValidationError:
        return None


def _compared(predictor: Predictor, sample: Frame | None, effort: Effort) -> tuple[Parity, Compiled | None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of unknown categories and the like, once a request would be too often as well
        try:
            return _verdict(predictor, sample, effort)
        except Unforeseen as error:
            return Parity(used=False, reason=f"cannot be compiled: {error}"), None
        except Exception as error:  # noqa: BLE001 - a step may be anyone's code; scikit-learn's way of calling it stays
            return Parity(used=False, reason=f"cannot be compared: {type(error).__name__}"), None


def _verdict(predictor: Predictor, sample: Frame | None, effort: Effort) -> tuple[Parity, Compiled | None]:
    golden = predictor.golden_frame()
    compiled = Compiled(predictor.fitted, golden)
    kernel = compiled.kernel
    rows = probes(predictor.contract, golden, sample, kernel.splits, effort)
    found = compare(predictor, compiled, rows, effort.singles)
    tolerance = BLAS_TOLERANCE if kernel.blas else 0.0
    agrees = not found.labels_differ and found.difference <= tolerance
    record = Parity(
        used=agrees,
        reason=_reason(found, kernel.blas, agrees=agrees),
        tolerance=tolerance,
        largest_difference=rounded_up(found.difference),
        rows={kind: frame.n_rows for kind, frame in rows.frames.items()},
        splits=rows.splits,
        splits_compared=rows.beside,
        blas=tuple(dict.fromkeys(kernel.blas)),
        left=tuple(dict.fromkeys(kernel.left)),
    )
    return record, compiled if agrees else None


def _reason(found: Comparison, blas: tuple[str, ...], *, agrees: bool) -> str:
    if not agrees:
        kinds = ", ".join(sorted(found.kinds))
        return f"differs from scikit-learn on rows of these kinds: {kinds}"
    if blas:
        return f"within {BLAS_TOLERANCE:.0e} of scikit-learn on every compared row"
    return "the same bits as scikit-learn on every compared row"


def rounded_up(difference: float) -> float | None:
    """Round up to a power of ten; None for what JSON cannot hold."""
    if not math.isfinite(difference):
        return None
    return float(f"1e{math.ceil(math.log10(difference))}") if difference else 0.0
