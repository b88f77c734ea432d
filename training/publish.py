"""Publish: a trained and measured model -> a bundle on disk; knows which file says what, not if the model is good."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from model_server import bundle
from model_server.checks import Status, worst
from model_server.errors import GoldenMismatch
from model_server.manifest import Dataset, Lineage, Manifest, canonical_json
from model_server.monitoring.reference import Reference
from model_server.predictor import Predictor
from training import fit
from training.card import card
from training.evaluate import plain_params
from training.evidence import evidence
from training.golden import golden
from training.pictures import pictures
from training.predictors import compared
from training.provenance import run_id

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from model_server.bundle import Bundle, Verified
    from training.evaluate import Trained
    from training.figures import Figures
    from training.provenance import Provenance


@dataclass(frozen=True, slots=True)
class Draft:
    """A bundle that is not on disk yet.

    Attributes:
        manifest: Without file records.
        files: Content by name, all that the manifest will list.
    """

    manifest: Manifest
    files: Mapping[str, bytes]


def draft(trained: Trained, figures: Figures, provenance: Provenance) -> Draft:
    """Put the content of a bundle together.

    Args:
        trained: The model.
        figures: What was measured, with the gates' verdicts.
        provenance: Where the code came from.

    Returns:
        The draft; equal inputs give equal bytes.
    """
    config, split = trained.config, trained.split
    test_frame = trained.table.frame.take(split.test.tolist())
    prediction = fit.answer(trained.pipeline, trained.contract.output, test_frame)
    test = trained.answers(split.test)
    drawn = pictures(test, figures) if config.report.pictures else {}
    manifest = _manifest(trained, provenance)
    words = card(
        manifest, figures, intended_use=config.report.intended_use, limits=config.report.limits, pictures=sorted(drawn)
    )
    reference = Reference.build(trained.contract, trained.table.frame.take(split.train.tolist()), prediction)
    chosen = golden(test_frame, prediction, config.report.golden_rows)
    pipeline = dump(trained.pipeline)
    files = {
        bundle.PIPELINE: pipeline,
        "metrics.json": canonical_json(figures.model_dump(mode="json")),
        "reference.json": canonical_json(reference.model_dump(mode="json")),
        "card.md": words.encode(),
    }
    files |= compared(manifest, pipeline, chosen, trained.table.frame, config.onnx)
    return Draft(manifest, files | evidence(trained, test) | drawn)


def dump(pipeline: Any) -> bytes:
    """Pickle a pipeline; equal pipelines made in the same way give equal bytes."""
    import joblib

    content = io.BytesIO()
    joblib.dump(pipeline, content)
    return content.getvalue()


def write(directory: Path, made: Draft, run: Mapping[str, Any]) -> Verified:
    """Open a bundle as the server will, let it answer its golden rows, and only then write it.

    Args:
        directory: Folder to make.
        made: The content.
        run: Volatile facts for ``run.json``.

    Returns:
        The written bundle.

    Raises:
        BundleExists: There is something at that place; nothing is changed.
        GoldenMismatch: Read back, the pipeline answers differently; nothing is written.
        BundleIncompatible: The pipeline does not fit the contract; nothing is written.
    """
    import joblib

    rows = bundle.Golden.model_validate_json(made.files[bundle.GOLDEN])
    pipeline = joblib.load(io.BytesIO(made.files[bundle.PIPELINE]))
    check_answers(bundle.Bundle(bundle.Verified(directory, made.manifest, digest=""), pipeline, rows))
    return bundle.write(directory, made.manifest, made.files, run)


def check_answers(opened: Bundle) -> None:
    """Compare the answers of an opened bundle with its golden rows.

    Raises:
        GoldenMismatch: They differ; the text names the output.
        BundleIncompatible: The pipeline does not fit the contract.
    """
    checks = Predictor(opened).check_golden()
    if worst(checks) is not Status.PASS:
        failed = "; ".join(str(check) for check in checks if check.status is not Status.PASS)
        manifest = opened.manifest
        raise GoldenMismatch(
            f"{manifest.name} {manifest.version} does not answer its golden rows as training did ({failed}): "
            "is the estimator deterministic?"
        )


def _manifest(trained: Trained, provenance: Provenance) -> Manifest:
    config, table = trained.config, trained.table
    lineage = Lineage(
        run_id=run_id(provenance, config.sha256, table.sha256),
        dataset=Dataset(name=table.name, sha256=table.sha256, n_rows=table.n_rows, source=table.source),
        config_sha256=config.sha256,
        git_commit=provenance.git_commit,
        git_dirty=provenance.git_dirty,
        lock_sha256=provenance.lock_sha256,
        label_definition=config.target.label_definition,
        preprocessing=describe_preprocessing(trained),
        estimator=config.estimator.use,
        hyperparameters=plain_params(trained.pipeline[-1]),
    )
    return Manifest(
        name=config.name,
        version=config.version,
        description=config.description,
        contract=trained.contract,
        lineage=lineage,
        libraries=provenance.libraries,
        serving=config.serving,
    )


def describe_preprocessing(trained: Trained) -> tuple[str, ...]:
    """Put each group of the preprocessing into one line."""
    lines = []
    for group in trained.config.preprocessing:
        columns = ", ".join(group.columns) or (f"all {', '.join(group.dtypes)}" if group.dtypes else "all features")
        steps = " then ".join(step.use.rsplit(".", 1)[1] for step in group.steps) or "as they are"
        lines.append(f"{group.name}: {steps} on {columns}")
    return tuple(lines)
