"""How long one row and a liveness probe take while a client sends requests of 10,000 rows; knows latencies alone.

The small requests come on a fixed schedule, whether the last one was answered or not: else a server that stalls would
be asked less often while it does.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from benchmarks import payloads
from benchmarks.load import HttpConnection, Load, http_request
from benchmarks.measurements import Tail

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.payloads import Table
    from benchmarks.running import Running

LARGE_ROWS = 10_000
_EVERY_S = 0.02


def tail(number: int, running: Running, table: Table, seconds: float) -> Tail:
    """Measure the tails of a running server, by the plainest protocol that it speaks."""
    contestant = running.contestant
    protocol = contestant.protocols(numeric=table.is_numeric)[0]
    small, large = (payloads.write(protocol, table, table.draw(n_rows, 0)) for n_rows in (1, LARGE_ROWS))
    live = http_request(contestant.probe, b"")
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
    errors = sum(load.errors for load in loads)
    return Tail(number, table.model, contestant.name, round(one_ms, 2), round(live_ms, 2), round(rate, 2), errors)


def _keep(connection: HttpConnection, load: Load, every_s: float, stop: threading.Event) -> None:
    due_s = time.perf_counter()
    with connection.socket:
        while not stop.is_set():
            due_s = due_s + every_s if every_s else time.perf_counter()
            time.sleep(max(0.0, due_s - time.perf_counter()))
            try:
                is_answered = _answered(connection)
            except OSError:  # no further one would be answered on this connection
                load.errors += 1
                return
            if is_answered:
                load.latencies_s.append(time.perf_counter() - due_s)
            else:
                load.errors += 1


def _answered(connection: HttpConnection) -> bool:
    connection.send()
    while (answered := connection.receive()) is None:
        pass
    return answered
