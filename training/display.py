"""Display: bundles and the registry as text for a terminal; knows layout, reads what is verified, decides nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from model_server.bundle import read_run
from model_server.errors import ModelServerError
from model_server.parity.record import PARITY, recorded
from training.card import describe_feature
from training.figures import Figures

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from model_server.bundle import Verified
    from model_server.checks import Check
    from model_server.manifest import Manifest
    from model_server.parity.record import OnnxParity, Parity
    from training.registry import Registry


def columns(rows: Iterable[Sequence[object]], indent: str = "  ") -> str:
    """Lay rows out in aligned columns."""
    texts = [
        ["" if cell is None else f"{cell:g}" if isinstance(cell, float) else str(cell) for cell in row] for row in rows
    ]
    widths = [max(map(len, column)) for column in zip(*texts, strict=True)]
    padded = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in texts)
    return "\n".join((indent + line).rstrip() for line in padded)


def training_report(verified: Verified, checks: Sequence[Check]) -> str:
    """Say what a training came to."""
    figures = Figures.from_bytes(verified.read("metrics.json"))
    manifest = verified.manifest
    parts = [
        f"\n{manifest.name} {manifest.version}",
        _figures(figures),
        "\n".join(f"  {check}" for check in checks),
        f"Bundle {verified.directory}\nDigest {verified.digest}",
    ]
    return "\n\n".join(parts)


def verification(verified: Verified) -> str:
    """Say that a bundle is whole."""
    manifest = verified.manifest
    size = sum(record.size for record in manifest.files.values())
    held = f"{len(manifest.files)} files, {size} bytes, all as the manifest says"
    lines = [f"{manifest.name} {manifest.version} is whole: {held}"]
    lines += [f"digest {verified.digest}", *(f"warning: {warning}" for warning in verified.warnings)]
    return "\n".join(lines)


def inspection(verified: Verified) -> str:
    """Show what is in a bundle: contract, outputs, figures, lineage, gates and files."""
    manifest = verified.manifest
    figures = Figures.from_bytes(verified.read("metrics.json"))
    sections = {
        "Inputs": _inputs(manifest),
        "Outputs": _outputs(manifest),
        "Figures": _figures(figures),
        "Gates": columns([[check.status, check.name, check.observed, check.limit] for check in figures.gates.checks]),
        "Lineage": _lineage(verified),
        "Predictor": _predictor(verified),
        "Serving": columns([pair for pair in sorted(manifest.serving.model_dump().items()) if pair[1]]),
        "Files": columns([[name, record.size, record.sha256[:12]] for name, record in sorted(manifest.files.items())]),
        "Warnings": "\n".join(f"  {warning}" for warning in verified.warnings),
    }
    title = f"{manifest.name} {manifest.version}\n{manifest.description}\ndigest {verified.digest}"
    return "\n\n".join([title, *(f"{name}\n{text}" for name, text in sections.items() if text)])


def _inputs(manifest: Manifest) -> str:
    header = ["name", "type", "unit", "admitted", "missing", "example"]
    return columns([header, *([feature.name, *describe_feature(feature)] for feature in manifest.contract.features)])


def _outputs(manifest: Manifest) -> str:
    output = manifest.contract.output
    rows: list[list[object]] = [["target", output.target], ["task", output.task], ["decision", output.decision]]
    names = output.class_names or tuple("" for _ in output.classes)
    rows += [["class", f"{label!r} {name}".strip()] for label, name in zip(output.classes, names, strict=True)]
    if output.decision == "threshold":
        rows.append(["positive", f"{output.positive!r} from a probability of {output.threshold:g}"])
    rows += [["tier", f"{tier.name} from {tier.at_least:g}"] for tier in output.tiers]
    return columns(rows + ([["unit", output.unit]] if output.unit else []))


def _figures(figures: Figures) -> str:
    rows: list[list[object]] = [["metric", "train", "test", "95 % interval", *figures.baselines]]
    for name, value in figures.test_metrics.items():
        if name != "split":
            interval = figures.intervals.get(name)
            bounds = f"{interval.low:g} to {interval.high:g}" if interval else ""
            others = [scores.get(name) for scores in figures.baselines.values()]
            rows.append([name, figures.train_metrics.get(name), value, bounds, *others])
    lines = [columns(rows)]
    for title, cv in (
        ("cross-validation", figures.cross_validation),
        ("the same, preprocessed before the folds", figures.cross_validation_preprocessed_first),
    ):
        lines += [f"  {title}: {cv.metric} {cv.mean:.4f} ± {cv.std:.4f} over {cv.folds} folds"] if cv else []
    return "\n".join(lines)


def _lineage(verified: Verified) -> str:
    lineage = verified.manifest.lineage
    dirty = " with uncommitted changes" if lineage.git_dirty else ""
    rows = [
        ["run", lineage.run_id],
        ["data", f"{lineage.dataset.source}, {lineage.dataset.n_rows} rows, SHA-256 {lineage.dataset.sha256}"],
        ["label", lineage.label_definition],
        ["configuration", lineage.config_sha256],
        ["code", f"{lineage.git_commit}{dirty}"],
        ["lock", lineage.lock_sha256],
        *(["preprocessing", step] for step in lineage.preprocessing),
        ["estimator", lineage.estimator],
        *(["parameter", f"{name} = {value}"] for name, value in sorted(lineage.hyperparameters.items())),
        *(["made from", f"{name} {digest}"] for name, digest in sorted(lineage.parents.items())),
        *(["library", f"{name} {version}"] for name, version in sorted(verified.manifest.libraries.items())),
    ]
    made = read_run(verified.directory).get("finished_at")
    return columns(rows + ([["made at", str(made)]] if made else []))


def _predictor(verified: Verified) -> str:
    if PARITY not in verified.manifest.files:
        return columns([["served by", "scikit-learn: the bundle was made before there was a parity record"]])
    record = recorded(verified)
    if record is None:
        return columns([["served by", "scikit-learn: the parity record cannot be read"]])
    rows: list[list[object]] = [
        ["served by", "compiled kernels" if record.used else "scikit-learn"],
        ["because", record.reason],
        ["rows compared", _compared(record)],
        ["splits compared", f"{record.splits_compared} of {record.splits}" if record.splits else ""],
        ["largest difference", _difference(record)],
        ["sums in BLAS", ", ".join(record.blas)],
        ["left to scikit-learn", ", ".join(record.left)],
    ]
    return columns([row for row in rows + _onnx(record.onnx) if row[1]])


def _onnx(record: OnnxParity | None) -> list[list[object]]:
    if record is None:
        return []
    precision = "double" if record.double else "single"
    return [
        [
            "ONNX Runtime",
            f"may answer, in {precision} precision, with predictor: onnx" if record.used else "is not used",
        ],
        ["because", record.reason],
        ["rows compared", _compared(record)],
        ["largest difference", _difference(record)],
        ["libraries", ", ".join(f"{name} {version}" for name, version in sorted(record.libraries.items()))],
    ]


def _compared(record: Parity | OnnxParity) -> str:
    return ", ".join(f"{count} {kind}" for kind, count in sorted(record.rows.items()))


def _difference(record: Parity | OnnxParity) -> str:
    found = record.largest_difference
    return "" if found is None else f"{found:g}, at most {record.tolerance:g} is admitted"


def listing(registry: Registry) -> str:
    """Show every version of every model, and what is in production."""
    rows: list[list[object]] = [["model", "version", "", "primary metric", "run"]]
    for name in registry.models():
        pointers = {registry.candidate(name): "candidate", registry.production(name): "production"}
        rows += [
            [name, version, pointers.get(version, ""), *_state(registry, name, version)]
            for version in registry.versions(name)
        ]
    if len(rows) == 1:
        return f"No models in {registry.root}: make one with 'python -m training run CONFIG --registry {registry.root}'"
    return columns(rows, indent="")


def _state(registry: Registry, name: str, version: str) -> tuple[str, str]:
    try:
        verified, figures = registry.open(name, version)
    except ModelServerError as error:
        return f"unusable: {error.slug}", ""
    value = f"{figures.gates.primary} {figures.primary:g}" if figures.primary is not None else ""
    return value, verified.manifest.lineage.run_id
