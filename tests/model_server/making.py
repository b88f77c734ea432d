"""Real bundles of small pipelines that were really fitted; the tests of this folder start from them."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import joblib
import numpy as np
import orjson

from model_server.bundle import GOLDEN, PIPELINE, Verified, open_bundle, write
from model_server.contract import Contract, Feature, Output
from model_server.manifest import Dataset, Lineage, Manifest, canonical_json, digest_of, installed_libraries
from model_server.predictor import Predictor

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from model_server.frame import Frame

Array = np.ndarray[Any, Any]

VALUE = Output(target="y", task="regression", decision="value", probabilities=False)


def numbers(count: int, *, nullable: bool = False) -> tuple[Feature, ...]:
    """Declare features x0, x1, … that take any number."""
    return tuple(Feature(name=f"x{index}", dtype="float", nullable=nullable) for index in range(count))


def classes(*labels: int | str, positive: int | str | None = None) -> Output:
    """Declare the output of a classification; with a positive class it is decided by threshold, else by argmax."""
    decision: Any = "argmax" if positive is None else "threshold"
    return Output(
        target="y", task="classification", classes=labels, positive=positive, decision=decision, probabilities=True
    )


def fitting_input(frame: Frame, *, named: bool = False) -> Any:
    """Lay a frame out as training does: a matrix for numbers, else a pandas table."""
    return frame.as_dataframe() if named or frame.matrix is None else frame.as_matrix()


def manifest(contract: Contract, **changes: Any) -> Manifest:
    """Write a manifest without files."""
    lineage = Lineage(
        run_id="0123456789abcdef",
        dataset=Dataset(name="made up", sha256="0" * 64, n_rows=100, source="generated"),
        config_sha256="1" * 64,
        git_commit="unknown",
        git_dirty=False,
        lock_sha256="unknown",
        label_definition="made up",
        estimator="sklearn",
    )
    fields = {"name": "small", "version": "1.0.0", "libraries": installed_libraries()} | changes
    return Manifest(contract=contract, lineage=lineage, **fields)


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


def bundle(directory: Path, pipeline: Any, contract: Contract, golden: Frame, *, named: bool = False) -> Verified:
    """Write the bundle of a fitted pipeline."""
    answers = outputs(pipeline, contract, fitting_input(golden, named=named))
    content = files(pipeline, {"rows": golden.to_rows(), "outputs": answers, "tolerance": 1e-9})
    return write(directory, manifest(contract), content, {"host": "here"})


def predictor(directory: Path, pipeline: Any, contract: Contract, golden: Frame, *, named: bool = False) -> Predictor:
    """Write the bundle of a fitted pipeline and open it, all the way a server does."""
    return Predictor(open_bundle(bundle(directory, pipeline, contract, golden, named=named)))


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
