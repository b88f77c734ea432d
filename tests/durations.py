"""How long each test file took when it last passed, kept in the user's cache: a pytest plugin, the longest file first.

A file that begins last runs alone at the end, so long files begin first. The process that controls a run reads the
durations once and hands them to its workers, which must all agree on the order; it alone writes, when the run is over.
"""

from __future__ import annotations

import json
import os
import statistics
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Seconds by file, as they were kept when the run began.
KEPT = pytest.StashKey[dict[str, float]]()


def place(environment: Mapping[str, str]) -> Path:
    """Say where the durations are kept.

    >>> str(place({"XDG_CACHE_HOME": "/var/cache"}))
    '/var/cache/model-server/durations.json'
    """
    cache = environment.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache, "model-server", "durations.json")


def read(path: Path) -> dict[str, float]:
    """Read what was kept: nothing where the file is missing or damaged, and the next run writes it anew."""
    try:
        found = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def write(path: Path, durations: Mapping[str, float]) -> None:
    """Replace what was kept; a run that reads at this moment sees the old file or the new one, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(f".{os.getpid()}")
    draft.write_text(json.dumps(dict(sorted(durations.items())), indent=1), "utf-8")
    draft.replace(path)


def file_of(nodeid: str) -> str:
    """Give the file of a test.

    >>> file_of("tests/test_arrows.py::test_no_cycles[a::b]")
    'tests/test_arrows.py'
    """
    return nodeid.partition("::")[0]


def duration(nodeid: str, kept: Mapping[str, float]) -> float:
    """Look up the seconds of a test's file; one that is new counts as an average one.

    >>> kept = {"a.py": 1.0, "b.py": 9.0}
    >>> [duration(nodeid, kept) for nodeid in ("a.py::t", "new.py::t")], duration("a.py::t", {})
    ([1.0, 5.0], 0.0)
    """
    return kept.get(file_of(nodeid), statistics.fmean(kept.values() or (0.0,)))


def pytest_configure(config: pytest.Config) -> None:
    """Read the durations and record new ones, in the process that hands out whole files; a worker does neither."""
    if config.getoption("dist", "no") == "loadfile":
        config.stash[KEPT] = read(place(os.environ))
        config.pluginmanager.register(Recorder(config))


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Hand them to a worker."""
    node.workerinput["durations"] = node.config.stash.get(KEPT, {})


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Put the longest files first in a worker; files of one duration, and tests of one file, keep their order."""
    handed: dict[str, float] = getattr(config, "workerinput", {}).get("durations", {})
    items.sort(key=lambda item: -duration(item.nodeid, handed))


class Recorder:
    """Sums up what the tests of each file take, and keeps it when all have passed."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._seconds: defaultdict[str, float] = defaultdict(float)
        self._ran: set[str] = set()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take note of a test's setup, call or end; a file whose tests were all skipped was not measured."""
        self._seconds[file_of(report.nodeid)] += report.duration
        if report.when == "call" and not report.skipped:
            self._ran.add(file_of(report.nodeid))

    def pytest_sessionfinish(self, exitstatus: int) -> None:
        """Keep what was measured beside what was known of other files, those of the cluster for example."""
        if exitstatus == pytest.ExitCode.OK:
            known = {
                name: s for name, s in self._config.stash[KEPT].items() if (self._config.rootpath / name).is_file()
            }
            write(place(os.environ), known | {name: round(self._seconds[name], 3) for name in self._ran})
