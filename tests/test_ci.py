"""CI's script: what it calls, in which order, and what it ends, with stand-ins for the programs that it starts."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.docs.pages import page

ROOT = Path(__file__).resolve().parent.parent
TARGETS = set(re.findall(r"^\.PHONY: ([a-z0-9-]+)$", ROOT.joinpath("Makefile").read_text("utf-8"), re.MULTILINE))

#: Says what it was called with, and fails where it was told to.
STAND_IN = """#!/bin/sh
echo "$(basename "$0") $*" >>"$CALLS"
case " $* " in *" ${FAILS:-nothing} "*) exit 1 ;; esac
"""


@dataclass(frozen=True)
class Run:
    """What a run of the script did.

    Attributes:
        status: Its exit status.
        calls: The programs that it called, each with its words.
        output: What it printed.
    """

    status: int
    calls: list[str]
    output: str

    def place(self, call: str) -> int:
        """Say when something was called, first if several times."""
        return next(place for place, found in enumerate(self.calls) if re.search(call, found))


def run(folder: Path, fails: str = "", *, has_docker: bool = False) -> Run:
    """Run a copy of the script where `make`, `docker` and its own helpers are stand-ins."""
    programs, scripts, calls = folder / "bin", folder / ".ci", folder / "calls"
    for path in (programs / "make", programs / "docker", scripts / "docker", scripts / "packages"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(STAND_IN, "utf-8")
        path.chmod(0o755)
    if not has_docker:
        programs.joinpath("docker").write_text("#!/bin/sh\nexit 1\n", "utf-8")
    shutil.copy(ROOT / ".ci" / "run", scripts / "run")
    environment = {"PATH": f"{programs}:{os.environ['PATH']}", "CALLS": str(calls), "FAILS": fails}
    done = subprocess.run(
        [scripts / "run"], env=environment, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
    )
    return Run(done.returncode, calls.read_text("utf-8").splitlines(), done.stdout + done.stderr)


def targets_of(call: str) -> list[str]:
    """Give the targets of a call of make."""
    return [word for word in call.split()[1:] if not word.startswith("-") and "=" not in word]


def test_ci_calls_the_readmes_command_and_targets_alone(tmp_path: Path) -> None:
    """What CI does can be done by hand, and what a reader is told to run is what CI runs."""
    done = run(tmp_path)
    asked = [target for call in done.calls if call.startswith("make ") for target in targets_of(call)]

    assert done.status == 0, done.output
    assert set(asked) <= TARGETS
    assert {"test", "chart-mutate", "instructions", "e2e"} <= set(asked)
    assert any("make test" in block.text.replace("$ ", "").splitlines() for block in page("README.md").blocks)


def test_what_tests_need_is_there_before_they_run(tmp_path: Path) -> None:
    """A test that finds no Docker would be skipped, and a count of instructions needs Valgrind."""
    done = run(tmp_path)

    assert done.place("docker start") < done.place("make test")
    assert "--docker" in done.calls[done.place("make test")]
    assert done.place("packages .*valgrind") < done.place("make .*instructions")


def test_ci_ends_what_it_started(tmp_path: Path) -> None:
    """The cluster first, because it runs in the daemon."""
    assert run(tmp_path).calls[-2:] == ["make cluster-down", "docker stop"]


@pytest.mark.parametrize("phase", ["valgrind", "test", "chart-mutate", "cluster-up", "e2e"])
def test_a_phase_that_fails_fails_the_run(tmp_path: Path, phase: str) -> None:
    """Nothing comes after it but the end of what was started; a cluster that never was is not looked for."""
    done = run(tmp_path, fails=phase)
    after = done.calls[done.place(rf"[ ]{phase}\b") + 1 :]

    assert done.status != 0
    assert after == (["make cluster-down"] if phase in ("cluster-up", "e2e") else []) + ["docker stop"]


def test_a_daemon_that_was_there_stays(tmp_path: Path) -> None:
    """It may have other containers."""
    assert "docker stop" not in run(tmp_path, has_docker=True).calls


@pytest.mark.parametrize(
    ("there", "installs"), [("valgrind", []), ("git", ["install valgrind"])], ids=["is there", "is missing"]
)
def test_packages_installs_what_is_missing(tmp_path: Path, there: str, installs: list[str]) -> None:
    """And calls apt-get for nothing else: a machine without a network has what it has."""
    programs = {
        "dpkg-query": f'#!/bin/sh\n[ "$4" = {there} ] && echo "install ok installed"\n',
        "apt-get": '#!/bin/sh\n[ "$1" = update ] || echo "$1 $(eval echo \\${$#})" >>"$CALLS"\n',
    }
    for name, text in programs.items():
        tmp_path.joinpath(name).write_text(text, "utf-8")
        tmp_path.joinpath(name).chmod(0o755)
    calls = tmp_path / "calls"
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "CALLS": str(calls)}
    subprocess.run([ROOT / ".ci" / "packages", "valgrind"], env=environment, check=True, capture_output=True)

    assert (calls.read_text("utf-8").splitlines() if calls.exists() else []) == installs
