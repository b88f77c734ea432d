"""``python -m benchmarks``: measures this server beside others, and writes what came out; knows words, not numbers."""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import environments, measurements, plans, report, runs, tables, verdicts
from benchmarks.contestants import FULL, ROOT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.measurements import Measurements
    from benchmarks.plans import Plan


def main(argv: Sequence[str] | None = None) -> int:
    """Do what was asked.

    Args:
        argv: Arguments without the program's name; default: the process's.

    Returns:
        0, whether promises are kept or not: that is for the reader.
    """
    asked = _parser().parse_args(argv)
    do = {"quick": _quick, "full": _full, "environments": _environments, "report": _report}
    do[asked.task](asked)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    tasks = parser.add_subparsers(dest="task", required=True)
    quick = tasks.add_parser("quick", help="two minutes: ours, KServe and an echo without a model")
    quick.add_argument("--model", default=plans.NUMBERS, help="a model of numbers with a version in production")
    full = tasks.add_parser("full", help="every contestant, with a model of numbers and one of mixed columns")
    full.add_argument("--resume", action="store_true", help="go on after the last whole round of --raw")
    for task in (quick, full):
        task.add_argument("--registry", type=Path, default=Path("artifacts"), help="folder of bundles")
        task.add_argument("--raw", type=Path, help="file for every measurement, one a line")
        task.add_argument("--rounds", type=int, help="how many")
        task.add_argument("--measure-s", type=float, help="seconds of each measurement")
        task.add_argument("--tail-s", type=float, help="seconds of small requests beside large ones")
        task.add_argument("--only", nargs="*", help="names of contestants; default: all")
    tasks.add_parser("environments", help="make the environments of the contestants, once")
    written = tasks.add_parser("report", help="write docs/benchmarks.md, its picture and the README's table")
    written.add_argument("raw", type=Path, help="what --raw of full was")
    written.add_argument("--root", type=Path, default=ROOT, help="the checkout to write into")
    return parser


def _asked_of(plan: Plan, asked: argparse.Namespace) -> Plan:
    changes = {name: getattr(asked, name) for name in ("rounds", "measure_s", "tail_s")}
    plan = replace(plan, **{name: value for name, value in changes.items() if value is not None})
    if not asked.only:
        return plan
    parts = [
        replace(part, contestants=tuple(one for one in part.contestants if one.name in asked.only))
        for part in plan.parts
    ]
    return replace(plan, parts=tuple(part for part in parts if part.contestants))


def _quick(asked: argparse.Namespace) -> None:
    plan = _asked_of(plans.quick(asked.model), asked)
    raw = asked.raw or Path("build/bench-quick.jsonl")
    _print(runs.perform(plan, asked.registry, raw, command=f"make bench-quick MODEL={asked.model}"))


def _full(asked: argparse.Namespace) -> None:
    plan = _asked_of(plans.full(), asked)
    raw = asked.raw or Path("build/bench.jsonl")
    command = f"make bench ROUNDS={plan.rounds}"
    _print(runs.perform(plan, asked.registry, raw, command=command, resume=asked.resume))


def _environments(_: argparse.Namespace) -> None:
    for lock in dict.fromkeys(one.lock for one in FULL if one.lock):
        environments.make(lock)


def _report(asked: argparse.Namespace) -> None:
    for path in report.write(measurements.load(asked.raw), asked.root):
        print(path.relative_to(asked.root))


def _print(measured: Measurements) -> None:
    load = ", ".join(f"{number:.1f}" for number in os.getloadavg())
    speeds = tables.spread(record.speed_ms for record in measured.records)
    print(f"{measured.run.machine}; load average {load}; a fixed piece of Python took {speeds} ms\n")
    for model in measured.run.models:
        records = [record for record in measured.records if record.model == model]
        for rows, connections in tables.sizes(records):
            print(f"{model}, {report.size(rows, connections)}")
            print(tables.plain(tables.figures(records, rows, connections)))
    print(tables.plain(verdicts.verdicts(measured)))


if __name__ == "__main__":
    sys.exit(main())
