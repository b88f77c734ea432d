"""Parity of a converted estimator: compared with the pipeline when it is made and when it is loaded.

The rows are those on which compiled kernels are compared. All of them must be answered within the tolerance, those one
step of the number line beside a split as well: a converted estimator that sends them down another branch is not used.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np

from model_server.compiled import CompiledModel
from model_server.onnx.close import CloseCalls
from model_server.onnx.converted_model import ConvertedModel, steps_before
from model_server.onnx.session import MODEL, Missing, Session, libraries
from model_server.parity.comparison import lone_rows
from model_server.parity.probes import LOADING, PUBLISHING, probes
from model_server.parity.record import PARITY, OnnxParity, recorded, rounded_up
from model_server.parity.unforeseen import Unforeseen
from model_server.predictor import Predictor

if TYPE_CHECKING:
    from model_server.compiled.inputs import Array
    from model_server.contract import Output
    from model_server.frame import Frame
    from model_server.parity.probes import Effort, Kind


def measure(predictor: Predictor, content: bytes, sample: Frame, tolerance: float) -> OnnxParity:
    """Compare a converted estimator with a predictor's pipeline, thoroughly.

    Args:
        predictor: Asks the pipeline itself.
        content: Of ``model.onnx``.
        sample: Real rows, such as the training table.
        tolerance: Largest admitted difference; relative to the answer where that is above 1.

    Returns:
        The record for the bundle.

    Raises:
        Missing: ONNX Runtime is not installed.
    """
    return _compared(predictor, Session(content), sample, tolerance, PUBLISHING)[0]


def choose(predictor: Predictor, threads: int = 1) -> tuple[Predictor | None, str]:
    """Put a bundle's converted estimator in its pipeline's place, where its record and a comparison here both allow it.

    Args:
        predictor: Asks the pipeline itself.
        threads: How many threads share one call, at most.

    Returns:
        A predictor with the converted estimator, or None; and why, in words.
    """
    verified = predictor.bundle.verified
    record = recorded(verified)
    if record is None:
        return None, f"the bundle has no valid {PARITY}"
    if record.onnx is None:
        return None, "the bundle was made without --onnx"
    if not record.onnx.used:
        return None, record.onnx.reason
    try:
        session = Session(verified.read(MODEL), threads)
    except (Missing, Unforeseen) as error:
        return None, str(error)
    here, model = _compared(predictor, session, None, record.onnx.tolerance, LOADING)
    return None if model is None else Predictor(predictor.bundle, model), here.reason


def _compared(
    predictor: Predictor, session: Session, sample: Frame | None, tolerance: float, effort: Effort
) -> tuple[OnnxParity, ConvertedModel | None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of unknown categories and the like, once a request would be too often as well
        try:
            return _verdict(predictor, session, sample, tolerance, effort)
        except Unforeseen as error:
            return OnnxParity(used=False, reason=str(error), tolerance=tolerance), None
        except Exception as error:  # noqa: BLE001 - ONNX Runtime and anyone's steps; scikit-learn's answers stay
            return OnnxParity(
                used=False, reason=f"cannot be compared: {type(error).__name__}", tolerance=tolerance
            ), None


def _verdict(
    predictor: Predictor, session: Session, sample: Frame | None, tolerance: float, effort: Effort
) -> tuple[OnnxParity, ConvertedModel | None]:
    golden = predictor.golden_frame()
    before = steps_before(predictor.fitted, golden)
    compiled = CompiledModel(predictor.fitted, golden)
    _require_known(compiled.kernel.left[len(before.left) :], predictor.contract.output)
    model = ConvertedModel(predictor.fitted, before, session, CloseCalls(predictor.contract.output, tolerance))
    rows = probes(predictor.contract, golden, sample, compiled.splits, effort)
    converted = Predictor(predictor.bundle, model)
    apart = {kind: _apart(predictor, converted, frame, effort.singles) for kind, frame in rows.frames.items()}
    beyond = {kind: int(np.sum(each > tolerance)) for kind, each in apart.items()}
    record = OnnxParity(
        used=not any(beyond.values()),
        reason=_reason(beyond, apart, tolerance),
        tolerance=tolerance,
        largest_difference=rounded_up(max(float(each.max()) for each in apart.values())),
        rows={kind: len(each) for kind, each in apart.items()},
        beyond=beyond,
        splits=rows.splits,
        splits_compared=rows.beside,
        double=session.dtype is np.float64,
        libraries=libraries("onnxruntime"),
    )
    return record, model if record.used else None


def _require_known(left: tuple[str, ...], output: Output) -> None:
    if output.decision == "predict":
        raise Unforeseen("labels are the estimator's own, and a tolerance holds for numbers only")
    if left:
        raise Unforeseen(
            f"where the answers of {left[0]} jump is not known here, so rows beside that cannot be compared"
        )


def _reason(beyond: dict[Kind, int], apart: dict[Kind, Array], tolerance: float) -> str:
    found = ", ".join(f"{count} of {len(apart[kind])} {kind}" for kind, count in sorted(beyond.items()) if count)
    if found:
        return f"more than {tolerance:.0e} from scikit-learn, or refused by one of them, on these rows: {found}"
    return f"within {tolerance:.0e} of scikit-learn on every compared row"


def _apart(predictor: Predictor, other: Predictor, frame: Frame, alone: int) -> Array:
    """Say how far apart two predictors are on N rows, float64 [N]; some rows are also asked alone."""
    expected = _asked(predictor, frame)
    if expected is None:
        if frame.n_rows == 1:
            return _differences(None, _asked(other, frame), 1)
        each = [frame.take(slice(row, row + 1)) for row in range(frame.n_rows)]  # one may have spoilt it for the others
        return np.concatenate([_apart(predictor, other, row, 0) for row in each])
    apart = _differences(expected, _asked(other, frame), frame.n_rows)
    for row in lone_rows(frame, alone):
        part = (expected[0][row], expected[1][row])
        apart[row] = np.maximum(apart[row], _differences(part, _asked(other, frame.take(row)), 1))
    return apart


def _asked(predictor: Predictor, frame: Frame) -> tuple[Array, Array] | None:
    """Give numbers, float64 [N, K], and labels, [N]; None for a refusal."""
    try:
        found = predictor.predict(frame)
    except (ValueError, TypeError):  # how scikit-learn refuses a value
        return None
    numbers = np.asarray(found.values if found.probabilities is None else found.probabilities)
    return numbers.reshape(len(found), -1), np.zeros(len(found)) if found.labels is None else found.labels


def _differences(expected: tuple[Array, Array] | None, actual: tuple[Array, Array] | None, n_rows: int) -> Array:
    """Give each row's largest difference, relative where the answer is above 1; another label is infinitely far."""
    if expected is None or actual is None:
        return np.full(n_rows, 0.0 if expected is actual else np.inf)
    largest: Array = np.max(np.abs(expected[0] - actual[0]) / np.maximum(1.0, np.abs(expected[0])), axis=1)
    largest[expected[1] != actual[1]] = np.inf
    return largest
