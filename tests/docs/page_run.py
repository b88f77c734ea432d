"""Executes the commands of a page in order, as a reader would; knows shells, files and ports, not what is right.

A reader sits in the checkout and uses the ports that the page names. Here every command runs in a folder of its own, on
free ports and with this very Python; what it prints is turned back into the reader's words.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.conformance.target import clean_environment
from tests.docs.pages import ROOT
from tests.docs.transcript import Step, steps

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tests.docs.pages import Page

#: A command that serves until it is stopped.
_SERVES = ("make run", "make serve", "-m model_server")
#: A command that sets a variable for those that follow.
_ASSIGNMENT = re.compile(r"[A-Z]+='[^']*'")
START_TIMEOUT_S = 240.0
COMMAND_TIMEOUT_S = 240.0


@dataclass(frozen=True)
class Act:
    """Something that a page tells the reader to do: write a file, run a command or a Python program."""

    kind: str
    step: Step
    name: str = ""

    @property
    def title(self) -> str:
        """What a test of it is called."""
        return f"{self.kind} {self.name or self.step.command.splitlines()[0][:60]}"


def acts(page: Page) -> list[Act]:
    """List what a page tells the reader to do, in order."""
    found: list[Act] = []
    for block in page.blocks:
        if block.info.startswith("file="):
            found.append(Act("file", Step(block.text, ""), block.info.removeprefix("file=")))
        elif block.language == "console":
            found += [Act("run", step) for step in steps(block.text)]
        elif block.language == "python":
            found.append(Act("python", Step(block.text, ""), f"in {block.section}"))
        elif block.language == "text" and found and found[-1].kind == "python" and not found[-1].step.shown:
            last = found.pop()
            found.append(Act("python", Step(last.step.command, block.text.strip("\n")), last.name))
    return found


@dataclass
class PageRun:
    """A reader's way through a page.

    Attributes:
        folder: Where commands run and files are written.
        renamed: The page's words and what stands for them here, for example its ports.
        make_variables: Variables that every ``make`` gets.
        said: What each act printed, in the page's words.
        broken: The act that could not be done, if there is one.
    """

    folder: Path
    renamed: dict[str, str]
    make_variables: Sequence[str] = ()
    said: list[str] = field(default_factory=list)
    broken: str = ""
    _assignments: list[str] = field(default_factory=list)
    _servers: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def follow(self, everything: Sequence[Act], upto: int) -> str:
        """Do what was not done yet, up to and with one act, and give what that one printed."""
        while len(self.said) <= upto:
            act = everything[len(self.said)]
            assert not self.broken, f"not tried, because an earlier act broke off: {self.broken}"
            self.broken = act.title
            self.said.append(self._in_page_words(self.do(act)))
            self.broken = ""
        return self.said[upto]

    def do(self, act: Act) -> str:
        """Do one thing and give what it printed."""
        text = self._in_our_words(act.step.command)
        if act.kind == "file":
            self.folder.joinpath(act.name).write_text(text, "utf-8")
            return ""
        if act.kind == "python":
            return _run_python(text, act.name)
        if any(mark in text for mark in _SERVES) and '"message":"ready"' in act.step.shown.replace(" ", ""):
            return self._serve(text)
        return self._run(text)

    def stop(self) -> None:
        """Press Ctrl-C where a server still runs."""
        for server in self._servers:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(server.pid, signal.SIGINT)
        for server in self._servers:
            server.wait(timeout=30)
        self._servers.clear()

    def _in_our_words(self, text: str) -> str:
        for theirs, ours in self.renamed.items():
            text = text.replace(theirs, ours)
        return text

    def _in_page_words(self, text: str) -> str:
        for theirs, ours in self.renamed.items():
            text = text.replace(ours, theirs)
        return text.replace(f"{self.folder}/", "")

    def _script(self, command: str) -> str:
        variables = " ".join(self.make_variables)
        make = f'make() {{ command make --no-print-directory -C {ROOT} -o {sys.prefix}/stamp {variables} "$@"; }}'
        return "\n".join([make, *self._assignments, command])

    def _run(self, command: str) -> str:
        if _ASSIGNMENT.fullmatch(command):
            self._assignments.append(command)
            return ""
        done = subprocess.run(
            ["sh", "-c", self._script(command)],
            cwd=self.folder,
            env=_environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=COMMAND_TIMEOUT_S,
            check=False,
        )
        return done.stdout.decode()

    def _serve(self, command: str) -> str:
        # Only one server has the page's ports.
        self.stop()
        output = self.folder / f"server-{len(self.said)}.out"
        with output.open("wb") as file:
            server = subprocess.Popen(
                ["sh", "-c", self._script(command)],
                cwd=self.folder,
                env=_environment(),
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._servers.append(server)
        deadline = time.monotonic() + START_TIMEOUT_S
        while '"message":"ready"' not in (said := output.read_text("utf-8")):
            assert server.poll() is None, f"{command} ended with {server.returncode}:\n{said}"
            assert time.monotonic() < deadline, f"{command} was not ready within {START_TIMEOUT_S} s:\n{said}"
            time.sleep(0.05)
        return said


def _run_python(code: str, name: str) -> str:
    """Run a program in this process, which has imported the heavy libraries already."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(code, f"<{name}>", "exec"), {"__name__": "__main__"})  # noqa: S102 - the page's own program
    return printed.getvalue()


def _environment() -> dict[str, str]:
    variables = clean_environment()
    for name in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS", "MODEL", "REGISTRY", "VENV"):
        variables.pop(name, None)
    variables |= {"NO_PROXY": "*", "PYTHONPATH": ""}
    return variables
