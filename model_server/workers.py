"""Several serving processes on the same ports.

Each worker is a whole server with its own copy of the model, and the kernel spreads connections over them
(SO_REUSEPORT). The ports are one, so a scrape of ``/metrics`` reaches one worker, which says so, and a reload is
refused, since the workers would answer with two versions: replicas scale better.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

from model_server.errors import ConfigError
from model_server.telemetry.logs import logger

if TYPE_CHECKING:
    from collections.abc import Sequence

    from model_server.settings import Settings

# Tells a worker that it is one. No setting: it must not be set by hand.
_MARK = "_MODEL_SERVER_IS_WORKER"
_POLL_S = 0.1


def is_worker() -> bool:
    """Say whether this process was started by a supervisor."""
    return _MARK in os.environ


def supervise(arguments: Sequence[str], settings: Settings) -> int:
    """Start the workers, ask them to stop when this process is asked to, and end when they have ended.

    A worker that ends by itself takes the others with it, so that the container restarts instead of limping on.

    Args:
        arguments: The command line, handed to each worker.
        settings: The settings read from it.

    Returns:
        Exit code: 0 when this process was asked to stop and every worker stopped, else 1.

    Raises:
        ConfigError: A port is 0, which cannot be shared.
    """
    if 0 in (settings.http_port, settings.grpc_port):
        raise ConfigError("workers > 1 need an http_port and a grpc_port other than 0: all share them")
    logger.warning(
        "%d workers share the ports: a scrape of /metrics covers one of them, and load, unload and reload are refused",
        settings.workers,
    )
    asked = _remember_signals()  # before the first worker: a signal in between would leave workers behind
    command = [sys.executable, "-m", "model_server", *arguments]
    workers = [subprocess.Popen(command, env=os.environ | {_MARK: "1"}) for _ in range(settings.workers)]  # noqa: S603 - our own command
    while not asked and all(worker.poll() is None for worker in workers):
        time.sleep(_POLL_S)
    if not asked:
        logger.critical("a worker ended by itself, so all end: its own last line says why")
    for worker in workers:
        worker.send_signal(signal.SIGTERM)  # to one that has ended, nothing is sent
    codes = [worker.wait() for worker in workers]
    return 0 if asked and {0, -signal.SIGTERM}.issuperset(codes) else 1


def _remember_signals() -> list[int]:
    asked: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, _frame: asked.append(number))
    return asked
