"""Finished requests: counted, timed and written to the log, one line each.

Only the values of a kind of request become labels, and those are bounded. Latencies are buffered and added to the
histogram in bulk.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from bisect import bisect_right
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

from model_server.telemetry.logs import LineHandler, logger, timestamp
from model_server.telemetry.metrics import BUCKETS_S

if TYPE_CHECKING:
    from model_server.telemetry.metrics import Metrics

#: Latencies of one kind of request that wait to be added up.
_MOST_WAITING = 1000

#: Keys of a request line, in order; docs/reference.md lists them.
REQUEST_KEYS = (
    "protocol",
    "method",
    "endpoint",
    "status",
    "latency_ms",
    "rows",
    "model_name",
    "model_version",
    "request_id",
    "error_type",
)


class Kind(NamedTuple):
    """What many requests have in common: the labels of their metrics, and their line but for four values.

    Attributes:
        protocol: ``v1``, ``v2``, ``grpc`` or ``http`` for everything else.
        method: HTTP method, or ``RPC``.
        endpoint: Route template or gRPC method; ``unmatched`` for a path that is none.
        status: HTTP status, or the name of a gRPC status code.
        model_name: Name of the served model, or empty.
        model_version: Version of the served model, or empty.
        error_type: Slug of the error, or empty.
    """

    protocol: str
    method: str
    endpoint: str
    status: int | str
    model_name: str
    model_version: str
    error_type: str


KindTuple = tuple[str, str, str, int | str, str, str, str]


class Telemetry:
    """Counts and logs finished requests."""

    def __init__(self, metrics: Metrics, *, log_requests: bool) -> None:
        """Bind metrics.

        Args:
            metrics: The process's metrics.
            log_requests: Whether to write one line a request.
        """
        self.metrics = metrics
        #: Requests being answered; a plain number, since it changes twice a request.
        self.in_flight = 0
        metrics.in_flight.set_function(lambda: self.in_flight)
        self._log_requests = log_requests
        self._kinds: dict[KindTuple, _Prepared] = {}
        metrics.before_scrape.calls.append(self._fold)

    def count(self, kind: KindTuple, latency_s: float, request_id: str, rows: int) -> None:
        """Count one finished request and write its line.

        Args:
            kind: What it has in common with others: a ``Kind``, or its values in a plain tuple, which is quicker made.
            latency_s: Seconds from the complete request to the answer.
            request_id: Identifier of the request.
            rows: Rows answered.
        """
        prepared = self._kinds.get(kind)
        if prepared is None:  # as bounded as labels are
            prepared = self._kinds[kind] = _Prepared(self.metrics, Kind(*kind))
        waiting = prepared.waiting
        waiting.append(latency_s)
        if len(waiting) >= _MOST_WAITING:
            prepared.fold()
        if self._log_requests:
            _write_line(prepared, latency_s, request_id, rows)

    def _fold(self) -> None:
        for prepared in list(self._kinds.values()):
            prepared.fold()


class _Prepared:
    """What requests of one kind share: their two series, and their line but for four values.

    Counting and timing one request takes some 3 microseconds; adding up a thousand takes hardly longer. So latencies
    wait here until there are many, or somebody reads the metrics.
    """

    __slots__ = ("_count", "_lock", "_time", "kind", "line", "waiting")

    def __init__(self, metrics: Metrics, kind: Kind) -> None:
        self._count = metrics.requests.labels(kind.protocol, kind.endpoint, str(kind.status), kind.model_version)
        self._time = metrics.request_seconds.labels(kind.protocol, kind.endpoint, kind.model_version)
        self._lock = threading.Lock()
        self.kind = kind
        self.line = _line_template(kind)
        self.waiting: list[float] = []

    def fold(self) -> None:
        """Add what is waiting to the series; what other threads append meanwhile waits for the next time."""
        with self._lock:
            part = sorted(self.waiting[:_MOST_WAITING])
            del self.waiting[: len(part)]
            self._count.inc(len(part))
            below = 0
            for bound, bucket in zip((*BUCKETS_S, math.inf), self._time._buckets, strict=True):  # noqa: SLF001
                reached = bisect_right(part, bound)
                bucket.inc(reached - below)
                below = reached
            self._time._sum.inc(sum(part))  # noqa: SLF001 - the library has no way to observe many at once


def _line_template(kind: Kind) -> str:
    """Write a request line with places for its time, latency, rows and identifier."""
    places = {"latency_ms": '"latency_ms":%.3f%s', "rows": "", "request_id": '"request_id":"%s"'}
    fields = {"level": "INFO", "logger": logger.name, "message": "request", **_line(kind, 0.0, "-", 1)}
    parts = [
        places[key] if key in places else orjson.dumps({key: value}).decode()[1:-1].replace("%", "%%")
        for key, value in fields.items()
    ]
    return '{"timestamp":"%s",' + ",".join(part for part in parts if part) + "}\n"


def _write_line(prepared: _Prepared, latency_s: float, request_id: str, rows: int) -> None:
    handlers = logging.root.handlers
    handler = handlers[0] if len(handlers) == 1 else None
    if type(handler) is not LineHandler:  # embedded, as in tests: whoever listens to the logger must hear of it
        logger.info("request", extra={"fields": _line(prepared.kind, latency_s, request_id, rows)})
    elif logger.isEnabledFor(logging.INFO):
        count = f',"rows":{rows}' if rows else ""
        handler.put(prepared.line % (timestamp(time.time()), latency_s * 1000, count, request_id))


def _line(kind: Kind, latency_s: float, request_id: str, rows: int) -> dict[str, Any]:
    values = {**kind._asdict(), "latency_ms": round(latency_s * 1000, 3), "request_id": request_id, "rows": rows}
    return {key: values[key] for key in REQUEST_KEYS if values[key] not in ("", 0) or key in ("status", "latency_ms")}
