"""The tables of docs/architecture.md that follow from the code; run as a module, with a registry, it writes them."""

from __future__ import annotations

import importlib
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from model_server.settings import Settings
from tests.docs.pages import ROOT
from tests.model_server.edge.request_path import size_of, ways

if TYPE_CHECKING:
    from tests.model_server.edge.request_path import Step

PAGE = ROOT / "docs" / "architecture.md"
#: Constants and settings that choose the way: where each is set, its unit, and what is different beyond it.
THRESHOLDS = {
    "edge/http/connection.py: SHORT_BYTES": ("bytes", "a body goes by uvicorn's ASGI way, which has a task"),
    "wire/pieces.py: SMALL_BYTES": ("bytes", "a JSON body is parsed in pieces, with a turn of the loop between them"),
    "settings.py: batch_rows": ("rows", "a request is checked before it is queued, and predicted in slices of as many"),
    "serving/service.py: TURN_ROWS": ("rows", "a large request is checked in parts of as many"),
    "settings.py: queue_rows": ("rows waiting", "a request is refused with 503 and Retry-After"),
    "settings.py: queue_timeout_s": ("seconds waiting", "the same"),
    "serving/runner.py: QUICK_S": ("seconds a batch", "batches run in a thread instead of on the event loop"),
    "admission.py: FEW_ROWS": ("rows", "types of values are looked for column by column, not all at once"),
    "compiled/ranked.py: MOST_TAKEN": (
        "rows by columns by trees",
        "trees are walked by scikit-learn's kernel, not by masks",
    ),
    "edge/http/inference.py: ENCODED_ROWS": (
        "rows",
        "a v1 answer is written in parts of as many; one with objects, reasons or contributions in a thread",
    ),
    "serving/observers.py: MOST_ROWS": ("rows waiting", "a batch is not observed, and its rows are counted as dropped"),
}


def thresholds() -> str:
    """Write the table of what chooses the way."""
    lines = ["| beyond | of | a request takes another way | set in |", "| --- | --- | --- | --- |"]
    lines += [
        f"| {value_of(place):,g} | {unit} | {effect} | `{place}` |" for place, (unit, effect) in THRESHOLDS.items()
    ]
    return "\n".join(lines) + "\n"


def value_of(place: str) -> float:
    """Read a constant, or the default of a setting.

    Args:
        place: ``file: NAME``, the file below ``model_server``.
    """
    file, name = place.split(": ")
    if file == "settings.py":
        return float(Settings.model_fields[name].default)
    module = importlib.import_module("model_server." + file.removesuffix(".py").replace("/", "."))
    return float(getattr(module, name))


def way(steps: list[Step]) -> str:
    """Write the way of a request as a table, one row a file."""
    by_file: dict[str, list[str]] = {}
    for step in steps:
        by_file.setdefault(step.file, []).append(f"`{step.name}`")
    lines = ["| file | functions |", "| --- | --- |"]
    return "\n".join([*lines, *(f"| `{file}` | {', '.join(names)} |" for file, names in by_file.items())]) + "\n"


def section(name: str, steps: list[Step]) -> str:
    """Write the section of a request."""
    size = size_of([step for step in steps if step.is_in_rooms])
    rooms = f"In `edge`, `wire` and `serving`: {size.files} files, {size.functions} functions, {size.lines} lines."
    return f"### {name}\n\n{rooms}\n\n{way(steps)}"


def renewed(text: str, registry: Path) -> str:
    """Put the tables of the page right.

    Args:
        text: The page.
        registry: A registry with the example model in production.
    """
    head = re.sub(r"(?<=<!-- thresholds -->\n)(\n?\|.*\n)*", "\n" + thresholds(), text)
    head = head[: head.index("<!-- ways -->")] + "<!-- ways -->\n\n"
    return head + "\n".join(section(name, steps) for name, steps in ways(registry).items())


if __name__ == "__main__":
    PAGE.write_text(renewed(PAGE.read_text("utf-8"), Path(sys.argv[1])), "utf-8")
