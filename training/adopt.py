"""Adopt: a model that was fitted elsewhere -> a bundle; knows how to describe it, not how it was read or trained.

What a bundle promises beside the model (golden rows, drift reference) comes from a sample of real rows, because a model
does not know what its inputs look like.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic import ValidationError

from model_server import bundle
from model_server.checks import Check, Status
from model_server.errors import BundleExists, BundleIncompatible, describe
from model_server.manifest import Dataset, Lineage, Manifest, canonical_json, digest_of
from model_server.monitoring.reference import Reference
from training import artifacts, conversion, data, provenance
from training.card import card
from training.errors import BadArtifact
from training.evaluate import plain_params
from training.figures import Figures, GateCheck, GateRecord
from training.gates import verdict
from training.golden import golden
from training.predictors import compared
from training.publish import Draft, dump, write
from training.scores import Answers, rounded, score

if TYPE_CHECKING:
    from collections.abc import Mapping

    from model_server.bundle import Verified
    from model_server.manifest import Serving
    from training.artifacts import Adopted, Artifacts
    from training.provenance import Provenance
    from training.registry import Registry
    from training.sections import Onnx

N_GOLDEN = 16


@dataclass(frozen=True, slots=True)
class Identity:
    """What the adopted model is called and how it is served.

    Attributes:
        name: Of the model.
        version: Of the bundle.
        description: One sentence for people.
        label_definition: What the target means.
        serving: How the server presents it.
        floors: Smallest admitted values of metrics measured on the sample, by name.
        onnx: Whether the estimator is also converted for ONNX Runtime.
    """

    name: str
    version: str
    description: str
    label_definition: str
    serving: Serving
    floors: Mapping[str, float]
    onnx: Onnx | None = None


def adopt(files: Artifacts, identity: Identity, registry: Registry, origin: Provenance) -> tuple[Verified, bool]:
    """Make a bundle of a fitted model.

    Args:
        files: What to adopt.
        identity: Name and version.
        registry: Where the bundle goes.
        origin: Where this code comes from.

    Returns:
        The bundle, and whether it was there already.

    Raises:
        BadArtifact: The model cannot be wrapped.
        BadData: The sample breaks the contract.
        BundleExists: The version is taken by another model.
        ExtraMissing: It is to be converted, and a package is not installed.
    """
    if identity.onnx is not None:
        conversion.require()
    made = draft(artifacts.read(files), files.sample.name, identity, origin)
    directory = registry.directory(identity.name, identity.version)
    if directory.exists():
        existing = bundle.verify(directory)
        if existing.manifest.lineage.run_id == made.manifest.lineage.run_id:
            return existing, True
        free = registry.next_version(identity.name, identity.version)
        raise BundleExists(f"{identity.name} {identity.version} exists and is another model: use --version {free}")
    verified = write(directory, made, {})
    registry.offer(identity.name, identity.version)
    return verified, False


def draft(adopted: Adopted, sample: str, identity: Identity, origin: Provenance) -> Draft:
    """Put the content of a bundle together.

    Args:
        adopted: The model.
        sample: Name of the sample's file.
        identity: Name and version.
        origin: Where this code comes from.

    Returns:
        The draft; equal files give equal bytes.
    """
    manifest = _manifest(adopted, sample, identity, origin)
    figures = _figures(adopted, identity, manifest.lineage.dataset.name)
    words = card(
        manifest,
        figures,
        intended_use="",
        limits="The model was fitted elsewhere. The figures are of the sample, which it may have been fitted on.",
    )
    chosen, pipeline = golden(adopted.frame, adopted.prediction, N_GOLDEN), dump(adopted.pipeline)
    try:
        predictors = compared(manifest, pipeline, chosen, adopted.frame, identity.onnx)
    except BundleIncompatible as error:
        raise BadArtifact(str(error)) from error
    documents = {
        "metrics.json": figures,
        "reference.json": Reference.build(adopted.contract, adopted.frame, adopted.prediction),
    }
    files = {name: canonical_json(document.model_dump(mode="json")) for name, document in documents.items()}
    files |= {bundle.PIPELINE: pipeline, "card.md": words.encode()}
    return Draft(manifest, files | predictors)


def _manifest(adopted: Adopted, sample: str, identity: Identity, origin: Provenance) -> Manifest:
    inputs = [adopted.contract.model_dump(mode="json"), dict(adopted.parents), identity.name, identity.version]
    inputs += [identity.description, identity.label_definition, identity.serving.model_dump(), dict(identity.floors)]
    inputs += [identity.onnx.model_dump() if identity.onnx else {}]
    config_sha256 = digest_of(canonical_json(inputs))
    sha256 = data.content_sha256(adopted.frame, adopted.truth, {})
    named = adopted.metadata.dataset if adopted.metadata else ""
    *before, model = [step for _, step in adopted.pipeline.steps]
    lineage = Lineage(
        run_id=provenance.run_id(origin, config_sha256, sha256),
        dataset=Dataset(name=named or sample, sha256=sha256, n_rows=adopted.frame.n_rows, source=f"sample {sample}"),
        config_sha256=config_sha256,
        git_commit=origin.git_commit,
        git_dirty=origin.git_dirty,
        lock_sha256=origin.lock_sha256,
        label_definition=identity.label_definition,
        preprocessing=tuple(type(step).__name__ for step in before),
        estimator=f"{type(model).__module__}.{type(model).__qualname__}",
        hyperparameters=plain_params(model),
        parents=dict(adopted.parents),
    )
    try:
        return Manifest(
            name=identity.name,
            version=identity.version,
            description=identity.description,
            contract=adopted.contract,
            lineage=lineage,
            libraries=origin.libraries,
            serving=identity.serving,
        )
    except ValidationError as error:
        raise BadArtifact(f"the bundle cannot be described: {describe(error)}") from error


def _figures(adopted: Adopted, identity: Identity, dataset: str) -> Figures:
    measured: dict[str, float] = {}
    if adopted.truth is not None:
        measured = rounded(score(Answers.of(adopted.contract.output, adopted.truth, adopted.prediction)))
    unknown = [name for name in identity.floors if name not in measured]
    if unknown:
        known = ", ".join(measured) or "none: name the sample's --target"
        raise BadArtifact(f"--floor {unknown[0]}: is not measured on the sample; measured are {known}")
    model = adopted.pipeline.steps[-1][1]
    primary = next((name for name in ("roc_auc", "accuracy", "r2") if name in measured), "")
    checks = tuple(GateCheck.of(check) for check in _checks(adopted, identity, measured))
    return Figures(
        task=adopted.contract.output.task,
        model_class=type(model).__name__,
        model_config_=plain_params(model),
        feature_names=adopted.contract.names,
        n_features=len(adopted.contract.names),
        dataset=dataset,
        test_samples=adopted.frame.n_rows,
        test_metrics={"split": "sample", **measured},
        reported=adopted.metadata.model_dump(mode="json", exclude_none=True) if adopted.metadata else {},
        gates=GateRecord(primary=primary, checks=checks),
    )


def _checks(adopted: Adopted, identity: Identity, measured: Mapping[str, float]) -> list[Check]:
    checks = [Check("sample keeps the contract", Status.PASS, adopted.frame.n_rows, None, "rows")]
    if adopted.same_as_parts is not None:
        text = "" if adopted.same_as_parts else "preprocessor and model one after the other give other answers"
        checks.append(Check("one pipeline answers as two files", verdict(holds=adopted.same_as_parts), text=text))
    for name, limit in sorted(identity.floors.items()):
        holds = measured[name] >= limit
        text = "" if holds else "the model is not promoted with this: adopt a better one, or lower --floor"
        checks.append(Check(f"sample {name} floor", verdict(holds=holds), measured[name], limit, text))
    return checks
