"""The lean ASGI door in front of KServe's app; knows paths, bodies and headers, not what is in a body.

Every HTTP request passes here once: it gets an identifier, a bounded body, its headers, one log line and its counts.
Predict and infer are answered right here; everything else falls through to the app behind. Small ones may come without
ASGI, from ``edge.protocol``: its messages and a task a request take longer than all that a compiled model does.
"""

from __future__ import annotations

import asyncio
import re
import time
import uuid
from dataclasses import dataclass
from functools import lru_cache
from http import HTTPStatus
from itertools import count
from typing import TYPE_CHECKING, Any

import orjson

from model_server.errors import BodyTooLarge, BugError, ModelServerError, Unavailable, UnsupportedEncoding
from model_server.telemetry import logger
from model_server.wire.answers import error_document

if TYPE_CHECKING:
    from asyncio import Future
    from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence

    from model_server.edge.http.inference import Begun, HotPath
    from model_server.serving.call import Answer
    from model_server.serving.repository import BundleRepository
    from model_server.telemetry import Telemetry

    Message = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[Message]]
    Send = Callable[[Message], Awaitable[None]]
    Headers = Sequence[tuple[bytes, bytes]]
    Reply = Callable[[int, Headers, bytes], bool]
    App = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

_REQUEST_ID = re.compile(r"[A-Za-z0-9._:/+=@-]{1,128}")
_BODY_METHODS = frozenset({"POST", "PUT", "PATCH", "DELETE"})
_METHODS = _BODY_METHODS | {"GET", "HEAD", "OPTIONS"}
JSON = b"application/json"
_JSON_ONLY = ((b"content-type", JSON),)
_TOO_LARGE = int(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
#: Status in the log of a request that nobody waits for any more; nginx has the same.
CLIENT_CLOSED_REQUEST = 499
#: All that a client learns of an error of ours.
INTERNAL = "internal error; the log has the details under this request_id"


class Disconnected(Exception):
    """The client went away before its request was complete."""

    slug = "client-disconnected"


@dataclass(slots=True)
class Exchange:
    """One request on its way through the door.

    Attributes:
        method: HTTP method.
        path: Decoded path.
        headers: Header values by lower-case name; of a repeated header the last counts.
        request_id: Identifier, the client's if it is a decent one.
        started_s: When the body was complete, by ``time.perf_counter``.
        endpoint: Route template for logs and metrics.
        protocol: Protocol for logs and metrics.
        rows: Rows answered.
        error_type: Slug of the error that was answered.
        status: Status that was answered, 0 before.
        model_version: Version that answered, or empty.
    """

    method: str
    path: str
    headers: Mapping[bytes, bytes]
    request_id: str
    started_s: float
    endpoint: str = "unmatched"
    protocol: str = "http"
    rows: int = 0
    error_type: str = ""
    status: int = 0
    model_version: str = ""

    @property
    def elapsed_s(self) -> float:
        """Seconds since the body was complete."""
        return time.perf_counter() - self.started_s

    def answered(self, answer: Answer) -> None:
        """Note what was answered, and by which version: the next may be served before the headers are written."""
        self.rows, self.model_version = answer.outcome.n_rows, answer.model_version


@dataclass(slots=True)
class Response:
    """A complete answer: status, headers beside the ones that every answer has, and body."""

    status: int
    body: bytes
    headers: Sequence[tuple[bytes, bytes]] = _JSON_ONLY


class Door:
    """Pure ASGI: one request, one pass."""

    def __init__(
        self, app: App, hot: HotPath, repository: BundleRepository, telemetry: Telemetry, *, max_body_bytes: int
    ) -> None:
        """Bind what lies behind the door.

        Args:
            app: KServe's app, for everything that is not answered here.
            hot: Answers predict and infer.
            repository: Names the served version.
            telemetry: Counts and logs.
            max_body_bytes: Largest body.
        """
        self._app = app
        self._hot = hot
        self._repository = repository
        self._telemetry = telemetry
        self.max_body_bytes = max_body_bytes

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Answer one HTTP request; lifespan events pass through, WebSockets are refused by the app."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        method = scope["method"] if scope["method"] in _METHODS else "OTHER"
        exchange = _exchange(method, scope["path"], dict(scope["headers"]))
        self._telemetry.in_flight += 1
        try:
            await self._answer(exchange, scope, receive, send)
        except Disconnected:
            exchange.status, exchange.error_type = CLIENT_CLOSED_REQUEST, Disconnected.slug
        except asyncio.CancelledError:  # the grace of a shutdown is over; uvicorn would answer 500
            if exchange.status:
                raise
            await self._send(exchange, error_response(exchange, _cut()), send)
        finally:
            self._telemetry.in_flight -= 1
            self._finish(exchange)

    def begin(self, path: bytes, headers: Mapping[bytes, bytes], body: bytes, reply: Reply) -> Future[Any] | None:
        """Answer a small POST to one of the hot path's own routes, without a task and without ASGI's messages.

        Args:
            path: The request's target; one that ``hotpath.is_short`` knows.
            headers: Header values by lower-case name.
            body: The whole body.
            reply: Called once with the answer, now or from the event loop; says whether anybody was there to get it.

        Returns:
            What is waited for, to be cancelled when nobody waits for it; None when all is done.
        """
        exchange = _exchange("POST", path.decode(), headers)
        self._telemetry.in_flight += 1
        try:
            begun = self._hot.begin(exchange, body)
        except Exception as error:  # noqa: BLE001 - whatever is wrong, the client gets an answer
            self._reply(exchange, _refusal(exchange, error), reply)
            return None
        begun.future.add_done_callback(lambda _: self._end(exchange, begun, reply))
        return begun.future

    def lost(self, path: bytes, headers: Mapping[bytes, bytes]) -> None:
        """Note that the client of such a request went away before its body was complete."""
        exchange = _exchange("POST", path.decode(), headers)
        exchange.status, exchange.error_type = CLIENT_CLOSED_REQUEST, Disconnected.slug
        self._finish(exchange)

    def _end(self, exchange: Exchange, begun: Begun, reply: Reply) -> None:
        try:
            response = self._hot.end(exchange, begun)
        except asyncio.CancelledError:
            response = error_response(exchange, _cut())
        except Exception as error:  # noqa: BLE001 - same
            response = _refusal(exchange, error)
        self._reply(exchange, response, reply)

    def _reply(self, exchange: Exchange, response: Response, reply: Reply) -> None:
        exchange.status = response.status
        headers = (*response.headers, *self._common_headers(exchange))
        if not reply(response.status, headers, response.body):
            exchange.status, exchange.error_type = CLIENT_CLOSED_REQUEST, Disconnected.slug
        self._telemetry.in_flight -= 1
        self._finish(exchange)

    async def _answer(self, exchange: Exchange, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        try:
            body = await self._body(exchange, receive)
            exchange.started_s = time.perf_counter()
            response = await self._hot.answer(exchange, body)
        except Disconnected:
            raise
        except Exception as error:  # noqa: BLE001 - whatever is wrong, the client gets an answer
            response = _refusal(exchange, error)
        if response is not None:
            await self._send(exchange, response, send)
            return
        await self._fall_through(exchange, scope, body, send, receive)

    async def _body(self, exchange: Exchange, receive: Receive) -> bytes:
        if exchange.method not in _BODY_METHODS:
            return b""
        headers = exchange.headers
        if b"content-encoding" in headers and headers[b"content-encoding"].lower() != b"identity":
            raise UnsupportedEncoding("Content-Encoding is not supported: send the body uncompressed")
        declared = headers.get(b"content-length")
        if declared is not None and declared.isdigit() and int(declared) > self.max_body_bytes:
            raise self._too_large()
        message = await receive()
        if message["type"] == "http.request" and not message.get("more_body"):
            body: bytes = message.get("body", b"")
            if len(body) > self.max_body_bytes:
                raise self._too_large()
            return body
        return await self._rest_of_body(message, receive)

    async def _rest_of_body(self, message: Message, receive: Receive) -> bytes:
        parts, size = [], 0
        while True:
            if message["type"] == "http.disconnect":
                raise Disconnected
            part = message.get("body", b"")
            parts.append(part)
            size += len(part)
            if size > self.max_body_bytes:
                raise self._too_large()
            if not message.get("more_body", False):
                return b"".join(parts)
            message = await receive()

    def _too_large(self) -> BodyTooLarge:
        return BodyTooLarge(f"the body is larger than {self.max_body_bytes} bytes: split the request")

    async def _send(self, exchange: Exchange, response: Response, send: Send) -> None:
        status, body = response.status, response.body
        exchange.status = status
        headers = [*response.headers, (b"content-length", b"%d" % len(body)), *self._common_headers(exchange)]
        if status == _TOO_LARGE:
            headers.append((b"connection", b"close"))  # the rest of the body is not worth reading
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    def _common_headers(self, exchange: Exchange) -> tuple[tuple[bytes, bytes], ...]:
        own = (
            (b"x-request-id", exchange.request_id.encode()),
            (b"x-response-time-ms", b"%.2f" % ((time.perf_counter() - exchange.started_s) * 1000)),
        )
        version = exchange.model_version or self._repository.served_version
        return (*own, _version_header(version)) if version else own

    async def _fall_through(
        self, exchange: Exchange, scope: MutableMapping[str, Any], body: bytes, send: Send, receive: Receive
    ) -> None:
        started = False

        async def counted_send(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                exchange.status = message["status"]
                message = {**message, "headers": [*message.get("headers", ()), *self._common_headers(exchange)]}
            await send(message)

        behind = {**scope, "headers": _behind_headers(scope["headers"]), "exchange": exchange}
        try:
            await self._app(behind, _replay(body, receive), counted_send)
        except Exception as error:  # noqa: BLE001 - same, for the app behind the door
            response = _refusal(exchange, error)
            if not started:
                await self._send(exchange, response, send)
        route = behind.get("route")
        exchange.endpoint = getattr(route, "path", exchange.endpoint)
        exchange.protocol = _protocol(exchange.endpoint)

    def _finish(self, exchange: Exchange) -> None:
        repository = self._repository
        kind = (
            exchange.protocol,
            exchange.method,
            exchange.endpoint,
            exchange.status,
            repository.model_name or "",
            exchange.model_version or repository.served_version,
            exchange.error_type,
        )
        latency_s = time.perf_counter() - exchange.started_s
        self._telemetry.count(kind, latency_s, exchange.request_id, exchange.rows)


def _exchange(method: str, path: str, headers: Mapping[bytes, bytes]) -> Exchange:
    asked = headers.get(b"x-request-id")
    request_id = _own_id() if asked is None else request_id_of(asked.decode("latin-1"))
    return Exchange(method, path, headers, request_id, time.perf_counter())


def _cut() -> Unavailable:
    return Unavailable("the server is shutting down: send the request again")


@lru_cache(maxsize=4)
def _version_header(version: str) -> tuple[bytes, bytes]:
    return b"x-model-version", version.encode()


# Identifiers must differ between processes, and within one: half of a random UUID, and a count from a random start.
_OWN_PREFIX = str(uuid.uuid4())[:24]
_OWN_COUNT = count(uuid.uuid4().int & 0xFFFF_FFFF_FFFF)


def request_id_of(asked: str) -> str:
    """Take the client's identifier if it is a decent one, else make one."""
    return asked if asked and _REQUEST_ID.fullmatch(asked) else _own_id()


def _own_id() -> str:
    return f"{_OWN_PREFIX}{next(_OWN_COUNT) & 0xFFFF_FFFF_FFFF:012x}"


def _protocol(endpoint: str) -> str:
    return next((name for name in ("v1", "v2") if endpoint.startswith(f"/{name}/models")), "http")


def _behind_headers(headers: Sequence[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Let the app behind see the content type it can parse: every body here is JSON, or JSON and binary tensors.

    KServe compares it with exact strings (kserve#2524), and FastAPI parses nothing that has none. CloudEvent headers
    stay out: no route here speaks them, and KServe fails on an event without data.
    """
    binary = any(name == b"inference-header-content-length" for name, _ in headers)
    kept = [(name, value) for name, value in headers if name != b"content-type" and not name.startswith(b"ce-")]
    return [*kept, (b"content-type", b"application/octet-stream" if binary else JSON)]


def _replay(body: bytes, receive: Receive) -> Receive:
    sent = False

    async def replay() -> Message:
        nonlocal sent
        if sent:
            return await receive()
        sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay


def _refusal(exchange: Exchange, error: Exception) -> Response:
    """Answer an error: the client's with its own text, one of ours with a fixed text, its details in the log."""
    if isinstance(error, ModelServerError) and not isinstance(error, BugError):
        return error_response(exchange, error)
    logger.error("request failed", exc_info=error, extra={"fields": {"request_id": exchange.request_id}})
    return error_response(exchange, BugError(INTERNAL))


def error_response(exchange: Exchange, error: ModelServerError, status: int | None = None) -> Response:
    """Render an error as the one JSON body that every route answers."""
    exchange.error_type = error.slug
    body = orjson.dumps(error_document(error, exchange.request_id))
    headers = [(b"content-type", JSON)]
    if error.retry_after_s is not None:
        headers.append((b"retry-after", b"%d" % error.retry_after_s))
    return Response(status or error.http_status, body, headers)
