"""Conversion: the estimator of a fitted pipeline -> ``model.onnx``; knows the converter, not what is done with it.

Both precisions are tried. Trees of scikit-learn compare in single precision, so that is tried first for them; what
computes in double precision is converted to that, where ONNX Runtime has it.
"""

from __future__ import annotations

import importlib.util
import warnings
from typing import TYPE_CHECKING, Any

from model_server import onnx
from model_server.compiled import CompiledModel
from model_server.parity.record import OnnxParity
from model_server.parity.unforeseen import Unforeseen
from training.errors import ExtraMissing

if TYPE_CHECKING:
    from model_server.frame import Frame
    from model_server.predictor import Predictor

PACKAGES = ("skl2onnx", "onnxruntime", "onnx")
#: What ONNX Runtime must know at least; fixed, so that a newer converter writes the same.
OPSETS = {"": 18, "ai.onnx.ml": 3}


def require() -> None:
    """Make sure that the packages are there, before anything that takes long.

    Raises:
        ExtraMissing: One is not.
    """
    absent = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if absent:
        raise ExtraMissing(f"onnx needs {', '.join(absent)}: pip install 'model-server[training,onnx,onnx-convert]'")


def convert(predictor: Predictor, sample: Frame, tolerance: float) -> tuple[OnnxParity, bytes | None]:
    """Convert the estimator of a predictor's pipeline and compare it.

    Args:
        predictor: Asks the pipeline itself.
        sample: Real rows.
        tolerance: Largest admitted difference.

    Returns:
        The record, and the content of ``model.onnx`` where it may be used. Equal arguments give equal ones.

    Raises:
        ExtraMissing: A package is not installed.
    """
    require()
    record = OnnxParity(used=False, reason="", tolerance=tolerance)
    for double in _precisions(predictor):
        try:
            content = _converted(predictor, double=double)
            tried = onnx.measure(predictor, content, sample, tolerance)
        except Unforeseen as error:
            tried, content = OnnxParity(used=False, reason=str(error), tolerance=tolerance), b""
        tried = tried.model_copy(update={"libraries": onnx.libraries(*PACKAGES)})
        if tried.used:
            return tried, content
        record = record if record.rows else tried  # what was compared tells more than what cannot even be opened
    return record, None


def _precisions(predictor: Predictor) -> tuple[bool, bool]:
    try:
        splits = CompiledModel(predictor.fitted, predictor.golden_frame()).splits
    except Unforeseen:
        splits = ()
    single = any(some.single for some in splits)
    return (not single, single)


def _converted(predictor: Predictor, *, double: bool) -> bytes:
    import skl2onnx
    from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType

    golden = predictor.golden_frame()
    given = onnx.steps_before(predictor.fitted, golden).given
    estimator = onnx.parts(predictor.pipeline)[1]
    kind = DoubleTensorType if double else FloatTensorType
    options = {id(estimator): {"zipmap": False}} if hasattr(estimator, "classes_") else None
    asked = {"initial_types": [(onnx.COLUMNS, kind([None, given.width]))], "options": options, "target_opset": OPSETS}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of numbers that are rounded: the comparison tells whether it matters
            made: Any = skl2onnx.to_onnx(estimator, name="estimator", **asked)
    except Exception as error:
        raise Unforeseen(f"{type(estimator).__name__} cannot be converted ({type(error).__name__})") from error
    content: bytes = made.SerializeToString(deterministic=True)
    return content
