"""The ASGI middleware in front of KServe's app: body limit, identifiers, headers, error responses, accounting.

Every request that comes by ASGI passes here once: a bounded body, its headers, its end. ``Inference`` answers what asks
the model; everything else falls through to the app behind. Small ones come without ASGI (``edge.http.connection``):
its messages and a task a request take longer than all that a compiled model does.
"""

from __future__ import annotations

import asyncio
import time
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from model_server.edge.exchange import JSON, refusal
from model_server.errors import BodyTooLarge, ModelServerError, UnsupportedEncoding

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping, Sequence

    from model_server.edge.exchange import Accounting, Exchange, Response
    from model_server.edge.http.inference import Inference

    Message = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[Message]]
    Send = Callable[[Message], Awaitable[None]]
    App = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

_BODY_METHODS = frozenset({"POST", "PUT", "PATCH", "DELETE"})
_METHODS = _BODY_METHODS | {"GET", "HEAD", "OPTIONS"}


class _Disconnected(Exception):
    """The client went away before its request was complete."""


class Gate:
    """The middleware: answers inference itself, and passes everything else on to the app.

    Attributes:
        inference: Answers what asks the model.
        accounting: Begins and finishes requests.
        max_body_bytes: Largest body.
    """

    def __init__(self, app: App, inference: Inference, accounting: Accounting, *, max_body_bytes: int) -> None:
        """Bind what answers.

        Args:
            app: KServe's app, for everything that ``inference`` does not answer.
            inference: Answers what asks the model.
            accounting: Begins and finishes requests.
            max_body_bytes: Largest body.
        """
        self._app = app
        self.inference = inference
        self.accounting = accounting
        self.max_body_bytes = max_body_bytes

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Answer one HTTP request; lifespan events pass through, WebSockets are refused by the app."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        method = scope["method"] if scope["method"] in _METHODS else "OTHER"
        exchange = self.accounting.begin(method, scope["path"], dict(scope["headers"]), scope.get("query_string", b""))
        try:
            await self._answer(exchange, scope, receive, send)
        except _Disconnected:
            exchange.lost()
        except asyncio.CancelledError as error:  # the grace of a shutdown is over; uvicorn would answer 500
            if exchange.status:
                raise
            await self._send(exchange, refusal(exchange, error), send)
        finally:
            self.accounting.finish(exchange)

    async def _answer(self, exchange: Exchange, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        try:
            body = await self._body(exchange, receive)
        except ModelServerError as error:
            await self._send(exchange, refusal(exchange, error), send)
            return
        exchange.started_s = time.perf_counter()
        response = await self.inference.answer(exchange, body)
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
                raise _Disconnected
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
        headers = [*response.headers, (b"content-length", b"%d" % len(body)), *self.accounting.headers(exchange)]
        if status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
            headers.append((b"connection", b"close"))  # the rest of the body is not worth reading
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _fall_through(
        self, exchange: Exchange, scope: MutableMapping[str, Any], body: bytes, send: Send, receive: Receive
    ) -> None:
        started = False

        async def counted_send(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                exchange.status = message["status"]
                message = {**message, "headers": [*message.get("headers", ()), *self.accounting.headers(exchange)]}
            await send(message)

        behind = {**scope, "headers": _behind_headers(scope["headers"]), "exchange": exchange}
        try:
            await self._app(behind, _replay(body, receive), counted_send)
        except Exception as error:  # noqa: BLE001 - whatever is wrong in the app behind, the client gets an answer
            response = refusal(exchange, error)
            if not started:
                await self._send(exchange, response, send)
        route = behind.get("route")
        exchange.endpoint = getattr(route, "path", exchange.endpoint)
        exchange.protocol = _protocol(exchange.endpoint)


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
