"""How long one row and a liveness probe take while a client sends requests of 10,000 rows; knows latencies alone.

The small requests come on a fixed schedule, whether the last one was answered or not: else a server that stalls would
be asked less often while it does.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks import payloads
from benchmarks.load import HttpConnection, Load, http_request

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.contestants import Running
    from benchmarks.payloads import Table

LARGE_ROWS = 10_000
_EVERY_S = 0.02


@dataclass(frozen=True)
class Tail:
    """Latencies beside large requests.

    Attributes:
        round: Number of the round.
        contestant: Whose.
        one_p99_ms: Of one row, the 99th percentile.
        live_p99_ms: Of ``/v2/health/live``.
        large_per_second: Large requests answered meanwhile.
    """

    round: int
    contestant: str
    one_p99_ms: float
    live_p99_ms: float
    large_per_second: float


def tail(number: int, running: Running, table: Table, seconds: float) -> Tail:
    """Measure the tails of a running server that speaks v1."""
    small = payloads.requests("v1", table, 1)[0]
    large = payloads.requests("v1", table, LARGE_ROWS)[0]
    live = http_request("/v2/health/live", b"")
    stop = threading.Event()
    loads = [Load(), Load(), Load()]

    def keep(load: Load, request: bytes, every_s: float) -> Callable[[], None]:
        return lambda: _keep(HttpConnection(running.ports.http, iter(lambda: request, None)), load, every_s, stop)

    jobs = [keep(loads[0], small, _EVERY_S), keep(loads[1], live, _EVERY_S), keep(loads[2], large, 0.0)]
    threads = [threading.Thread(target=job) for job in jobs]
    for thread in threads:
        thread.start()
    time.sleep(seconds)
    stop.set()
    for thread in threads:
        thread.join()
    one_ms, live_ms = loads[0].quantile_ms(0.99), loads[1].quantile_ms(0.99)
    rate = len(loads[2].latencies_s) / seconds
    return Tail(number, running.contestant.name, round(one_ms, 2), round(live_ms, 2), round(rate, 2))


def _keep(connection: HttpConnection, load: Load, every_s: float, stop: threading.Event) -> None:
    due_s = time.perf_counter()
    with connection.socket:
        while not stop.is_set():
            due_s = due_s + every_s if every_s else time.perf_counter()
            time.sleep(max(0.0, due_s - time.perf_counter()))
            connection.send()
            while (answered := connection.receive()) is None:
                pass
            if answered:
                load.latencies_s.append(time.perf_counter() - due_s)
            else:
                load.errors += 1
