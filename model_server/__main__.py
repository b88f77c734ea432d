"""The command ``python -m model_server``; the only place that reads settings. ``BundleServer`` builds the rest."""

from __future__ import annotations

import logging
import os
import sys
from typing import TYPE_CHECKING

from model_server import garbage, workers
from model_server import settings as settings_module
from model_server.errors import ConfigError, ModelServerError
from model_server.telemetry.logs import configure_logging, logger
from model_server.telemetry.metrics import Metrics

if TYPE_CHECKING:
    from collections.abc import Sequence

    from model_server.settings import Settings


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until a signal.

    Args:
        argv: Arguments without the program's name; default: the process's.

    Returns:
        Exit code: 0 after an orderly stop, 1 when no model could be served or the server failed, 2 for a bad setting.
    """
    arguments = sys.argv[1:] if argv is None else argv
    try:
        settings = settings_module.load(arguments)
    except ConfigError as error:
        configure_logging("INFO")
        logger.critical(str(error))
        return 2
    configure_logging(settings.log_level)
    sys.argv[1:] = []  # importing kserve.model_server parses sys.argv by rules of its own
    try:
        return _run(settings, arguments)
    except ModelServerError as error:
        logger.critical(str(error), extra={"fields": {"error_type": error.slug}})
    except Exception:  # noqa: BLE001 - a thread that still loads would keep the process, failed and silent
        logger.critical("the server failed", exc_info=True)
    return _exit(1)


def _run(settings: Settings, arguments: Sequence[str]) -> int:
    if settings.workers > 1 and not workers.is_worker():
        return workers.supervise(arguments, settings)
    garbage.pause()
    from model_server.edge.server import BundleServer  # a second of imports: after the settings are known to be good

    BundleServer(settings, Metrics(), when_loaded=garbage.settle).start()
    return _exit(0)


def _exit(code: int) -> int:
    """End the process at once: a bundle that is still loading runs in a thread that cannot be interrupted."""
    logging.shutdown()
    sys.stdout.flush()
    os._exit(code)


if __name__ == "__main__":
    sys.exit(main())
