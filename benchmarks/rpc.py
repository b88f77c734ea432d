"""gRPC for the load generator: the few frames of HTTP/2 that one unary call at a time needs, on a plain socket.

Knows frames and flow control, not messages; a client library of Python would take longer for a call than the servers
that are measured. Sources: RFC 9113 (HTTP/2), RFC 7541 (header compression; only literals are sent, nothing is read)
and gRPC's "gRPC over HTTP2".
"""

from __future__ import annotations

import struct
import time
from typing import TYPE_CHECKING

from benchmarks.load import connect

if TYPE_CHECKING:
    from collections.abc import Iterator

_DATA, _HEADERS, _RESET, _SETTINGS, _PING, _GOAWAY, _WINDOW = 0, 1, 3, 4, 6, 7, 8
_END_STREAM, _ACK, _END_HEADERS = 1, 1, 4
_FRAME_BYTES = 16_384
_INITIAL_WINDOW = 65_535
_WIDE = 2**31 - 1


def _frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return struct.pack("!I", len(payload))[1:] + struct.pack("!BBI", kind, flags, stream) + payload


def _literal(name: bytes, value: bytes) -> bytes:
    return b"\x00%c%b%c%b" % (len(name), name, len(value), value)


def _headers(method: str) -> bytes:
    fields = [
        (b":method", b"POST"),
        (b":scheme", b"http"),
        (b":path", method.encode()),
        (b":authority", b"127.0.0.1"),
        (b"te", b"trailers"),
        (b"content-type", b"application/grpc"),
    ]
    return b"".join(_literal(*field) for field in fields)


class RpcConnection:
    """An HTTP/2 connection with one call at a time."""

    def __init__(self, port: int, method: str, messages: Iterator[bytes]) -> None:
        """Connect.

        Args:
            port: Where the server listens.
            method: Path of the method, ``/package.Service/Method``.
            messages: Serialized requests; one is taken each time.
        """
        self.socket = connect(port)
        self.sent_s = 0.0
        self._messages = messages
        self._head = _headers(method)
        self._buffer = b""
        self._stream = -1
        self._left = b""
        self._window = {"connection": _INITIAL_WINDOW, "stream": 0, "initial": _INITIAL_WINDOW}
        self._answered = False
        wide = struct.pack("!HIHI", 4, _WIDE, 2, 0)
        opening = [
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            _frame(_SETTINGS, 0, 0, wide),
            _frame(_WINDOW, 0, 0, struct.pack("!I", _WIDE - _INITIAL_WINDOW)),
        ]
        self.socket.sendall(b"".join(opening))

    def send(self) -> None:
        """Send the next call."""
        message = next(self._messages)
        self._stream += 2
        self._answered = False
        self._window["stream"] = self._window["initial"]
        self._left = b"\x00" + struct.pack("!I", len(message)) + message
        self.sent_s = time.perf_counter()
        self._push(_frame(_HEADERS, _END_HEADERS, self._stream, self._head))

    def _push(self, first: bytes = b"") -> None:
        """Send as much of the message as the server's windows admit."""
        frames = [first]
        while self._left:
            size = min(len(self._left), _FRAME_BYTES, self._window["connection"], self._window["stream"])
            if size <= 0:
                break
            part, self._left = self._left[:size], self._left[size:]
            self._window["connection"] -= size
            self._window["stream"] -= size
            frames.append(_frame(_DATA, 0 if self._left else _END_STREAM, self._stream, part))
        if any(frames):
            self.socket.sendall(b"".join(frames))

    def receive(self) -> bool | None:
        """Read what is there: a call is answered when a message came and then its trailers."""
        data = self.socket.recv(262_144)
        if not data:
            raise ConnectionResetError
        data = self._buffer + data if self._buffer else data
        position, done = 0, None
        while len(data) - position >= 9:
            size = int.from_bytes(data[position : position + 3], "big")
            if len(data) - position < 9 + size:
                break
            kind, flags, stream = struct.unpack_from("!BBI", data, position + 3)
            ended = self._take(kind, flags, stream, data[position + 9 : position + 9 + size])
            done = ended if done is None else done
            position += 9 + size
        self._buffer = data[position:]
        return done

    def _take(self, kind: int, flags: int, stream: int, payload: bytes) -> bool | None:
        if kind == _DATA:
            self._answered = True
        elif kind == _HEADERS and flags & _END_STREAM:
            return self._answered
        elif kind == _RESET:
            return False
        elif kind == _GOAWAY:
            raise ConnectionResetError
        elif kind == _PING and not flags & _ACK:
            self.socket.sendall(_frame(_PING, _ACK, 0, payload))
        elif kind == _SETTINGS and not flags & _ACK:
            self._settle(payload)
        elif kind == _WINDOW:
            self._window["stream" if stream else "connection"] += struct.unpack("!I", payload)[0]
            self._push()
        return None

    def _settle(self, payload: bytes) -> None:
        for key, value in struct.iter_unpack("!HI", payload):
            if key == 4:
                self._window["stream"] += value - self._window["initial"]
                self._window["initial"] = value
        self.socket.sendall(_frame(_SETTINGS, _ACK, 0))
        self._push()
