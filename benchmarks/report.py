"""A run -> docs/benchmarks.md, its picture, its raw numbers, the README's table; knows pages, not measuring."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import measurements, plot, serving_path, summary, tables, verdicts
from benchmarks.contestants import FULL
from benchmarks.plans import COLUMNS, LEFT_OUT

if TYPE_CHECKING:
    from benchmarks.measurements import Measurements

BEGIN, END = "<!-- benchmark: written by `make bench` -->\n", "<!-- /benchmark -->\n"
_BLOCK = re.compile(f"{re.escape(BEGIN)}.*?{re.escape(END)}", re.DOTALL)

_PAGE = Path(__file__).with_name("page.md")


def size(rows: int, connections: int) -> str:
    """Name requests of one size.

    >>> size(1, 32), size(512, 1)
    ('one row, 32 at once', '512 rows, one at a time')
    """
    rows_text = "one row" if rows == 1 else f"{rows} rows"
    return f"{rows_text}, {'one at a time' if connections == 1 else f'{connections} at once'}"


def block(measured: Measurements) -> str:
    """Write the short table, between the marks that the README and the page have."""
    return f"{BEGIN}{tables.markdown(summary.table(measured))}{END}"


def page(measured: Measurements, root: Path) -> str:
    """Write docs/benchmarks.md for a checkout, whose code may have changed since."""
    run = measured.run
    speeds = tables.spread(record.speed_ms for record in measured.records)
    whole = measured.rounds
    pieces = {
        "block": block(measured),
        "verdicts": tables.markdown(verdicts.verdicts(measured)),
        "versions": tables.markdown(_versions(measured)),
        "figures": "\n".join(_figures(measured, model) for model in run.models),
        "tails": tables.markdown(_tails(measured)),
        "starts": tables.markdown(_starts(measured)),
        "left_out": tables.markdown(_left_out()).rstrip("\n"),
        "difference": _agreed(max((start.difference for start in measured.starts), default=0.0)),
        "rounds": f"{whole} rounds" if whole != 1 else "1 round",
        "partial": "" if whole == run.rounds else f"The run was cut off: {whole} of {run.rounds} rounds are whole.\n\n",
        "noise": f"{speeds.low:.0f} to {speeds.high:.0f}" if speeds is not None else "no",
        "machine": run.machine,
        "date": run.date,
        "admission": serving_path.admission(run.commit, is_same=serving_path.sha256(root) == run.serving_sha256),
        "command": run.command,
    }
    return _PAGE.read_text("utf-8").format(**pieces, **run.seconds)


def _agreed(difference: float) -> str:
    return f"the largest difference was {difference:.1g}" if difference else "not one bit differed"


def _versions(measured: Measurements) -> list[list[str]]:
    rows = [["server", "in the tables", "versions"]]
    for name, packages in measured.run.contestants.items():
        listed = ", ".join(f"{package} {version}" for package, version in packages.items())
        rows.append([summary.TITLES.get(name, name).strip("*"), name, listed])
    return rows


def _figures(measured: Measurements, model: str) -> str:
    records = [record for record in measured.records if record.model == model]
    kind = "mixed columns, rows as objects" if model == COLUMNS else "rows of numbers"
    texts = [f"## {model}: {kind}\n"]
    for rows, connections in tables.sizes(records):
        figures = tables.markdown(tables.figures(records, rows, connections))
        texts.append(f"### {model}: {size(rows, connections)}\n\n{figures}")
    return "\n".join(texts)


def _tails(measured: Measurements) -> list[list[str]]:
    rows = [["server", "one row, p99 ms", "probe, p99 ms", "large requests/s", "errors"]]
    for name in dict.fromkeys(tail.contestant for tail in measured.tails):
        mine = [tail for tail in measured.tails if tail.contestant == name]
        keys = ("one_p99_ms", "live_p99_ms", "large_per_second")
        spreads = [str(tables.spread(getattr(tail, key) for tail in mine) or "none") for key in keys]
        rows.append([name, *spreads, str(sum(tail.errors for tail in mine))])
    return rows


def _starts(measured: Measurements) -> list[list[str]]:
    rows = [["server", "model", "start s", "memory MB"]]
    for model, name in dict.fromkeys((start.model, start.contestant) for start in measured.starts):
        mine = [start for start in measured.starts if (start.model, start.contestant) == (model, name)]
        spreads = [str(tables.spread(getattr(start, key) for start in mine)) for key in ("start_s", "memory_mb")]
        rows.append([name, model, *spreads])
    return rows


def _left_out() -> list[list[str]]:
    lacking = [[one.name, what, why] for one in FULL for what, why in one.lacks]
    return [["server", "what", "why"], *([["all", what, why] for what, why in LEFT_OUT]), *lacking]


def write(measured: Measurements, root: Path) -> list[Path]:
    """Write everything that follows from a run into a checkout; give the files.

    Raises:
        ValueError: Nothing was measured, or the README has no place for the table.
    """
    if not measured.records:
        raise ValueError("nothing was measured; run 'make bench'")
    readme = root / "README.md"
    text, places = _BLOCK.subn(lambda _: block(measured), readme.read_text("utf-8"))
    if places != 1:
        raise ValueError(f"README.md has {places} places for the table, instead of one between {BEGIN!r} and {END!r}")
    written = {
        root / "docs" / "benchmarks.md": page(measured, root),
        root / "docs" / "benchmarks.svg": plot.picture(summary.panels(measured)),
        readme: text,
    }
    for path, content in written.items():
        path.write_text(content, "utf-8")
    raw = root / "docs" / "benchmarks.jsonl"
    measurements.save(raw, measured)
    return [*written, raw]
