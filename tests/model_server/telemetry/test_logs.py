"""Log lines: their form, and what never stands in them."""

from __future__ import annotations

import logging
import warnings
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson
import pytest

from model_server.errors import BugError, ContractError, Violation
from model_server.telemetry.logs import JsonFormatter, configure_logging, logger, timestamp

if TYPE_CHECKING:
    from collections.abc import Callable

    Lines = Callable[[], list[dict[str, Any]]]


def test_a_line_has_a_time_with_its_zone(lines: Lines) -> None:
    """It is in UTC to the millisecond, so lines of several pods can be put in order."""
    configure_logging("INFO")
    logger.warning("line\nbreak and %s", "words")

    (line,) = lines()
    assert datetime.fromisoformat(line["timestamp"]).utcoffset() is not None
    assert (line["level"], line["logger"], line["message"]) == ("WARNING", "model_server", "line\nbreak and words")


def test_of_a_foreign_exception_only_type_and_places_are_kept(lines: Lines) -> None:
    """Its text may quote a value: numpy's and pandas' do."""
    configure_logging("INFO")
    try:
        np.array(["987654.321s3cret"]).astype(float)
    except ValueError:
        logger.exception("request failed")

    (line,) = lines()
    assert line["error_type"] == "ValueError"
    assert any("test_logs.py" in place for place in line["stack"])
    assert "987654" not in str(line)
    assert "error" not in line


@pytest.mark.parametrize("error", [BugError("broken"), ContractError([Violation("broken")])])
def test_an_error_of_ours_keeps_its_text(error: Exception, lines: Lines) -> None:
    """It names features, rows and rules, never a value."""
    configure_logging("INFO")
    logger.error("request failed", exc_info=error)

    (line,) = lines()
    assert (line["error"], line["error_type"]) == ("broken", type(error).__name__)


def test_a_field_that_is_no_json_becomes_text() -> None:
    """A line must not be lost for it."""
    record = logging.LogRecord("x", logging.INFO, "here", 1, "said", None, None)
    record.fields = {"path": Path("/a")}

    assert orjson.loads(JsonFormatter().format(record))["path"] == "/a"


def test_warnings_and_other_loggers_come_as_lines_too(lines: Lines) -> None:
    """One format for whoever reads; what chatters at INFO is quiet."""
    configure_logging("INFO")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("old thing", stacklevel=1)
    logging.getLogger("uvicorn.error").info("chatter")
    logging.getLogger("kserve").error("serious")

    assert [(line["logger"], line["level"]) for line in lines()] == [("py.warnings", "WARNING"), ("kserve", "ERROR")]


@pytest.mark.parametrize(("level", "count"), [("DEBUG", 4), ("INFO", 3), ("WARNING", 2), ("ERROR", 1)])
def test_the_level_is_the_least_that_is_written(level: str, count: int, lines: Lines) -> None:
    """Lines below it are left out; the settings choose it."""
    configure_logging(level)
    for number in (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR):
        logger.log(number, "x")

    assert len(lines()) == count


@pytest.mark.parametrize("now_s", [0.0, 1_767_225_599.9996, 1_700_000_000.001, 951_782_400.25])
def test_a_timestamp_is_a_time_to_the_millisecond(now_s: float) -> None:
    """In UTC; never more than it is."""
    read = datetime.fromisoformat(timestamp(now_s))

    assert read.utcoffset() == timedelta(0)
    assert 0 <= now_s - read.timestamp() < 0.0011
