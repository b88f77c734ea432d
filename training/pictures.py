"""Pictures of figures as PNG; the only importer of matplotlib; knows drawing, not measuring.

Equal figures give equal bytes: no time, no version and no random number goes into a file.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np

from training.errors import BadConfig

if TYPE_CHECKING:
    from collections.abc import Callable

    from training.figures import Figures
    from training.scores import Answers


def pictures(test: Answers, figures: Figures) -> dict[str, bytes]:
    """Draw what belongs to a model.

    Args:
        test: Its answers for the test part.
        figures: What was measured.

    Returns:
        PNG content by name: the ROC curves and, for two classes, the calibration; for a regression the residuals.

    Raises:
        BadConfig: matplotlib is not installed.
    """
    if test.output.task == "regression":
        return {"evidence/residuals.png": _draw(lambda axes: _residuals(axes, test))}
    if test.probabilities is None:
        return {}
    drawn = {"evidence/roc.png": _draw(lambda axes: _roc(axes, test))}
    if figures.calibration is not None:
        drawn["evidence/calibration.png"] = _draw(lambda axes: _calibration(axes, figures))
    return drawn


def _draw(paint: Callable[[Any], None]) -> bytes:
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise BadConfig(
            "report.pictures: matplotlib is not installed: install the 'training' extra or set it to false"
        ) from error
    figure = Figure(figsize=(5, 4), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    paint(figure.add_subplot())
    content = io.BytesIO()
    figure.savefig(content, format="png", metadata={"Software": None})
    return content.getvalue()


def _roc(axes: Any, test: Answers) -> None:
    classes = test.output.classes
    names = test.output.class_names or tuple(map(str, classes))
    probabilities = np.asarray(test.probabilities)
    for place in range(len(classes)) if len(classes) > 2 else (test.output.positive_index,):
        wrong, found = roc_points(test.truth == place, probabilities[:, place])
        axes.plot(wrong, found, label=names[place])
    axes.plot([0, 1], [0, 1], color="grey", linewidth=0.8, linestyle="--")
    axes.set(title="ROC, test set", xlabel="share of others taken for it", ylabel="share of the class found")
    axes.legend(loc="lower right")


def roc_points(hit: np.ndarray[Any, Any], number: np.ndarray[Any, Any]) -> tuple[Any, Any]:
    """Compute the ROC curve: shares of non-hits and of hits at or above each distinct number, from the highest down."""
    order = np.argsort(-number, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(number[order])), len(order) - 1)
    found, wrong = np.cumsum(hit[order])[ends], np.cumsum(~hit[order])[ends]
    return np.append(0.0, wrong / max(wrong[-1], 1)), np.append(0.0, found / max(found[-1], 1))


def _calibration(axes: Any, figures: Figures) -> None:
    bins = figures.calibration.bins if figures.calibration else ()
    axes.plot([0, 1], [0, 1], color="grey", linewidth=0.8, linestyle="--")
    axes.plot([b.mean_probability for b in bins], [b.observed_share for b in bins], marker="o")
    axes.set(title="Calibration, test set", xlabel="mean answered probability", ylabel="share that came true")


def _residuals(axes: Any, test: Answers) -> None:
    axes.axhline(0.0, color="grey", linewidth=0.8, linestyle="--")
    axes.scatter(test.answered, test.truth - test.answered, s=12)
    axes.set(title="Residuals, test set", xlabel="answered", ylabel="true - answered")
