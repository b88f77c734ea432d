"""The repository as a whole: locks, make targets, CI, reasons for dependencies, and words that must not be in it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tools import gotools, locks

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parent.parent
MAKEFILE = ROOT.joinpath("Makefile").read_text("utf-8")
PYPROJECT = tomllib.loads(ROOT.joinpath("pyproject.toml").read_text("utf-8"))

PACKAGES = {"model_server", "training"}

# Left by targets and tools; .ci and .github are the only hidden folders of the repository.
LEFT_OUT = {"__pycache__", "artifacts", "build", "dist", "htmlcov"}
HIDDEN = {".ci", ".github"}

# Written in two halves, so that this file passes its own test.
FORBIDDEN = [
    "py" + "pi.org",
    "python" + "hosted.org",
    "registry." + "npmjs",
    "deb." + "debian.org",
    "/" + "work/",
    "/" + "root/",
    "." + "pyenv",
]


def paths() -> Iterator[Path]:
    """Walk the files of the checkout without those that git ignores; works where there is no git."""
    for folder, folders, files in os.walk(ROOT):
        folders[:] = [name for name in folders if name in HIDDEN or not (name.startswith(".") or name in LEFT_OUT)]
        # In a second worktree .git is a file, which names a folder of this machine.
        yield from (Path(folder, name) for name in files if not (name.startswith(".coverage") or name == ".git"))


def name_of(requirement: str) -> str:
    """Give the package's name of a requirement line such as `pandas>=2.2,<3`."""
    match = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert match is not None
    return match[0].lower()


def pins(lock: str) -> dict[str, str]:
    """Read the versions of a lock, by package."""
    text = locks.FOLDER.joinpath(f"{lock}.txt").read_text("utf-8")
    return dict(re.findall(r"^([a-z0-9._-]+)==(\S+)", text, re.MULTILINE))


def targets() -> dict[str, str]:
    """Read the help text of every target of the Makefile that is a word; empty when it has none."""
    return dict(re.findall(r"^([a-z][a-z0-9-]*):[^=\n#]*(?:## (.+))?$", MAKEFILE, re.MULTILINE))


def test_the_locks_are_those_of_the_declarations() -> None:
    """A dependency that was changed in pyproject.toml alone would not be what gets installed."""
    assert locks.stale() == []


def test_a_stale_lock_is_found(tmp_path: Path) -> None:
    """The check above must be able to fail: on another dependency, and on a lock that is not there."""
    changed = ROOT.joinpath("pyproject.toml").read_text("utf-8").replace("orjson>=", "orjson<4,>=")
    tmp_path.joinpath("pyproject.toml").write_text(changed, "utf-8")

    assert locks.stale(pyproject=tmp_path / "pyproject.toml") == list(locks.LOCKS)
    assert locks.stale(folder=tmp_path) == list(locks.LOCKS)


def test_other_settings_do_not_make_a_lock_stale() -> None:
    """The settings of a linter change often, and no package with them."""
    text = ROOT.joinpath("pyproject.toml").read_text("utf-8")

    assert locks.declarations_sha256(text) == locks.declarations_sha256(text + "\n[tool.other]\nx = 1\n")


@pytest.mark.parametrize("lock", list(locks.LOCKS))
def test_every_package_of_a_lock_is_pinned_with_hashes(lock: str) -> None:
    """What is installed is, byte for byte, what was resolved."""
    entries = re.split(r"\n(?=\S)", locks.FOLDER.joinpath(f"{lock}.txt").read_text("utf-8"))
    packages = [entry for entry in entries if not entry.startswith("#")]

    assert packages
    assert [entry.split("\n")[0] for entry in packages if "==" not in entry or "--hash=sha256:" not in entry] == []


def test_what_is_tested_is_what_is_shipped() -> None:
    """The smaller locks are parts of the larger ones, version by version."""
    dev, train, onnx, serve = pins("dev"), pins("train"), pins("onnx"), pins("serve")

    assert serve.items() < train.items() < dev.items()
    assert serve.items() < onnx.items() < dev.items()


def test_peers_compute_the_model_with_the_same_libraries() -> None:
    """A benchmark of servers must not become one of numpy's versions."""
    dev = pins("dev")

    for lock in sorted(locks.BENCHED):
        shared = {name: version for name, version in pins(lock).items() if name in locks.MODEL_LIBRARIES}
        assert {"scikit-learn", "numpy", "scipy", "joblib"} <= shared.keys()
        assert shared == {name: dev[name] for name in shared}


def test_every_direct_dependency_has_its_reason() -> None:
    """docs/dependencies.md lists exactly what pyproject.toml declares."""
    project = PYPROJECT["project"]
    groups = [
        project["dependencies"],
        *project["optional-dependencies"].values(),
        *PYPROJECT["dependency-groups"].values(),
    ]
    text = ROOT.joinpath("docs/dependencies.md").read_text("utf-8")
    rows = re.findall(r"^\| ([a-z][a-z0-9-]*) \| \S.+ \|$", text, re.MULTILINE)

    assert [name_of(line) for group in groups for line in group] == [name for name in rows if name != "package"]


def test_every_go_program_has_its_reason() -> None:
    """docs/dependencies.md lists exactly what `make tools` builds."""
    text = ROOT.joinpath("docs/dependencies.md").read_text("utf-8")
    rows = re.findall(r"^\| (`[^|]+`) \| \S.+ \|$", text, re.MULTILINE)

    assert [name for row in rows for name in re.findall(r"`([^`]+)`", row)] == list(gotools.TOOLS)


def test_every_excused_rule_has_its_reason() -> None:
    """An ignore without a reason outlives the reason."""
    lint = ROOT.joinpath("pyproject.toml").read_text("utf-8").partition("[tool.ruff.lint]")[2]
    codes = re.findall(r'^\s*"([A-Z]+[0-9]+)",(.*)$', lint, re.MULTILINE)

    assert codes
    assert [code for code, rest in codes if not re.match(r"\s+# \w", rest)] == []


def test_no_file_names_a_registry_or_a_machine() -> None:
    """The repository works wherever its packages come from and wherever it is put."""
    found = [
        f"{path.relative_to(ROOT)}: {word}"
        for path in paths()
        for word in FORBIDDEN
        if word.encode() in path.read_bytes()
    ]

    assert found == []


def test_the_files_were_read() -> None:
    """The check above must see the hidden folders, and not the environment."""
    seen = {str(path.relative_to(ROOT)) for path in paths()}

    assert {".ci/run", ".github/workflows/ci.yml", "Makefile", "locks/dev.txt"} <= seen
    assert not any(name.startswith(".venv") for name in seen)


def test_the_wheel_holds_the_packages_and_nothing_else(tmp_path: Path) -> None:
    """What pip installs is what the checkout runs, with types, configs and the license."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    held = {name for name in zipfile.ZipFile(next(tmp_path.glob("*.whl"))).namelist() if ".dist-info/" not in name}
    wanted = {str(path.relative_to(ROOT)) for path in paths() if path.relative_to(ROOT).parts[0] in PACKAGES}

    assert held == wanted


def test_every_target_has_help() -> None:
    """`make help` is the list of what can be done here."""
    assert {"help", "setup", "run", "test", "check", "clean"} <= targets().keys()
    assert [name for name, text in targets().items() if not text] == []


def test_every_target_is_declared_phony() -> None:
    """A file called `test` must not stop the tests."""
    assert set(re.findall(r"^\.PHONY: ([a-z0-9-]+)$", MAKEFILE, re.MULTILINE)) == targets().keys()


def test_make_help_shows_every_target() -> None:
    """The list is printed from the texts, so one that the pattern misses would be silently absent."""
    answer = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True)

    assert {line.split()[0] for line in answer.stdout.splitlines() if line.startswith("  ")} == targets().keys()


@pytest.mark.parametrize("age_s", [0, 10**9], ids=["fresh", "older than the locks"])
def test_a_second_setup_costs_nothing(tmp_path: Path, age_s: int) -> None:
    """GNU make looks at times alone: it starts no process unless a lock is newer than the environment."""
    stamp = tmp_path / "stamp"
    stamp.touch()
    newest_s = max(
        path.stat().st_mtime for path in [*locks.FOLDER.iterdir(), ROOT / "pyproject.toml", *ROOT.glob("tools/*")]
    )
    os.utime(stamp, (newest_s - age_s + 1, newest_s - age_s + 1))
    environment = {key: value for key, value in os.environ.items() if key != "PYTHON"}
    answer = subprocess.run(["make", "-q", f"VENV={tmp_path}", str(stamp)], cwd=ROOT, env=environment, check=False)

    assert answer.returncode == (1 if age_s else 0)


def test_what_only_workflows_call_stands_last() -> None:
    """A person reads the list from the top; what is there because workflows call nothing but make can wait."""
    *_, last = MAKEFILE.split("\n##@ ")
    listed = set(re.findall(r"^\.PHONY: ([a-z0-9-]+)$", last, re.MULTILINE))
    texts = [path.read_text("utf-8") for path in ROOT.glob(".github/workflows/*.yml")]
    called = set(re.findall(r"run: make ([a-z-]+)", "\n".join(texts))) | {"bench-environments"}

    assert last.startswith("For workflows")
    assert listed == {name for name in called if name.startswith(("release-", "image-", "bench-"))} - {"image-smoke"}
