"""Card: what is known of a model -> a page for people; knows wording, not how anything was measured.

The page holds no wall-clock time, so equal trainings give equal pages.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from model_server.contract import Contract
    from model_server.feature import Feature
    from model_server.manifest import Manifest
    from training.figures import Figures


def card(manifest: Manifest, figures: Figures, *, intended_use: str, limits: str, pictures: Sequence[str] = ()) -> str:
    """Write the model card.

    Args:
        manifest: Name, contract and lineage.
        figures: What was measured.
        intended_use: What the model is for, and what it is not for.
        limits: What is not known of it.
        pictures: Names of pictures in the bundle.

    Returns:
        The page as Markdown.
    """
    parts = [
        f"# {manifest.name} {manifest.version}",
        manifest.description,
        "## Intended use",
        intended_use or "Not written down: ask the owner of the model before using it.",
        "## Data and label",
        _data(manifest, figures),
        "## Inputs",
        _inputs(manifest.contract),
        "## Figures",
        _figures(figures),
        *(f"![{name.rsplit('/', 1)[-1].removesuffix('.png')}]({name})" for name in pictures),
        *_details(figures),
        "## Limits",
        limits or "Not written down: nothing is known of how the model does on data unlike its test set.",
        "## Lineage",
        _lineage(manifest),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Lay rows out as a Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines)


def _cell(value: object) -> str:
    text = "" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
    return text.replace("|", "\\|").replace("\n", " ")


def _data(manifest: Manifest, figures: Figures) -> str:
    lineage = manifest.lineage
    trained = f"{figures.train_samples} rows trained the model, " if figures.train_samples is not None else ""
    return (
        f"{lineage.dataset.source}: {lineage.dataset.n_rows} rows, SHA-256 `{lineage.dataset.sha256}`. "
        f"{trained}{figures.test_samples} tested it. "
        f"The label `{manifest.contract.output.target}`: {lineage.label_definition}"
    )


def _inputs(contract: Contract) -> str:
    rows = [[feature.name, *describe_feature(feature), feature.description] for feature in contract.features]
    return table(["feature", "type", "unit", "admitted", "missing", "example", "meaning"], rows)


def describe_feature(feature: Feature) -> list[str]:
    """Put a feature's type, unit, admitted values, whether it may be missing and an example into words."""
    low, high = feature.minimum, feature.maximum
    bounds = f"{'' if low is None else f'{low:g}'}..{'' if high is None else f'{high:g}'}"
    admitted = "" if low is None and high is None else bounds + (" (warns)" if feature.out_of_bounds == "warn" else "")
    if feature.categories is not None:
        admitted = ", ".join(feature.categories)
    example = "" if feature.example is None else orjson.dumps(feature.example).decode().strip('"')
    return [feature.dtype, feature.unit, admitted, "yes" if feature.nullable else "no", example]


def _figures(figures: Figures) -> str:
    header = ["metric", "train", "test", "95 % interval", *figures.baselines]
    rows = [
        [
            name,
            figures.train_metrics.get(name),
            value,
            f"{figures.intervals[name].low:g} to {figures.intervals[name].high:g}" if name in figures.intervals else "",
            *(scores.get(name) for scores in figures.baselines.values()),
        ]
        for name, value in figures.test_metrics.items()
        if name != "split"
    ]
    return table(header, rows) + "".join(f"\n\n{line}" for line in _cross_validation(figures))


def _cross_validation(figures: Figures) -> list[str]:
    lines = []
    if figures.cross_validation is not None:
        cv = figures.cross_validation
        lines.append(
            f"Cross-validation, everything fitted inside each of {cv.folds} folds: {cv.metric} "
            f"{cv.mean:.4f} ± {cv.std:.4f}."
        )
    if figures.cross_validation_preprocessed_first is not None:
        cv = figures.cross_validation_preprocessed_first
        lines.append(
            f"The same with preprocessing fitted before the folds were made, to compare with publications; it leaks: "
            f"{cv.mean:.4f} ± {cv.std:.4f}."
        )
    return lines


def _details(figures: Figures) -> list[str]:
    parts = []
    if figures.per_class:
        rows = [[name, part.precision, part.recall, part.f1, part.support] for name, part in figures.per_class.items()]
        parts += ["### By class", table(["class", "precision", "recall", "F1", "test rows"], rows)]
    if figures.confusion_matrix is not None:
        labels, matrix = figures.confusion_matrix.labels, figures.confusion_matrix.matrix
        rows_ = [[label, *row] for label, row in zip(labels, matrix, strict=True)]
        parts += ["### Confusion", table(["true \\ answered", *map(str, labels)], rows_)]
    if figures.calibration is not None:
        bins = [
            [f"{b.low:g} to {b.high:g}", b.n_rows, b.mean_probability, b.observed_share]
            for b in figures.calibration.bins
        ]
        error = figures.calibration.expected_error
        text = f"Brier score {figures.calibration.brier:g}, expected calibration error {error:g}."
        parts += ["### Calibration", text, table(["answered", "test rows", "mean answer", "came true"], bins)]
    if figures.slices:
        metric = figures.gates.primary
        sliced = [[s.feature, s.value, s.n_rows, s.metrics.get(metric, "not defined")] for s in figures.slices]
        parts += ["### By slice", table(["feature", "value", "test rows", metric], sliced)]
    checks = [[check.name, check.status, check.observed, check.limit] for check in figures.gates.checks]
    return [*parts, "### Gates", table(["gate", "verdict", "observed", "limit"], checks)]


def _lineage(manifest: Manifest) -> str:
    lineage = manifest.lineage
    dirty = " with uncommitted changes" if lineage.git_dirty else ""
    rows = [
        ["run", lineage.run_id],
        ["code", f"{lineage.git_commit}{dirty}"],
        ["configuration", lineage.config_sha256],
        ["dependency lock", lineage.lock_sha256],
        ["preprocessing", "; ".join(lineage.preprocessing) or "none"],
        ["estimator", lineage.estimator],
        ["libraries", ", ".join(f"{name} {version}" for name, version in sorted(manifest.libraries.items()))],
        *([f"made from {name}", digest] for name, digest in sorted(lineage.parents.items())),
    ]
    return table(["what", "value"], rows)
