"""Predictors: what may answer in a pipeline's place, compared with it for the bundle; knows no comparison by itself."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from threadpoolctl import threadpool_limits

from model_server import bundle, compiled, onnx
from model_server.manifest import canonical_json
from model_server.parity.record import PARITY
from model_server.predictor import Predictor
from training import conversion

if TYPE_CHECKING:
    from model_server.bundle import Golden
    from model_server.frame import Frame
    from model_server.manifest import Manifest
    from training.sections import Onnx


def compared(
    manifest: Manifest, pipeline: bytes, golden: Golden, sample: Frame, converted: Onnx | None
) -> dict[str, bytes]:
    """Compare what may answer in a pipeline's place with it, as it will be read back.

    Args:
        manifest: Of the bundle, without file records.
        pipeline: The pickled pipeline.
        golden: Its golden rows.
        sample: Real rows.
        converted: Whether the estimator is also converted for ONNX Runtime.

    Returns:
        Files for the bundle, content by name: the record, a converted estimator that may be used, and the golden rows.

    Raises:
        BundleIncompatible: The pipeline does not fit the contract.
        ExtraMissing: It is to be converted, and a package is not installed.
    """
    import joblib

    opened = bundle.Bundle(bundle.Verified(Path(), manifest, digest=""), joblib.load(io.BytesIO(pipeline)), golden)
    files = {}
    # One BLAS thread: with more, a sum's order, and so the largest difference, would depend on the machine.
    with threadpool_limits(1, user_api="blas"):
        predictor = Predictor(opened)
        record = compiled.measure(predictor, sample)
        if converted is not None:
            ours, content = conversion.convert(predictor, sample, converted.tolerance)
            record = record.model_copy(update={"onnx": ours})
            if content is not None:
                files[onnx.MODEL] = content
                golden = _admitting(golden, converted.tolerance)
    documents = {PARITY: record, bundle.GOLDEN: golden}
    return files | {name: canonical_json(document.model_dump(mode="json")) for name, document in documents.items()}


def _admitting(golden: Golden, tolerance: float) -> Golden:
    """Let golden rows admit what the bundle does: who asks a server for them need not know which predictor answers."""
    numbers = [np.array(part, dtype=np.float64) for name, part in golden.outputs.items() if name != "label"]
    largest = max(float(np.max(np.abs(part))) for part in numbers)
    return golden.model_copy(update={"tolerance": max(golden.tolerance, tolerance * max(1.0, largest))})
