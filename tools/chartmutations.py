"""How much the chart's suites notice: knows how to break the chart in one place at a time; knows no test by name.

Every condition is turned round, every field that a template writes is dropped, every rule of the schema is dropped.
helm-unittest must go red for each. What survives is printed with its place; the score is the share that did not.
"""

import argparse
import concurrent.futures
import copy
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools import gotools

CHART = Path(__file__).resolve().parent.parent / "charts" / "model-server"
CONDITION = re.compile(r"\{\{(-?) if (.+?) (-?)\}\}")
FIELD = re.compile(r"^\s*(- )?[A-Za-z][\w./-]*: \S.*$|^\s*- [^{\s].*$")
RULES = ("minimum", "maximum", "pattern", "enum", "required", "minLength", "const", "type", "uniqueItems")


@dataclass(frozen=True)
class Mutation:
    """One broken place.

    Attributes:
        file: The changed file, relative to the chart.
        place: Where in it and how.
        text: Its whole new content.
    """

    file: str
    place: str
    text: str


def flipped(file: str, text: str) -> Iterator[Mutation]:
    """Turn each condition of a template round."""
    for found in CONDITION.finditer(text):
        number = text.count("\n", 0, found.start()) + 1
        changed = f"{{{{{found[1]} if not ({found[2]}) {found[3]}}}}}"
        yield Mutation(file, f"{number}: not ({found[2]})", text[: found.start()] + changed + text[found.end() :])


def dropped(file: str, text: str) -> Iterator[Mutation]:
    """Drop each line of a template that writes a field, an element, or the text of a refusal."""
    lines = text.splitlines(keepends=True)
    for index, line in enumerate(lines):
        if FIELD.match(line.rstrip("\n")):
            yield Mutation(
                file, f"{index + 1}: without {line.strip()[:70]}", "".join(lines[:index] + lines[index + 1 :])
            )


def loosened(file: str, text: str) -> Iterator[Mutation]:
    """Drop each rule of the schema, and open each closed table."""
    schema = json.loads(text)
    for way in rules(schema):
        changed = copy.deepcopy(schema)
        place: Any = changed
        for key in way[:-1]:
            place = place[key]
        del place[way[-1]]
        yield Mutation(file, f"without {'/'.join(map(str, way))}", json.dumps(changed))


def rules(schema: Any, way: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Walk the places of a schema's rules.

    >>> list(rules({"properties": {"minimum": {"minimum": 1}}}))
    [('properties', 'minimum', 'minimum')]
    """
    if isinstance(schema, list):
        for index, item in enumerate(schema):
            yield from rules(item, (*way, index))
    if not isinstance(schema, dict):
        return
    names_keys = bool(way) and way[-1] == "properties"
    for key, value in schema.items():
        # Helm itself keeps a text from taking the place of a table that values.yaml has.
        is_helms = key == "type" and "properties" in schema
        is_rule = (key in RULES and not is_helms) or (key == "additionalProperties" and value is False)
        if is_rule and not names_keys:
            yield (*way, key)
        else:
            yield from rules(value, (*way, key))


def mutations() -> list[Mutation]:
    """Break the chart in every place, one at a time."""
    found: list[Mutation] = []
    for path in sorted(CHART.glob("templates/*")):
        file, text = str(path.relative_to(CHART)), path.read_text("utf-8")
        found += [*flipped(file, text), *(dropped(file, text) if path.suffix != ".txt" else ())]
    found += loosened("values.schema.json", CHART.joinpath("values.schema.json").read_text("utf-8"))
    return found


def suites_for(file: str) -> list[str]:
    """Order the suites so that the one that should notice comes first."""
    names = sorted(path.name for path in CHART.glob("tests/*_test.yaml"))
    slow = {"templates/_guards.tpl": "refusals_test.yaml", "values.schema.json": "schema_test.yaml"}
    first = slow.get(file)
    quick = [first] if first else [name for name in names if name not in slow.values()]
    return [*quick, *(name for name in names if name not in quick)]


def survives(mutation: Mutation) -> bool:
    """Say whether all suites stay green on the broken chart."""
    with tempfile.TemporaryDirectory() as scratch:
        chart = Path(scratch, "chart")
        shutil.copytree(CHART, chart)
        chart.joinpath(mutation.file).write_text(mutation.text, "utf-8")
        names = suites_for(mutation.file)
        first = 1 if names[0] in ("refusals_test.yaml", "schema_test.yaml") else len(names) - 2
        return is_green(chart, names[:first]) and is_green(chart, names[first:])


def is_green(chart: Path, suites: list[str]) -> bool:
    """Run some suites until one of them fails."""
    files = [word for name in suites for word in ("-f", f"tests/{name}")]
    command = [str(gotools.build("helm-unittest")), "--strict", "--failfast", *files, str(chart)]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def first_of(commit: str, every: int) -> int:
    """Choose where a share begins, so that each commit tries other places and the same commit always the same ones.

    >>> first_of("00ff", 10), first_of("00ff", 1), first_of("", 10)
    (5, 0, 0)
    """
    return int(commit or "0", 16) % every


def head() -> str:
    """Name the checkout's commit; empty where git knows none, as in an archive of the sources."""
    command = ["git", "-C", str(CHART), "rev-parse", "HEAD"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def main() -> int:
    """Break the chart, run the suites, print the score."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--every", type=int, default=1, help="take every n-th place only")
    parser.add_argument("--first", type=int, help="begin at this place, instead of one that follows from the commit")
    parser.add_argument("--only", default="", help="break only places whose file, line or text holds this")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="how many at the same time")
    options = parser.parse_args()
    if not is_green(CHART, suites_for("")):
        print("chart-mutate: the suites are red before anything is broken; run `make chart` first", file=sys.stderr)
        return 1
    first = first_of(head(), options.every) if options.first is None else options.first
    tried = [one for one in mutations() if options.only in f"{one.file}:{one.place}"][first :: options.every]
    share = f", one in {options.every}; FIRST={first} takes these again" if options.every > 1 else ""
    print(f"chart-mutate: {len(tried)} places{share}", flush=True)
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        alive = [one for one, lives in zip(tried, pool.map(survives, tried), strict=True) if lives]
    for one in alive:
        print(f"survived {one.file}:{one.place}")
    print(f"chart-mutate: {len(tried) - len(alive)} of {len(tried)} broken charts were noticed")
    return 1 if alive else 0


if __name__ == "__main__":
    sys.exit(main())
