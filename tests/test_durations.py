"""The order of test files: recorded durations decide, every process agrees on it, and one process writes."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests import durations
from tests.checkout import ROOT

if TYPE_CHECKING:
    from pathlib import Path

PASSES = "def test_one(): pass\ndef test_two(): pass\n"
SKIPS = "import pytest\n@pytest.mark.skip(reason='no cluster here')\ndef test_one(): pass\n"
#: A worker's first act is to turn the file over: one that read it too would begin with another test file.
TURNED_OVER = """
import json, os
from tests.durations import place

if os.environ.get("PYTEST_XDIST_WORKER") == "gw0":
    path = place(os.environ)
    kept = json.loads(path.read_text())
    path.write_text(json.dumps(dict(zip(kept, reversed(kept.values())))))
"""
SPREAD = ("-n2", "--dist=loadfile", "--no-loadscope-reorder")


def kept_in(folder: Path) -> Path:
    """Say where the runs of these tests keep durations."""
    return durations.place({"XDG_CACHE_HOME": str(folder / "cache")})


def run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run pytest in a folder with nothing but the plugin, and a cache of its own."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("PYTEST", "COV_"))}
    environment |= {"XDG_CACHE_HOME": str(folder / "cache"), "PYTHONPATH": str(ROOT)}
    # The other plugins take seconds to import, in each process.
    environment |= {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    command = [sys.executable, "-m", "pytest", "-p", "xdist.plugin", "-p", "tests.durations", "-v", *words]
    return subprocess.run(
        [*command, f"--rootdir={folder}", "--import-mode=importlib", "-p", "no:cacheprovider"],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Five files and the durations of three of them; one more is kept that is there no longer."""
    for name in ("test_a", "test_b", "test_c", "test_new"):
        tmp_path.joinpath(f"{name}.py").write_text(PASSES, "utf-8")
    tmp_path.joinpath("test_skipped.py").write_text(SKIPS, "utf-8")
    kept = {"test_a.py": 1.0, "test_b.py": 2.0, "test_c.py": 30.0, "test_skipped.py": 40.0, "test_gone.py": 27.0}
    durations.write(kept_in(tmp_path), kept)
    return tmp_path


def test_the_longest_files_begin(project: Path) -> None:
    """One worker takes them one after the other: an average one (20 s) stands for the new file."""
    done = run(project, "-n1", *SPREAD[1:])

    begun = re.findall(r"^\[gw0\].* (test_\w+)\.py::test_one", done.stdout, re.MULTILINE)
    assert (done.returncode, begun) == (0, ["test_skipped", "test_c", "test_new", "test_b", "test_a"]), done.stdout


def test_workers_agree_whatever_happens_to_the_file(project: Path) -> None:
    """Another run may write it between the starts of two workers; pytest-xdist refuses to run two orders."""
    project.joinpath("conftest.py").write_text(TURNED_OVER, "utf-8")
    done = run(project, *SPREAD)

    begun = dict(reversed(re.findall(r"^\[(gw\d)\].* (test_\w+)\.py::", done.stdout, re.MULTILINE)))
    assert (done.returncode, set(begun.values())) == (0, {"test_skipped", "test_c"}), done.stdout


def test_a_run_that_passes_is_recorded(project: Path) -> None:
    """What ran is measured anew, what was skipped keeps its number, what is gone goes."""
    assert run(project, *SPREAD).returncode == 0
    kept = durations.read(kept_in(project))

    assert kept.keys() == {"test_a.py", "test_b.py", "test_c.py", "test_new.py", "test_skipped.py"}
    assert kept["test_skipped.py"] == 40.0
    assert kept["test_c.py"] != 30.0


@pytest.mark.parametrize("words", [("test_c.py",), (*SPREAD, "test_c.py", "test_red.py")], ids=["part", "red"])
def test_other_runs_are_not(project: Path, words: tuple[str, ...]) -> None:
    """A person's run of a few tests, or one that fails, says nothing about a whole file."""
    before = kept_in(project).read_bytes()
    project.joinpath("test_red.py").write_text("def test_red(): assert False\n", "utf-8")
    run(project, *words)

    assert kept_in(project).read_bytes() == before


@pytest.mark.parametrize("content", ["", "{", "[1]"], ids=["empty", "cut off", "another kind"])
def test_a_damaged_file_is_written_anew(project: Path, content: str) -> None:
    """A cache may be lost at any time, and costs an order at most."""
    kept_in(project).write_text(content, "utf-8")
    done = run(project, *SPREAD)

    assert done.returncode == 0, done.stdout
    assert "test_a.py" in json.loads(kept_in(project).read_text("utf-8"))


def test_the_make_targets_spread_whole_files() -> None:
    """Recording goes by this word of the command line; without it nothing would ever be kept."""
    makefile = ROOT.joinpath("Makefile").read_text("utf-8")

    assert re.search(r"^IN_ORDER = --dist loadfile --no-loadscope-reorder$", makefile, re.MULTILINE)
    assert makefile.count("$(IN_ORDER)") >= 2
