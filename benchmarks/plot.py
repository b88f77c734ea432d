"""The picture of a run: requests and rows a second, a bar a server; knows drawing, not measuring.

On a plate of its own, so that it reads alike on a light and on a dark page, and with its texts as text.
"""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.tables import Spread

_PLATE, _INK, _SOFT, _OURS, _OTHERS, _LIMIT = "#fbfbf9", "#1f2328", "#57606a", "#2f6f4f", "#8fa3b8", "#d9c48f"
_FONTS = "Helvetica, Arial, sans-serif"
_SETTINGS: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "benchmarks",
    # It comes with matplotlib, so that the layout is the same everywhere; a reader's own is likely narrower.
    "font.family": ["DejaVu Sans"],
    "font.size": 11,
    "text.color": _INK,
    "axes.edgecolor": _SOFT,
    "xtick.color": _SOFT,
    "ytick.color": _INK,
}


@dataclass(frozen=True)
class Bar:
    """A server's bar.

    Attributes:
        name: What stands beside it.
        value: Its length, and how far it varied over the rounds.
        kind: ``ours``, ``peer`` or ``limit``.
    """

    name: str
    value: Spread
    kind: str


@dataclass(frozen=True)
class Panel:
    """Bars of one quantity."""

    title: str
    bars: Sequence[Bar]


def picture(panels: Sequence[Panel]) -> str:
    """Draw panels side by side.

    Args:
        panels: At least one; each with the longest bar first.

    Returns:
        SVG; the same for the same numbers.
    """
    import matplotlib as mpl
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    with mpl.rc_context(_SETTINGS):
        figure = Figure(figsize=(5.2 * len(panels), 0.75 + 0.38 * max(len(panel.bars) for panel in panels)))
        FigureCanvasSVG(figure)
        figure.set_facecolor(_PLATE)
        for index, panel in enumerate(panels):
            _draw(figure.add_subplot(1, len(panels), index + 1), panel)
        figure.tight_layout(pad=1.2, w_pad=2.5)
        output = io.StringIO()
        figure.savefig(output, format="svg", facecolor=_PLATE, metadata={"Date": None, "Creator": None})
    return _cleaned(output.getvalue())


def _cleaned(text: str) -> str:
    """Leave out what is not drawn, and name fonts that readers have."""
    text = re.sub(r"<metadata>.*?</metadata>\n?", "", text[text.index("<svg ") :], flags=re.DOTALL)
    text = text.replace("'DejaVu Sans'", _FONTS)
    return "".join(f"{line.rstrip()}\n" for line in text.splitlines())


def _draw(axes: Any, panel: Panel) -> None:
    colours = {"ours": _OURS, "peer": _OTHERS, "limit": _LIMIT}
    longest = max(bar.value.high for bar in panel.bars)
    for place, bar in enumerate(panel.bars):
        value = bar.value
        axes.barh(place, value.middle, color=colours[bar.kind], height=0.68)
        axes.plot([value.low, value.high], [place, place], color=_INK, linewidth=1)
        text = f"{value.middle:,.0f}"
        axes.text(max(value.high, value.middle) + 0.015 * longest, place, text, va="center", color=_INK)
    axes.set_facecolor(_PLATE)
    axes.set_title(panel.title, loc="left", fontsize=12, fontweight="bold", color=_INK)
    axes.set_yticks(range(len(panel.bars)), [bar.name for bar in panel.bars])
    axes.set_xlim(0, longest * 1.17)
    axes.set_xticks([])
    axes.invert_yaxis()
    axes.tick_params(left=False)
    for side in ("top", "right", "bottom"):
        axes.spines[side].set_visible(False)
