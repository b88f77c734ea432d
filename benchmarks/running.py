"""A contestant's process: started on one core, waited for, ended with all that it started; knows no measurements."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import time
from http import HTTPStatus
from typing import TYPE_CHECKING, Self

from benchmarks import environments, machine
from benchmarks.contestants import ROOT, Ports

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.contestants import Contestant, Served

_START_S = 120.0
_END_S = 10.0


class Running:
    """A contestant's process, pinned to one core; a context manager that ends it."""

    def __init__(self, contestant: Contestant, served: Served, core: int, folder: Path) -> None:
        """Start it and wait until it answers.

        Args:
            contestant: Which one.
            served: What it serves.
            core: Core that it and all its children get.
            folder: For its files; its output goes to ``log`` there, a file as a container's log driver has.

        Raises:
            SystemExit: It did not answer in time, or has no environment.
        """
        self.contestant = contestant
        self.served = served
        self.ports = Ports(_free_port(), _free_port())
        words = [environments.python(contestant.lock), *contestant.command(served, self.ports, folder)]
        variables = {**os.environ, "PYTHONPATH": str(ROOT), **contestant.variables(served, folder)}
        started_s = time.perf_counter()
        with folder.joinpath("log").open("wb") as output:
            self._process = subprocess.Popen(
                ["taskset", "-c", str(core), *words],
                cwd=ROOT,
                env=variables,
                stdout=output,
                stderr=subprocess.STDOUT,
                process_group=0,  # to end it with all that it starts; a session of its own would have another priority
            )
        self._wait(folder / "log")
        #: Seconds from its command to its first good answer.
        self.start_s = time.perf_counter() - started_s

    @property
    def pid(self) -> int:
        """Its process."""
        return self._process.pid

    def _wait(self, log: Path) -> None:
        deadline_s = time.monotonic() + _START_S
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline_s:
                self.stop()
                tail = log.read_text(errors="replace")[-2000:]
                raise SystemExit(f"bench: {self.contestant.name} did not come up:\n{tail}")
            time.sleep(0.02)

    def _answers(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self.ports.http, timeout=2)
        with contextlib.suppress(OSError, http.client.HTTPException), contextlib.closing(connection):
            connection.request("GET", self.contestant.ready)
            return connection.getresponse().status == HTTPStatus.OK
        return False

    def stop(self) -> None:
        """End it and everything that it started."""
        started = machine.tree(self.pid)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_END_S)
        # Some put their workers into a group of their own, or leave them behind.
        for pid in machine.alive(started, _END_S):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._process.wait(_END_S)

    def __enter__(self) -> Self:
        """Give the running server."""
        return self

    def __exit__(self, *_: object) -> None:
        """End it."""
        self.stop()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])
