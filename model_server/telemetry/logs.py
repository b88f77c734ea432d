"""Structured logging: one JSON object a line on standard output, for this server and every library in it.

No line holds a feature value, a header or a token.
"""

from __future__ import annotations

import logging
import sys
import traceback
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import orjson

from model_server.errors import ModelServerError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

logger = logging.getLogger("model_server")


def timestamp(now_s: float) -> str:
    """Write a time in UTC to the millisecond, as ISO 8601.

    Args:
        now_s: Seconds since 1970.
    """
    whole_s = int(now_s)
    return f"{_second(whole_s)}.{int((now_s - whole_s) * 1000):03d}+00:00"


@lru_cache(maxsize=2)
def _second(whole_s: int) -> str:
    return datetime.fromtimestamp(whole_s, UTC).strftime("%Y-%m-%dT%H:%M:%S")


class LineHandler(logging.StreamHandler[Any]):
    """Writes log lines; those of requests come ready made, and all of one turn of an event loop are written at once.

    Records of Python's logging cost some 50 µs each, several times what the lean route takes for everything else.
    """

    def __init__(self, stream: Any) -> None:
        """Write to a stream at once, until ``write_later`` says otherwise."""
        super().__init__(stream)
        self._lines: list[str] = []
        self.later: Callable[[Callable[[], None]], object] | None = None

    def put(self, line: str) -> None:
        """Write a line that is ready, with its line end."""
        self._lines.append(line)
        if self.later is None:
            self.flush()
        elif len(self._lines) == 1:
            self.later(self.flush)

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record behind the lines that came before it."""
        self._write()
        super().emit(record)

    def flush(self) -> None:
        """Write what is waiting."""
        self._write()
        super().flush()

    def _write(self) -> None:
        if self._lines:
            lines, self._lines = self._lines, []
            self.stream.write("".join(lines))


def write_later(later: Callable[[Callable[[], None]], object] | None) -> None:
    """Buffer request lines until a callback of the event loop flushes them; None writes each at once again.

    Args:
        later: Calls a function soon, from the same thread.
    """
    for handler in logging.root.handlers:
        if isinstance(handler, LineHandler):
            handler.flush()
            handler.later = later


class JsonFormatter(logging.Formatter):
    """One JSON object a line: timestamp, level, logger, message, and the line's own fields."""

    def format(self, record: logging.LogRecord) -> str:
        """Render a record; of an exception only its type and the stack's places are kept.

        Its text may quote a feature value (those of numpy and pandas do), so only an error of ours keeps it.
        """
        line: dict[str, Any] = {
            "timestamp": timestamp(record.created),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= getattr(record, "fields", {})
        if record.exc_info and record.exc_info[1] is not None:
            line |= _stack(record.exc_info[1])
        return orjson.dumps(line, default=str).decode()


def _stack(error: BaseException) -> Mapping[str, Any]:
    frames = traceback.extract_tb(error.__traceback__)
    text = {"error": str(error)} if isinstance(error, ModelServerError) else {}
    stack = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames]
    return {"error_type": type(error).__name__, **text, "stack": stack}


def configure_logging(level: str) -> None:
    """Send every log line of the process, Python's warnings included, to standard output as JSON.

    Args:
        level: Least level that is written.
    """
    handler = LineHandler(sys.stdout)
    handler.setFormatter(JsonFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    logging.captureWarnings(capture=True)
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access", "kserve", "kserve.trace"):
        other = logging.getLogger(name)
        # KServe configures its loggers with handlers of its own unless it finds one; ours comes through the root.
        other.handlers[:] = [logging.NullHandler()]
        other.propagate = True
    for chatty in ("uvicorn", "uvicorn.error", "kserve", "asyncio"):
        logging.getLogger(chatty).setLevel(max(logging.WARNING, logging.getLevelName(level)))
