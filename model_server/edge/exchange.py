"""The exchange: one request and its response, from arrival to log line, over HTTP or gRPC.

Every request begins and ends here once: it gets an identifier, the headers that every answer has, its counts and its
log line. Here, too, is the one place where an error becomes what a client sees of it.
"""

from __future__ import annotations

import asyncio
import re
import time
import uuid
from dataclasses import dataclass
from functools import lru_cache
from itertools import count
from typing import TYPE_CHECKING

import orjson

from model_server.errors import BugError, ModelServerError, Unavailable
from model_server.telemetry.logs import logger
from model_server.wire.parts import error_document

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from model_server.serving.repository import BundleRepository
    from model_server.telemetry.requests import Telemetry

    Headers = Sequence[tuple[bytes, bytes]]

_REQUEST_ID = re.compile(r"[A-Za-z0-9._:/+=@-]{1,128}")
REQUEST_ID = b"x-request-id"
JSON = b"application/json"
_JSON_ONLY = ((b"content-type", JSON),)
#: Status in the log of a request that nobody waits for any more; nginx has the same.
CLIENT_CLOSED_REQUEST = 499
DISCONNECTED = "client-disconnected"
#: Formats whose errors have the statuses of the facade.
FACADE_FORMATS = ("one", "batch")
#: All that a client learns of an error of ours.
INTERNAL = "internal error; the log has the details under this request's x-request-id"


# Not frozen: docs/decisions.md, 33.
@dataclass(slots=True)
class Exchange:
    """One request, and the state of its response.

    Attributes:
        method: HTTP method, or ``RPC``.
        path: Decoded path, or the gRPC method.
        headers: Header values by lower-case name; of a repeated header the last counts.
        query: Query string, as it was sent.
        request_id: Identifier, the client's if it is valid.
        started_s: When the body was complete, by ``time.perf_counter``.
        endpoint: Route template for logs and metrics.
        protocol: Protocol for logs and metrics.
        format: What its bodies are, where the model is asked; empty elsewhere.
        version: Version of the bundle that was required for it, or empty.
        rows: Rows answered.
        error_type: Slug of the error that was answered.
        status: Status that was answered, 0 before; of gRPC its name.
    """

    method: str
    path: str
    headers: Mapping[bytes, bytes]
    query: bytes
    request_id: str
    started_s: float
    endpoint: str = "unmatched"
    protocol: str = "http"
    format: str = ""
    version: str = ""
    rows: int = 0
    error_type: str = ""
    status: int | str = 0

    @property
    def elapsed_s(self) -> float:
        """Seconds since the body was complete."""
        return time.perf_counter() - self.started_s

    def lost(self) -> None:
        """Note that the client went away before it was answered."""
        self.status, self.error_type = CLIENT_CLOSED_REQUEST, DISCONNECTED


@dataclass(slots=True)
class Response:
    """A complete HTTP answer: status, headers beside the ones that every answer has, and body."""

    status: int
    body: bytes
    headers: Headers = _JSON_ONLY


class Accounting:
    """Begins and finishes exchanges."""

    def __init__(self, repository: BundleRepository, telemetry: Telemetry) -> None:
        """Bind what names the served version, and what counts.

        Args:
            repository: Knows what is served.
            telemetry: Counts and logs.
        """
        self._repository = repository
        self._telemetry = telemetry

    def begin(self, method: str, path: str, headers: Mapping[bytes, bytes], query: bytes = b"") -> Exchange:
        """Begin an exchange; ``finish`` must follow."""
        self._telemetry.in_flight += 1
        asked = headers.get(REQUEST_ID)
        request_id = _own_id() if asked is None else _request_id_of(asked.decode("latin-1"))
        return Exchange(method, path, headers, query, request_id, time.perf_counter())

    def headers(self, exchange: Exchange) -> Headers:
        """Give the headers that every HTTP answer has."""
        own = (
            (REQUEST_ID, exchange.request_id.encode()),
            (b"x-response-time-ms", b"%.2f" % ((time.perf_counter() - exchange.started_s) * 1000)),
        )
        version = exchange.version or self._repository.served_version
        return (*own, _version_header(version)) if version else own

    def version(self, exchange: Exchange) -> str:
        """Give the version that answers an exchange, or empty while nothing is served."""
        return exchange.version or self._repository.served_version

    def finish(self, exchange: Exchange) -> None:
        """Count an exchange and write its log line."""
        self._telemetry.in_flight -= 1
        kind = (  # in the order of Kind: naming its fields costs two calls a request
            exchange.protocol,
            exchange.method,
            exchange.endpoint,
            exchange.status,
            self._repository.model_name or "",
            exchange.version or self._repository.served_version,
            exchange.error_type,
        )
        latency_s = time.perf_counter() - exchange.started_s
        self._telemetry.count(kind, latency_s, exchange.request_id, exchange.rows)


@lru_cache(maxsize=4)
def _version_header(version: str) -> tuple[bytes, bytes]:
    return b"x-model-version", version.encode()


# Identifiers must differ between processes, and within one: half of a random UUID, and a count from a random start.
_OWN_PREFIX = str(uuid.uuid4())[:24]
_OWN_COUNT = count(uuid.uuid4().int & 0xFFFF_FFFF_FFFF)


def _request_id_of(asked: str) -> str:
    """Take the client's identifier if it is valid, else generate one."""
    return asked if asked and _REQUEST_ID.fullmatch(asked) else _own_id()


def _own_id() -> str:
    return f"{_OWN_PREFIX}{next(_OWN_COUNT) & 0xFFFF_FFFF_FFFF:012x}"


def refusal_of(exchange: Exchange, error: BaseException) -> ModelServerError:
    """Choose the error that the client sees: its own, or a fixed text for one of ours, whose details go to the log."""
    if isinstance(error, asyncio.CancelledError):  # the grace of a shutdown is over
        error = Unavailable("the server is shutting down: send the request again")
    if not isinstance(error, ModelServerError) or isinstance(error, BugError):
        logger.error("request failed", exc_info=error, extra={"fields": {"request_id": exchange.request_id}})
        error = BugError(INTERNAL)
    exchange.error_type = error.slug
    return error


def refusal(exchange: Exchange, error: BaseException) -> Response:
    """Answer an error over HTTP."""
    return error_response(exchange, refusal_of(exchange, error))


def error_response(exchange: Exchange, error: ModelServerError, status: int | None = None) -> Response:
    """Render an error as the one JSON body that every route answers.

    Args:
        exchange: The request.
        error: What the client may see.
        status: HTTP status; None for the error's own.
    """
    exchange.error_type = error.slug
    own = error.facade_status if exchange.format in FACADE_FORMATS and error.facade_status else error.http_status
    headers = [*_JSON_ONLY]
    if error.retry_after_s is not None:
        headers.append((b"retry-after", b"%d" % error.retry_after_s))
    return Response(status or own, orjson.dumps(error_document(error, exchange.request_id)), headers)
