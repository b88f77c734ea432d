"""Several workers on the same ports: they start together, answer together and end together."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

from model_server import workers
from model_server.errors import ConfigError
from model_server.settings import load
from tests.bundles import catalogue
from tests.bundles.catalogue import NUMBERS
from tests.conformance.target import command

if TYPE_CHECKING:
    from tests.conformance.target import Process


def worker_ids(parent: int) -> set[int]:
    """List the processes that a process started."""
    return {int(word) for word in Path(f"/proc/{parent}/task/{parent}/children").read_text("ascii").split()}


def ended(process: int) -> bool:
    """Say whether a process is gone."""
    return not Path(f"/proc/{process}").exists()


def wait_until_both_answer(server: Process) -> None:
    """Wait until two workers have said that they are ready."""
    server.wait_for("/v2/health/ready")
    deadline = time.monotonic() + 60
    while sum(line["message"] == "ready" for line in server.log()) < 2:
        assert time.monotonic() < deadline, server.said()
        time.sleep(0.05)


def test_workers_cannot_share_a_port_that_the_system_picks() -> None:
    """Each of them would get another, and no client could find them."""
    with pytest.raises(ConfigError, match="an http_port and a grpc_port other than 0"):
        workers.supervise([], load(["--workers=2", "--grpc_port=0"], {}))


def test_this_process_is_no_worker() -> None:
    """Only a supervisor makes workers."""
    assert not workers.is_worker()


def test_a_worker_that_cannot_start_ends_all(tmp_path: Path) -> None:
    """The container restarts, and the worker's own line says why."""
    with command(tmp_path, "--workers=2", f"--model_dir={tmp_path / 'none'}", "--enable_grpc=false") as server:
        code = server.wait(60)
        said = server.said()

    assert code == 1
    assert "a worker ended by itself, so all end" in said
    assert "no bundle at" in said


@pytest.mark.slow
def test_two_workers_answer_on_one_port_and_stop_in_order(tmp_path: Path) -> None:
    """The kernel spreads connections over them; SIGTERM ends all, with exit code 0."""
    bundle = catalogue.write("linear", tmp_path / "linear" / "1.0.0").directory
    with command(tmp_path, "--workers=2", f"--model_dir={bundle}") as server:
        wait_until_both_answer(server)
        statuses = {
            httpx.post(
                f"{server.base_url}/v1/models/linear:predict", json={"instances": NUMBERS}, trust_env=False
            ).status_code
            for _ in range(20)
        }
        started = worker_ids(server.handle.pid)
        server.terminate()
        code = server.wait(30)
        said = server.said()

    assert (statuses, len(started), code) == ({200}, 2, 0)
    assert all(map(ended, started))
    assert said.count('"message":"stopped"') == 2


@pytest.mark.slow
def test_a_worker_that_dies_takes_the_others_with_it(tmp_path: Path) -> None:
    """Half a server would limp on unseen: probes reach one worker or the other."""
    bundle = catalogue.write("linear", tmp_path / "linear" / "1.0.0").directory
    with command(tmp_path, "--workers=2", f"--model_dir={bundle}", "--enable_grpc=false") as server:
        wait_until_both_answer(server)
        started = worker_ids(server.handle.pid)
        os.kill(min(started), signal.SIGKILL)
        code = server.wait(30)

    assert (len(started), code) == (2, 1)
    assert all(map(ended, started))
