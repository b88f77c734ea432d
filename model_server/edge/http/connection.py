"""HTTP/1.1 by uvicorn, with a short way for small predict and infer requests; knows connections, no model and no JSON.

For each request uvicorn builds a scope, a task and a cycle of messages, and checks every header of ours with a pattern:
about 50 µs, more than reading, predicting and writing a row take together. A request that needs none of it goes from
the parser to the door and back in two calls, and its answer leaves in one write. Everything else is uvicorn's: parsing,
pipelining, flow control, keep-alive, shutting down, and every request that is not plainly a small one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from model_server.edge.http.inference import is_short

if TYPE_CHECKING:
    from asyncio import Future
    from collections.abc import Sequence

    from model_server.edge.http.gate import Door

#: Bytes of a body that is small: a few dozen rows. Larger ones are worth a task, which may pause.
SHORT_BYTES = 16 * 1024
# With any of these a request goes the long way: bodies in chunks or compressed, clients that wait for a permission.
_LONG_WAY = frozenset({b"transfer-encoding", b"content-encoding", b"upgrade", b"expect"})


class _Waits:
    """Stands for uvicorn's cycle while a short request is being answered: what comes behind it has to wait."""

    __slots__ = ("disconnected", "keep_alive", "message_event", "response_complete")

    def __init__(self) -> None:
        self.disconnected = False
        self.keep_alive = True
        self.message_event = self
        self.response_complete = False

    def set(self) -> None:
        """Hear of the end of the connection; there is no task to be woken."""


class PlainProtocol(HttpToolsProtocol):
    """One connection, every request by uvicorn's way, but for the fields behind a body in chunks."""

    def on_headers_complete(self) -> None:
        """Let the request begin with the headers it has now.

        The parser reports trailer fields as it reports headers, and uvicorn would add them to the request's, where they
        could change how it is read after it was let in. RFC 9110, section 6.5.1, forbids that; nothing here wants them.
        """
        super().on_headers_complete()
        self.headers = []


class HttpProtocol(PlainProtocol):
    """One connection."""

    def __init__(self, *args: Any, **further: Any) -> None:
        """Bind the door, which is the app that uvicorn was given."""
        super().__init__(*args, **further)
        self._door = cast("Door", self.config.app)
        self._most_bytes = min(SHORT_BYTES, self._door.max_body_bytes)
        self._values: dict[bytes, bytes] | None = None  # the headers of a request that takes the short way
        self._body = b""
        self._future: Future[Any] | None = None
        self._waits = _Waits()
        # uvicorn waits for these when it shuts down, and cancels them when its time is over.
        self._awaited = cast("set[Future[Any]]", self.tasks)

    def on_headers_complete(self) -> None:
        """Choose the way."""
        if is_short(self.url):
            values = dict(self.headers)
            if self._is_small(values):
                self._values, self._body = values, b""
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
        """Keep what comes."""
        if self._values is None:
            super().on_body(body)
        else:
            self._body += body

    def on_message_complete(self) -> None:
        """Let the door begin."""
        values = self._values
        if values is None:
            super().on_message_complete()
            return
        self._values = None
        self._waits = _Waits()
        self.cycle = self._waits  # type: ignore[assignment]
        future = self._door.begin(self.url, values, self._body, self._reply)
        if future is not None and not self._waits.response_complete:
            self._future = future
            cast("set[Any]", self.tasks).add(
                future
            )  # shutting down waits for those, and cancels them when its time is over

    def _reply(self, status: int, headers: Sequence[tuple[bytes, bytes]], body: bytes) -> bool:
        waits, future = self._waits, self._future
        self._future = None
        if future is not None:
            self._awaited.discard(future)
        waits.response_complete = True
        if waits.disconnected or self.transport.is_closing():
            return False
        lines = [b"%b: %b\r\n" % header for header in (*self.server_state.default_headers, *headers)]
        if not waits.keep_alive:
            lines.append(b"connection: close\r\n")
        length = b"content-length: %d\r\n\r\n" % len(body)
        self.transport.write(b"".join([STATUS_LINE[status], *lines, length, body]))
        if not waits.keep_alive:
            self.transport.close()
        self.on_response_complete()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        """Let go of a request that nobody waits for any more."""
        super().connection_lost(exc)
        if self._future is not None:
            self._future.cancel()
        if self._values is not None:
            self._door.lost(self.url, self._values)
