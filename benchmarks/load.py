"""A closed-loop load generator for HTTP/1.1 and gRPC: sockets, prepared bytes, nothing of a client library.

Knows bytes and time; does not know what is asked or who answers. Python is quick enough for this when a request is one
``send`` and an answer one ``recv``: about 10 µs of this process a request, where the quickest server here takes 50.
Each connection sends its next request when its last one is answered, so the offered load is ``connections``.
"""

from __future__ import annotations

import re
import select
import socket
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_TIMEOUT_S = 10.0


@dataclass(slots=True)
class Load:
    """What a run of load measured.

    Attributes:
        seconds: How long it ran.
        latencies_s: One number an answered request, in order of arrival.
        server_s: Processor time that the server took, in seconds, where it was asked for.
        errors: Requests answered otherwise than with success, and connections that broke.
    """

    seconds: float = 0.0
    latencies_s: list[float] = field(default_factory=list)
    server_s: float = 0.0
    errors: int = 0

    @property
    def per_second(self) -> float:
        """Answered requests a second."""
        return len(self.latencies_s) / self.seconds

    def quantile_ms(self, share: float) -> float:
        """Latency that ``share`` (0 to 1) of the requests did not exceed, in milliseconds."""
        ordered = sorted(self.latencies_s)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] * 1000 if ordered else float("nan")


class Connection(Protocol):
    """One connection with at most one request on its way."""

    socket: socket.socket
    sent_s: float

    def send(self) -> None:
        """Send the next request."""
        ...

    def receive(self) -> bool | None:
        """Read what is there: True when the request is answered, False when it failed, None when more must come."""
        ...


def connect(port: int) -> socket.socket:
    """Connect to a server of this machine."""
    connected = socket.create_connection(("127.0.0.1", port), timeout=_TIMEOUT_S)
    connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connected


class HttpConnection:
    """HTTP/1.1, kept alive."""

    def __init__(self, port: int, requests: Iterator[bytes]) -> None:
        """Connect.

        Args:
            port: Where the server listens.
            requests: Whole requests, headers and body; one is taken each time.
        """
        self.socket = connect(port)
        self.sent_s = 0.0
        self._requests = requests
        self._buffer = b""

    def send(self) -> None:
        """Send the next request."""
        self.sent_s = time.perf_counter()
        self.socket.sendall(next(self._requests))

    def receive(self) -> bool | None:
        """Read what is there."""
        data = self.socket.recv(262_144)
        if not data:
            raise ConnectionResetError
        data = self._buffer + data if self._buffer else data
        end = data.find(b"\r\n\r\n")
        if end < 0 or not _is_whole(data, end):
            self._buffer = data
            return None
        self._buffer = b""
        return data[9:12] == b"200"


def _is_whole(data: bytes, end: int) -> bool:
    """Say whether an answer whose headers end there is complete; one without a length comes in chunks."""
    found = _LENGTH.search(data, 0, end + 2)
    return data.endswith(b"\r\n0\r\n\r\n") if found is None else len(data) >= end + 4 + int(found[1])


def http_request(path: str, body: bytes, headers: Sequence[tuple[str, str]] = ()) -> bytes:
    """Write a POST request; without a body, a GET."""
    lines = [f"{'POST' if body else 'GET'} {path} HTTP/1.1", "Host: 127.0.0.1"]
    if body:
        lines += ["Content-Type: application/json"] if not headers else []
        lines += [f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers]
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + body


class _Driver:
    """Keeps connections busy."""

    def __init__(self, connect_one: Callable[[], Connection], used_s: Callable[[], float]) -> None:
        self.load = Load()
        self._connect_one = connect_one
        self._used_s = used_s
        self._busy: dict[int, Connection] = {}
        self._poll = select.epoll()
        self._is_over = False

    def run(self, connections: int, seconds: float, warm_s: float) -> None:
        """Open the connections and send on each until the time is over; what the warm-up brought does not count."""
        for _ in range(connections):
            self._begin()
        self._until(time.perf_counter() + warm_s)
        self.load = Load()
        started_s, before_s = time.perf_counter(), self._used_s()
        self._until(started_s + seconds)
        self.load.seconds = time.perf_counter() - started_s
        self.load.server_s = self._used_s() - before_s
        measured, self._is_over = self.load, True
        self.load = Load()
        # The server is not to work off what nobody waits for while the next thing is measured.
        self._until(time.perf_counter() + _TIMEOUT_S)
        self.load = measured

    def _until(self, end_s: float) -> None:
        while self._busy and (left_s := end_s - time.perf_counter()) > 0:
            for number, _ in self._poll.poll(left_s):
                self._ready(number)

    def _begin(self) -> None:
        connection = self._connect_one()
        self._busy[connection.socket.fileno()] = connection
        self._poll.register(connection.socket.fileno(), select.EPOLLIN)
        connection.send()

    def _ready(self, number: int) -> None:
        connection = self._busy[number]
        try:
            answered = connection.receive()
            if answered is None:
                return
            if answered:
                self.load.latencies_s.append(time.perf_counter() - connection.sent_s)
            else:
                self.load.errors += 1
            if self._is_over:
                self._drop(number)
            else:
                connection.send()
        except OSError:
            self.load.errors += 1
            self._drop(number)
            if not self._is_over:
                self._begin()

    def _drop(self, number: int) -> None:
        self._poll.unregister(number)
        self._busy.pop(number).socket.close()

    def close(self) -> None:
        """Close every connection."""
        self._poll.close()
        for connection in self._busy.values():
            connection.socket.close()


def drive(
    connect_one: Callable[[], Connection],
    connections: int,
    seconds: float,
    *,
    warm_s: float = 0.0,
    used_s: Callable[[], float] = lambda: 0.0,
) -> Load:
    """Keep every connection busy for a while, then wait for the answers that are still to come.

    Args:
        connect_one: Opens a connection.
        connections: How many.
        seconds: How long to measure.
        warm_s: How long before that.
        used_s: Processor time of the server so far.

    Returns:
        What was measured.
    """
    driver = _Driver(connect_one, used_s)
    try:
        driver.run(connections, seconds, warm_s)
    finally:
        driver.close()
    return driver.load
