"""What the tests of telemetry share: the lines that were written."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import orjson
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Lines = Callable[[], list[dict[str, Any]]]


@pytest.fixture
def lines(capsys: pytest.CaptureFixture[str]) -> Iterator[Lines]:
    """Give a function that reads the lines so far, each of which must be an object; logging is put back afterwards."""
    names = (None, "uvicorn", "uvicorn.error", "uvicorn.access", "kserve", "kserve.trace", "asyncio")
    before = [(one, one.handlers[:], one.level, one.propagate) for one in map(logging.getLogger, names)]
    yield lambda: [orjson.loads(line) for line in capsys.readouterr().out.splitlines()]
    logging.captureWarnings(capture=False)
    for one, handlers, level, propagate in before:
        one.handlers[:], one.propagate = handlers, propagate
        one.setLevel(level)
