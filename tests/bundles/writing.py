"""How a fitted pipeline becomes a bundle on disk, and how one is opened or forged; knows no model in particular."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import joblib
import numpy as np
import orjson

from model_server.bundle import GOLDEN, PIPELINE, Verified, open_bundle, write
from model_server.manifest import canonical_json, digest_of
from model_server.predictor import Predictor
from tests.bundles.contracts import manifest

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from model_server.contract import Contract
    from model_server.frame import Frame
    from model_server.manifest import Manifest


def fitting_input(frame: Frame, *, named: bool = False) -> Any:
    """Lay a frame out as training does: a matrix for numbers, else a pandas table."""
    return frame.as_dataframe() if named or frame.matrix is None else frame.as_matrix()


def outputs(pipeline: Any, contract: Contract, inputs: Any) -> dict[str, Any]:
    """Ask a pipeline itself, past our own code, for what golden rows record."""
    if contract.output.task == "regression":
        return {"value": pipeline.predict(inputs).tolist()}
    if not contract.output.probabilities:
        return {"label": pipeline.predict(inputs).tolist()}
    probabilities = pipeline.predict_proba(inputs)
    best = probabilities.argmax(axis=1)
    if contract.output.decision == "threshold":
        at = contract.output.positive_index
        best = np.where(probabilities[:, at] >= contract.output.threshold, at, 1 - at)
    return {"label": [contract.output.classes[i] for i in best], "probabilities": probabilities.tolist()}


def files(pipeline: Any, golden: Mapping[str, Any]) -> dict[str, bytes]:
    """Give the content of a bundle, manifest and run facts apart."""
    stream = io.BytesIO()
    joblib.dump(pipeline, stream)
    return {
        PIPELINE: stream.getvalue(),
        GOLDEN: canonical_json(golden),
        "metrics.json": b'{"gates":{"checks":[{"name":"made up","status":"PASS"}]}}',
        "reference.json": b"{}\n",
        "card.md": b"# small\n",
    }


def bundle(directory: Path, pipeline: Any, described: Manifest, golden: Frame, *, named: bool = False) -> Verified:
    """Write the bundle of a fitted pipeline, whose golden rows are what the pipeline itself answers."""
    answers = outputs(pipeline, described.contract, fitting_input(golden, named=named))
    content = files(pipeline, {"rows": golden.to_rows(), "outputs": answers, "tolerance": 1e-9})
    return write(directory, described, content, {"host": "here"})


def predictor(directory: Path, pipeline: Any, contract: Contract, golden: Frame, *, named: bool = False) -> Predictor:
    """Write the bundle of a fitted pipeline and open it, all the way a server does."""
    return Predictor(open_bundle(bundle(directory, pipeline, manifest(contract), golden, named=named)))


def open_files(directory: Path, contract: Contract, content: Mapping[str, bytes]) -> Predictor:
    """Write a bundle of given files and open it."""
    return Predictor(open_bundle(write(directory, manifest(contract), content, {})))


def rewrite_manifest(directory: Path, change: Any) -> str:
    """Change the manifest of a bundle on disk, as a forger would, and give its new digest."""
    path = directory / "manifest.json"
    content = orjson.loads(path.read_bytes())
    change(content)
    path.chmod(0o644)
    path.write_bytes(canonical_json(content))
    return digest_of(path.read_bytes())
