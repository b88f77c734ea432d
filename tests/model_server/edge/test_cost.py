"""What a request costs from socket to socket, in calls of functions: equal on every machine, where times are not.

A regression of the lean route shows here: another layer, another object a request, and above all anything that is done
for each row. The limits are some 10 % above what was counted when they were set.
"""

from __future__ import annotations

import asyncio
import gc
import sys
from typing import TYPE_CHECKING, Any

import pytest
import uvloop

from model_server.telemetry.logs import write_later
from tests.model_server.edge.wire_to_wire import TOGETHER, ask_all, connected, logging_to, on_the_wire, v1, v2

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


async def counted(registry: Path, path: str, body: bytes, together: int) -> float:
    """Count the calls of Python and C functions a request, once everything is warm."""
    wires = await connected(registry, together)
    request = on_the_wire(path, body)
    for _ in range(3):
        await ask_all(wires, request)
    calls = 0

    def count(_frame: Any, event: str, _argument: Any) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    gc.disable()
    before = sys.getprofile()
    sys.setprofile(count)
    try:
        await ask_all(wires, request)
    finally:
        sys.setprofile(before)
        gc.enable()
        write_later(None)
    return calls / together


@pytest.mark.parametrize(
    ("request_of", "n_rows", "together", "limit"),
    [
        (v1, 1, TOGETHER, 157),
        (v2, 1, TOGETHER, 236),
        (v1, 1, 1, 330),
        (v1, 200, TOGETHER, 520),
        (v1, 4000, 1, 4090),
        (v2, 4000, 1, 3900),
    ],
    ids=["v1", "v2", "v1 alone", "v1 of 200 rows", "v1 of 4000 rows", "v2 of 4000 rows"],
)
def test_a_request_costs_no_more_calls_than_it_did(  # noqa: PLR0913, PLR0917 - a table
    request_of: Callable[[int], tuple[str, bytes]],
    n_rows: int,
    together: int,
    limit: int,
    registry: Path,
    tmp_path: Path,
) -> None:
    """Contract, counters and log line included; many rows cost hardly more than one."""
    with logging_to(tmp_path / "log"), asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        calls = runner.run(counted(registry, *request_of(n_rows), together))

    assert calls <= limit, f"{calls:.0f} calls a request"
    assert calls > limit * 0.5, f"only {calls:.0f} calls a request: lower the limit, so that it keeps its worth"
