"""Compiled kernels compared with the pipeline: when a bundle is made, and again before they answer in its place.

A server uses them only if the bundle's record says that they answered as scikit-learn, and a comparison on its own
machine agrees.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

from model_server.compiled.compiled_model import CompiledModel
from model_server.parity.comparison import Comparison, compare
from model_server.parity.probes import LOADING, PUBLISHING, Effort, probes
from model_server.parity.record import PARITY, Parity, recorded, rounded_up
from model_server.parity.unforeseen import Unforeseen
from model_server.predictor import Predictor

if TYPE_CHECKING:
    from model_server.frame import Frame

#: Largest difference where sums go through BLAS, whose last bits depend on how many rows are summed at once; relative
#: to the answer where that is above 1.
BLAS_TOLERANCE = 1e-12


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


def _compared(predictor: Predictor, sample: Frame | None, effort: Effort) -> tuple[Parity, CompiledModel | None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of unknown categories and the like, once a request would be too often as well
        try:
            return _verdict(predictor, sample, effort)
        except Unforeseen as error:
            return Parity(used=False, reason=f"cannot be compiled: {error}"), None
        except Exception as error:  # noqa: BLE001 - a step may be anyone's code; scikit-learn's way of calling it stays
            return Parity(used=False, reason=f"cannot be compared: {type(error).__name__}"), None


def _verdict(predictor: Predictor, sample: Frame | None, effort: Effort) -> tuple[Parity, CompiledModel | None]:
    golden = predictor.golden_frame()
    compiled = CompiledModel(predictor.fitted, golden)
    kernel = compiled.kernel
    rows = probes(predictor.contract, golden, sample, compiled.splits, effort)
    found = compare(predictor, compiled, rows, effort.singles, neighbours_matter=kernel.neighbours_matter)
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
