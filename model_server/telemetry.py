"""Every metric and every log line of the server is declared here; knows their names and labels, not who reports them.

Label values are bounded: routes are templates, models and versions are the served ones, features come from the
contract. No line and no label ever holds a feature value, a header or a token.
"""

from __future__ import annotations

import logging
import math
import sys
import threading
import time
import traceback
from bisect import bisect_right
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson
from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.registry import Collector

from model_server.errors import ModelServerError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from prometheus_client import Metric

#: Upper bounds in seconds. A tabular model answers in well under the 5 ms where the usual buckets begin.
BUCKETS_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

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

logger = logging.getLogger("model_server")


class Metrics:
    """The Prometheus metrics of one process."""

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        """Register all metrics.

        Args:
            registry: Where they are collected; the default one is what ``/metrics`` shows.
        """
        request = ["protocol", "endpoint", "code", "model_version"]
        self.registry = registry
        self.before_scrape = _BeforeScrape()
        registry.register(self.before_scrape)  # first: collectors are asked in order
        self.requests = Counter(
            "model_server_requests_total",
            "Requests by protocol, route, status code and model version.",
            request,
            registry=registry,
        )
        self.request_seconds = Histogram(
            "model_server_request_seconds",
            "Time from the last byte of a request to its answer, in seconds.",
            ["protocol", "endpoint", "model_version"],
            buckets=BUCKETS_S,
            registry=registry,
        )
        self.inference_seconds = Histogram(
            "model_server_inference_seconds",
            "Time within the model, in seconds.",
            ["model_version"],
            buckets=BUCKETS_S,
            registry=registry,
        )
        self.rows = Counter(
            "model_server_rows_total", "Rows that the model answered.", ["model_version"], registry=registry
        )
        self.in_flight = Gauge("model_server_requests_in_flight", "Requests being answered.", registry=registry)
        self.violations = Counter(
            "model_server_contract_violations_total",
            "Values that broke the contract, by feature.",
            ["feature"],
            registry=registry,
        )
        self.out_of_bounds = Counter(
            "model_server_out_of_bounds_total",
            "Values outside bounds that only warn, by feature.",
            ["feature"],
            registry=registry,
        )
        self.loads = Counter(
            "model_server_model_loads_total", "Attempts to load a bundle, by result.", ["result"], registry=registry
        )
        self.load_seconds = Gauge(
            "model_server_model_load_seconds",
            "Time that the served bundle took to load, in seconds.",
            registry=registry,
        )
        self.info = Gauge(
            "model_server_model_info",
            "1 for the served bundle.",
            ["name", "version", "digest", "run_id"],
            registry=registry,
        )


class _BeforeScrape(Collector):
    """Calls whoever has something to add before the metrics are read; a collector without metrics of its own."""

    def __init__(self) -> None:
        self.calls: list[Callable[[], None]] = []

    def describe(self) -> Iterable[Metric]:
        """Name none."""
        return ()

    def collect(self) -> Iterable[Metric]:
        """Call them."""
        for call in self.calls:
            call()
        return ()


# Not frozen: docs/decisions.md, 33.
@dataclass(slots=True)
class RequestRecord:
    """One finished request, for whoever counts only a few.

    Attributes:
        protocol: ``v1``, ``v2``, ``grpc`` or ``http`` for everything else.
        method: HTTP method, or ``RPC``.
        endpoint: Route template or gRPC method; ``unmatched`` for a path that is none.
        status: HTTP status, or the name of a gRPC status code.
        latency_s: Seconds from the complete request to the answer.
        request_id: Identifier of the request, of harmless characters.
        model_name: Name of the served model, or empty.
        model_version: Version of the served model, or empty.
        rows: Rows answered.
        error_type: Slug of the error, or empty.
    """

    protocol: str
    method: str
    endpoint: str
    status: int | str
    latency_s: float
    request_id: str
    model_name: str = ""
    model_version: str = ""
    rows: int = 0
    error_type: str = ""


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

    def finished(self, record: RequestRecord) -> None:
        """Count one request and write its line."""
        kind = (
            record.protocol,
            record.method,
            record.endpoint,
            record.status,
            record.model_name,
            record.model_version,
            record.error_type,
        )
        self.count(kind, record.latency_s, record.request_id, record.rows)

    def count(self, kind: KindTuple, latency_s: float, request_id: str, rows: int) -> None:
        """Count one request of a kind and write its line: ``finished``, for those who answer thousands a second.

        Args:
            kind: The values of a ``Kind``, in its order.
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


class Kind(NamedTuple):
    """All that many requests have in common; the attributes are those of ``RequestRecord``."""

    protocol: str
    method: str
    endpoint: str
    status: int | str
    model_name: str
    model_version: str
    error_type: str


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
    """Let request lines wait for a moment that an event loop chooses; None writes each at once again.

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


class Stopwatch:
    """Seconds since it was made."""

    __slots__ = ("_started",)

    def __init__(self) -> None:
        """Start it."""
        self._started = time.perf_counter()

    @property
    def elapsed_s(self) -> float:
        """Seconds so far."""
        return time.perf_counter() - self._started
