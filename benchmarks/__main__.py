"""``python -m benchmarks quick``: ours beside KServe and an echo, in two minutes; prints figures and kept promises."""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import machine, tables
from benchmarks.contestants import QUICK, Served
from benchmarks.rounds import Bench, Cell, Plan, Record, Start, document
from benchmarks.tails import Tail

if TYPE_CHECKING:
    from collections.abc import Sequence

_CELLS = (
    *(Cell(protocol, 1, connections) for connections in (1, 32, 256) for protocol in ("v1", "echo")),
    Cell("v2", 1, 32),
    Cell("v2 binary", 1, 32),
    Cell("grpc", 1, 32),
    *(Cell(protocol, 512, 8) for protocol in ("v1", "echo", "v2", "v2 binary", "grpc")),
)
QUICK_PLAN = Plan(QUICK, _CELLS, rounds=3, warm_s=0.25, measure_s=0.6, tail_s=4.0)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a plan.

    Args:
        argv: Arguments without the program's name; default: the process's.

    Returns:
        0, whether promises are kept or not: that is for the reader.
    """
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("plan", choices=["quick"])
    parser.add_argument("--registry", type=Path, default=Path("artifacts"), help="folder of bundles")
    parser.add_argument("--model", default="breast-cancer", help="a model with one in production there")
    parser.add_argument("--rounds", type=int, default=QUICK_PLAN.rounds)
    parser.add_argument("--only", nargs="*", help="names of contestants; default: all")
    parser.add_argument("--json", type=Path, help="file for every measurement, one a line")
    asked = parser.parse_args(argv)
    _report(_run(asked))
    return 0


def _run(asked: argparse.Namespace) -> list[Record | Start | Tail]:
    folder = (asked.registry / asked.model).resolve()
    served = Served(asked.registry.resolve(), asked.model, folder / (folder / "production").read_text("utf-8").strip())
    names = asked.only or [contestant.name for contestant in QUICK]
    contestants = tuple(contestant for contestant in QUICK if contestant.name in names)
    plan = replace(QUICK_PLAN, contestants=contestants, rounds=asked.rounds)
    records: list[Record | Start | Tail] = []
    with tempfile.TemporaryDirectory() as logs:
        for record in Bench(plan, served, machine.cores(), Path(logs)).run():
            line = json.dumps(document(record))
            print(line, file=sys.stderr)
            if asked.json:
                with asked.json.open("a", encoding="utf-8") as output:
                    output.write(line + "\n")
            records.append(record)
    return records


def _report(measured: list[Record | Start | Tail]) -> None:
    records = [record for record in measured if isinstance(record, Record)]
    tails = [record for record in measured if isinstance(record, Tail)]
    starts = [record for record in measured if isinstance(record, Start)]
    speeds = tables.spread(record.speed_ms for record in records)
    load = ", ".join(f"{number:.1f}" for number in os.getloadavg())
    print(f"{machine.description()}; load average {load}; a fixed piece of Python took {speeds} ms\n")
    print(tables.plain(tables.figures(records)))
    print(tables.plain([*tables.verdicts(records), *tables.tail_verdicts(tails), *tables.start_verdicts(starts)]))


if __name__ == "__main__":
    sys.exit(main())
