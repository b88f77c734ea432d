"""HTTP/1.1 connections by uvicorn, with a fast path around ASGI for small inference requests.

For each request uvicorn builds a scope, a task and a cycle of messages, and checks every header of ours with a pattern:
about 50 µs, more than reading, predicting and writing a row take together. A request that needs none of it goes from
the parser to ``Inference.answer`` and back without a task, and its answer leaves in one write. Everything else is
uvicorn's: parsing, pipelining, flow control, keep-alive, shutting down, and every request that is not plainly small.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from model_server.edge.http.inference import CACHED_BYTES, is_short

if TYPE_CHECKING:
    from asyncio import Future
    from collections.abc import Coroutine

    from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

    from model_server.edge.exchange import Exchange, Response
    from model_server.edge.http.gate import Gate

#: Bytes of a body that is small: a few dozen rows. Larger ones are worth a task, which may pause.
SHORT_BYTES = 16 * 1024
# With any of these a request goes the long way: bodies in chunks or compressed, clients that wait for a permission.
_LONG_WAY = frozenset({b"transfer-encoding", b"content-encoding", b"upgrade", b"expect"})


class _Waits:
    """Placeholder for uvicorn's cycle while a request is on the fast path: pipelined requests wait for it."""

    __slots__ = ("disconnected", "keep_alive", "message_event", "response_complete")

    def __init__(self) -> None:
        self.disconnected = False
        self.keep_alive = True
        self.message_event = self
        self.response_complete = False

    def set(self) -> None:
        """Hear of the end of the connection; there is no task to be woken."""


class PlainProtocol(HttpToolsProtocol):
    """One connection, every request by uvicorn's way, but for what that leaves open.

    Those are fields behind a body in chunks, requests that offer another protocol, and disconnects between pipelined
    requests.
    """

    def __init__(self, *args: Any, **further: Any) -> None:
        """Begin without a request."""
        super().__init__(*args, **further)
        self._offers = False  # whether the request that is being read offers another protocol
        self._answered: RequestResponseCycle | None = None  # the one whose turn it is; ``cycle`` is the one read last

    def data_received(self, data: bytes) -> None:
        """Read what came.

        A client may offer another protocol, as Java's does with every first request (``Upgrade: h2c``). RFC 9110,
        section 7.8, lets a server ignore that, but the parser stops behind the head, and uvicorn forgets the body: the
        request would be read without it, and the rest of it, if it came later, as the next request.
        """
        self._unset_keepalive_if_required()
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as stop:
            self._read_on(memoryview(data)[stop.args[0] :])
        except httptools.HttpParserError:
            self._refuse()

    def _read_on(self, rest: memoryview) -> None:
        """Begin a request anew without its offer, and read what is behind its head, where others may stand."""
        while self._offers:
            head = self._head_without_offer()
            self._offers = False
            # One that has read ``connection: close`` reads no further.
            self.parser = httptools.HttpRequestParser(self)
            self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn's
            try:
                self.parser.feed_data(head)
                self.parser.feed_data(rest)
            except httptools.HttpParserUpgrade as stop:
                rest = rest[stop.args[0] :]
            except httptools.HttpParserError:
                self._refuse()

    def _refuse(self) -> None:
        text = "Invalid HTTP request received."
        self.logger.warning(text)
        self.send_400_response(text)

    def _head_without_offer(self) -> bytes:
        fields = b"".join(b"%b: %b\r\n" % header for header in self.headers if header[0] != b"upgrade")
        version = self.parser.get_http_version().encode()
        return b"%b %b HTTP/%b\r\n%b\r\n" % (self.parser.get_method(), self.url, version, fields)

    def on_headers_complete(self) -> None:
        """Let the request begin with the headers it has now.

        The parser reports trailer fields as it reports headers, and uvicorn would add them to the request's, where they
        could change how it is read after it was let in. RFC 9110, section 6.5.1, forbids that; nothing here wants them.
        """
        self._offers = self.parser.should_upgrade() and self.parser.get_method() != b"CONNECT"
        if not self._offers:
            super().on_headers_complete()
            self.headers = []

    def on_message_complete(self) -> None:
        """Note the end of a request, unless it is to begin anew."""
        if not self._offers:
            super().on_message_complete()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._answered = cycle
        super()._start_asgi_task(cycle, app)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the request that is being answered; uvicorn tells the one read last, and the other would write."""
        super().connection_lost(exc)
        if self._answered is not None and not self._answered.response_complete:
            self._answered.disconnected = True
            self._answered.message_event.set()


class HttpProtocol(PlainProtocol):
    """One connection."""

    def __init__(self, *args: Any, **further: Any) -> None:
        """Bind the parts of the gate, which is the app that uvicorn was given."""
        super().__init__(*args, **further)
        gate = cast("Gate", self.config.app)
        self._inference, self._accounting = gate.inference, gate.accounting
        self._most_bytes = min(SHORT_BYTES, gate.max_body_bytes)
        self._values: dict[bytes, bytes] | None = None  # the headers of a request that takes the short way
        self._body = b""
        # Of the short request that is being answered: at most one, since what comes behind it goes uvicorn's way.
        self._exchange: Exchange
        self._answering: Coroutine[Any, None, Response | None]
        self._future: Future[Any] | None = None
        self._waits = _Waits()
        # uvicorn waits for these when it shuts down, and cancels them when its time is over.
        self._awaited = cast("set[Future[Any] | None]", self.tasks)

    def on_headers_complete(self) -> None:
        """Dispatch the request to the fast path or to uvicorn."""
        if self.timeout_keep_alive_task is not None:  # of an answer to what came in the same packet
            self._unset_keepalive_if_required()
        if len(self.url) <= CACHED_BYTES and is_short(self.url):
            values = dict(self.headers)
            if self._is_small(values):
                self._values, self._body = values, b""
                # From here on, not from the last byte of the body: a shutdown must wait for the rest of it.
                self._waits.response_complete = False
                self.cycle = self._waits  # type: ignore[assignment]
                return
        super().on_headers_complete()

    def _is_small(self, values: dict[bytes, bytes]) -> bool:
        length = values.get(b"content-length", b"")
        return (
            length.isdigit()
            and int(length) <= self._most_bytes
            and self._is_idle()
            and self.parser.get_method() == b"POST"
            and _LONG_WAY.isdisjoint(values)
            and self.parser.get_http_version() == "1.1"
            and self.parser.should_keep_alive()
            and not self.flow.write_paused
        )

    def _is_idle(self) -> bool:
        cycle: Any = self.cycle  # None before the first request, whatever its type says
        return cycle is None or cycle.response_complete

    def on_body(self, body: bytes) -> None:
        """Buffer a chunk of the body."""
        if self._values is None:
            super().on_body(body)
        else:
            self._body += body

    def on_message_complete(self) -> None:
        """Answer a request that takes the fast path."""
        values = self._values
        if values is None:
            super().on_message_complete()
            return
        body, self._body = self._body, b""  # an idle connection keeps none
        self._values = None
        self._exchange = self._accounting.begin("POST", self.url.decode(), values)
        self._answering = self._inference.answer(self._exchange, body)
        self._run()

    def _run(self, _ready: object = None) -> None:
        """Run a coroutine until it waits for something, and go on when that is there: a task without a task's cost."""
        try:
            awaited: Future[Any] | None = self._answering.send(None)
        except StopIteration as done:
            self._reply(self._exchange, done.value)
            return
        if awaited is None:  # asyncio.sleep(0): others first
            self.loop.call_soon(self._run)
            return
        self._awaited.discard(self._future)
        self._future = awaited
        self._awaited.add(awaited)
        awaited.add_done_callback(self._run)

    def _reply(self, exchange: Exchange, response: Response) -> None:
        self._awaited.discard(self._future)
        self._future = None
        self._waits.response_complete = True
        exchange.status = response.status
        if self._waits.disconnected or self.transport.is_closing():
            exchange.lost()
        else:
            self._write(response, exchange)
        self._accounting.finish(exchange)

    def _write(self, response: Response, exchange: Exchange) -> None:
        headers = (*self.server_state.default_headers, *response.headers, *self._accounting.headers(exchange))
        lines = [b"%b: %b\r\n" % header for header in headers]
        keep_alive = self._waits.keep_alive
        if not keep_alive:
            lines.append(b"connection: close\r\n")
        length = b"content-length: %d\r\n\r\n" % len(response.body)
        self.transport.write(b"".join([STATUS_LINE[response.status], *lines, length, response.body]))
        if not keep_alive:
            self.transport.close()
        self.on_response_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """Cancel a request whose client disconnected."""
        super().connection_lost(exc)
        if self._future is not None:
            self._future.cancel()
        if self._values is not None:
            exchange = self._accounting.begin("POST", self.url.decode(), self._values)
            exchange.lost()
            self._accounting.finish(exchange)
