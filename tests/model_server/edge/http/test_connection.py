"""The short way of small requests, on the wire: ASGI's answers, in order, whatever comes in which pieces."""

from __future__ import annotations

import re
import socket
import threading
import time
from typing import TYPE_CHECKING

import orjson
import pytest

from model_server.edge.http.connection import SHORT_BYTES
from model_server.edge.http.inference import ENCODED_ROWS, is_short
from tests.bundles import catalogue
from tests.bundles.catalogue import NUMBERS
from tests.bundles.live_server import serving, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.bundles.live_server import LiveServer

PREDICT = "/v1/models/linear:predict"
INFER = "/v2/models/linear/infer"
GOOD = orjson.dumps({"instances": NUMBERS})
_VARYING = re.compile(
    rb"(content-length|x-request-id|x-response-time-ms|date): [^\r]*\r\n"
    rb"|\"request_id\":\"[^\"]*\"|\"processing_time_ms\":[\d.]+"
)


@pytest.fixture(scope="module")
def service(written: Path) -> Iterator[LiveServer]:
    """A server of the linear model."""
    with serving(written / "linear" / "1.0.0") as running:
        yield running


def post(path: str, body: bytes, *headers: str) -> bytes:
    """Write a request; one that does not say otherwise keeps its connection."""
    lines = [f"POST {path} HTTP/1.1", "host: here", f"content-length: {len(body)}", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + body


def answers(connection: socket.socket, count: int) -> list[tuple[int, bytes]]:
    """Read so many answers: status and body of each."""
    found: list[tuple[int, bytes]] = []
    buffer = b""
    while len(found) < count:
        head, separator, rest = buffer.partition(b"\r\n\r\n")
        length = re.search(rb"content-length: (\d+)", head)
        if separator and length is not None and len(rest) >= int(length[1]):
            found.append((int(head[9:12]), rest[: int(length[1])]))
            buffer = rest[int(length[1]) :]
            continue
        data = connection.recv(65536)
        assert data, f"the connection was closed after {len(found)} answers"
        buffer += data
    assert not buffer
    return found


def closing(service: LiveServer, request: bytes) -> bytes:
    """Send a request and read until the server closes."""
    with socket.create_connection(("127.0.0.1", service.running.http_port), timeout=30) as connection:
        connection.sendall(request)
        return b"".join(iter(lambda: connection.recv(65536), b""))


def kept(service: LiveServer, request: bytes) -> bytes:
    """Send a request, then one that closes the connection, and give the first one's answer."""
    last = post("/nowhere", b"", "connection: close")
    whole = closing(service, request + last)
    return whole[: whole.rindex(b"HTTP/1.1 404 ")]


def comparable(answer: bytes) -> tuple[list[bytes], bytes]:
    """Take away what differs from answer to answer, a length only if it is right; headers may come in any order."""
    whole, _, content = answer.partition(b"\r\n\r\n")
    assert b"\r\ncontent-length: %d" % len(content) in whole
    head, _, body = _VARYING.sub(b"", answer).partition(b"\r\n\r\n")
    return sorted(line for line in head.lower().split(b"\r\n") if line), body


@pytest.mark.parametrize(
    ("path", "short"),
    [
        (b"/v1/models/m:predict", True),
        (b"/v2/models/m/infer", True),
        (b"/v2/models/m/versions/1/infer", True),
        (b"/v1/models/m:explain", True),
        (b"/predict", True),
        (b"/v1/predict/batch", True),
        (b"/predict?explain=true", False),
        (b"/v1/models/m:predict?a=1", False),
        (b"/v1/models/m%3Apredict", False),
        (b"/v1/models/\xff:predict", False),
        (b"/health", False),
        (b"", False),
    ],
)
def test_which_targets_are_short(path: bytes, *, short: bool) -> None:
    """Those that ask the model, as they stand on the wire."""
    assert is_short(path) is short


@pytest.mark.parametrize(
    "body",
    [
        GOOD,
        b"",
        b"{",
        b'{"instances": []}',
        b'{"instances": [["x", 1]]}',
        orjson.dumps({"instances": [NUMBERS[0]] * 700}),
        orjson.dumps(dict(zip(("x0", "x1", "x2"), NUMBERS[0], strict=True))),
        orjson.dumps({"instances": [dict(zip(("x0", "x1", "x2"), row, strict=True)) for row in NUMBERS]}),
    ],
    ids=["good", "empty", "broken", "no rows", "a bad value", "more rows than a batch", "one object", "objects"],
)
@pytest.mark.parametrize(
    "path",
    [
        PREDICT,
        INFER,
        "/v1/models/other:predict",
        "/v2/models/linear/versions/9/infer",
        "/v1/models/linear:explain",
        "/predict",
        "/predict/batch",
    ],
)
def test_both_ways_answer_alike(service: LiveServer, path: str, body: bytes) -> None:
    """A header that none but uvicorn knows what to do with sends a request the long way; the answer is the same."""
    short = kept(service, post(path, body))
    long = kept(service, post(path, body, "expect: 100-continue")).removeprefix(b"HTTP/1.1 100 Continue\r\n\r\n")

    assert comparable(short) == comparable(long)
    assert b"x-request-id: " in short
    assert b"x-response-time-ms: " in short
    assert b"date: " in short


def test_a_small_body_may_have_a_large_answer(tmp_path: Path) -> None:
    """Rows of one number are so short that more of them fit the short way than are encoded in one turn of the loop."""
    catalogue.write("echo", tmp_path / "echo")
    rows = [[number / 2000] for number in range(1500)]
    body = orjson.dumps({"instances": [[round(value, 4)] for (value,) in rows]})
    assert len(body) <= SHORT_BYTES
    assert len(rows) > ENCODED_ROWS
    path = "/v1/models/echo:predict"
    with serving(tmp_path / "echo") as service:
        short = kept(service, post(path, body))
        long = kept(service, post(path, body, "expect: 100-continue")).removeprefix(b"HTTP/1.1 100 Continue\r\n\r\n")
        parts = [
            service.http.post(path, json={"instances": rows[start : start + 100]}).json()["predictions"]
            for start in range(0, len(rows), 100)
        ]

    assert short.startswith(b"HTTP/1.1 200 ")
    assert comparable(short) == comparable(long)
    assert orjson.loads(short.partition(b"\r\n\r\n")[2])["predictions"] == [row for part in parts for row in part]


def test_a_large_answer_keeps_its_place_among_others(tmp_path: Path) -> None:
    """It pauses while it is encoded; what was sent behind it on the connection waits."""
    catalogue.write("echo", tmp_path / "echo")
    path = "/v1/models/echo:predict"
    large, small = (orjson.dumps({"instances": [[0.25]] * count}) for count in (ENCODED_ROWS + 1, 1))
    with (
        serving(tmp_path / "echo") as service,
        socket.create_connection(("127.0.0.1", service.running.http_port), timeout=30) as connection,
    ):
        connection.sendall(post(path, large) + post(path, small) + post(path, large))
        found = answers(connection, 3)

    assert [status for status, _ in found] == [200] * 3
    assert [len(orjson.loads(body)["predictions"]) for _, body in found] == [ENCODED_ROWS + 1, 1, ENCODED_ROWS + 1]


@pytest.mark.parametrize("path", [PREDICT, INFER])
@pytest.mark.parametrize("hot", ["true", "false"])
def test_what_stands_behind_a_body_in_chunks_is_no_header(written: Path, path: str, hot: str) -> None:
    """Trailer fields that would change what is read, how, and under which id, change nothing."""
    trailers = ("inference-header-content-length: 3", "content-encoding: gzip", "x-request-id: trailing")
    with serving(written / "linear" / "1.0.0", f"--hot_path={hot}") as service:
        plain = kept(service, in_chunks(path, GOOD))
        trailed = kept(service, in_chunks(path, GOOD, *trailers))

    assert plain.startswith((b"HTTP/1.1 200 ", b"HTTP/1.1 400 "))
    assert comparable(trailed) == comparable(plain)
    assert b"trailing" not in trailed


def in_chunks(path: str, body: bytes, *trailers: str) -> bytes:
    """Write a request whose body comes in two chunks, with fields behind it."""
    head = [f"POST {path} HTTP/1.1", "host: here", "transfer-encoding: chunked", "trailer: x-request-id", "", ""]
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (body[:7], body[7:]))
    return "\r\n".join(head).encode() + chunks + "\r\n".join(["0", *trailers, "", ""]).encode()


def test_pipelined_requests_are_answered_in_order(service: LiveServer) -> None:
    """Short and long ones, all sent at once."""
    rows = [[float(number), *NUMBERS[0][1:]] for number in range(4)]
    one_by_one = [orjson.dumps({"instances": [row]}) for row in rows]
    with socket.create_connection(("127.0.0.1", service.running.http_port), timeout=30) as connection:
        requests = [
            post(PREDICT, one_by_one[0]),
            post(PREDICT, one_by_one[1]),
            b"GET /ready HTTP/1.1\r\nhost: here\r\n\r\n",
            post(PREDICT, one_by_one[2], "expect: 100-continue"),
            post(PREDICT, b"{"),
            post(PREDICT, one_by_one[3]),
        ]
        connection.sendall(b"".join(requests[:3]))
        first = answers(connection, 3)
        connection.sendall(b"".join(requests[4:]))
        second = answers(connection, 2)
        connection.sendall(requests[0])
        third = answers(connection, 1)
    alone = [orjson.loads(service.http.post(PREDICT, content=body).content) for body in one_by_one]

    assert [status for status, _ in first + second + third] == [200, 200, 200, 400, 200, 200]
    found = [orjson.loads(body) for _, body in (first[0], first[1], second[1], third[0])]
    assert found == [alone[0], alone[1], alone[3], alone[0]]
    assert len({repr(answer) for answer in alone}) == 4


def test_a_request_may_come_byte_by_byte(service: LiveServer) -> None:
    """Headers and body in as many pieces as they have bytes."""
    with socket.create_connection(("127.0.0.1", service.running.http_port), timeout=30) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in post(PREDICT, GOOD):
            connection.sendall(bytes([byte]))
        ((status, body),) = answers(connection, 1)

    assert status == 200
    assert body == service.http.post(PREDICT, content=GOOD).content


def test_a_body_beyond_the_limit_of_the_short_way_is_answered(service: LiveServer) -> None:
    """White space fills it up, to both sides of the limit."""
    for size in (SHORT_BYTES - 1, SHORT_BYTES, SHORT_BYTES + 1):
        body = GOOD + b" " * (size - len(GOOD))
        assert service.http.post(PREDICT, content=body).content == service.http.post(PREDICT, content=GOOD).content


@pytest.mark.parametrize("head", ["HTTP/1.0", "HTTP/1.1\r\nconnection: close"])
def test_a_connection_is_closed_for_a_client_that_wants_it(service: LiveServer, head: str) -> None:
    """Old clients, and those that say so."""
    request = f"POST {PREDICT} {head}\r\nhost: here\r\ncontent-length: {len(GOOD)}\r\n\r\n".encode() + GOOD

    answer = closing(service, request)

    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b"connection: close" in answer


def test_a_client_that_does_not_read_is_not_answered_without_end(service: LiveServer) -> None:
    """Answers wait for it, and its next requests with them; others are answered meanwhile."""
    body = orjson.dumps({"instances": [NUMBERS[0]] * 700})
    request = post(PREDICT, body)
    before = service.value("model_server_rows_total", model_version="1.0.0")
    with socket.create_connection(("127.0.0.1", service.running.http_port), timeout=2) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        with pytest.raises(TimeoutError):
            connection.sendall(request * 20_000)
        assert service.http.post(PREDICT, content=GOOD).status_code == 200
    assert service.value("model_server_rows_total", model_version="1.0.0") - before < 700 * 20_000
    wait_for(lambda: service.value("model_server_requests_in_flight") == 0)


def test_a_request_leaves_the_queue_with_its_client(slow: LiveServer) -> None:
    """The model never sees the row of a client that went away while another's was predicted."""
    predict = "/v1/models/waiting:predict"
    before = slow.value("model_server_rows_total", model_version="1.0.0")
    with (
        socket.create_connection(("127.0.0.1", slow.running.http_port), timeout=30) as first,
        socket.create_connection(("127.0.0.1", slow.running.http_port), timeout=30) as second,
    ):
        first.sendall(post(predict, b'{"instances": [[1, 1.0]]}'))
        wait_for(lambda: slow.value("model_server_requests_in_flight") == 1)
        time.sleep(0.1)  # the first is with the model now
        second.sendall(post(predict, b'{"instances": [[2, 0.0]]}'))
        wait_for(lambda: slow.value("model_server_requests_in_flight") == 2)
        second.close()
        wait_for(lambda: slow.value("model_server_requests_in_flight") == 1)
        ((status, _),) = answers(first, 1)

    assert status == 200
    assert slow.value("model_server_rows_total", model_version="1.0.0") - before == 1


@pytest.mark.parametrize("header", [(), ("content-encoding: identity",)], ids=["short", "long"])
def test_a_request_behind_a_refused_one_is_given_its_time(written: Path, header: tuple[str, ...]) -> None:
    """The refusal is written at once and starts the time of an idle connection, which the next request must end."""
    predict = "/v1/models/waiting:predict"
    slow = post(predict, orjson.dumps({"instances": [[1.0, 1.5]]}), *header)
    with (
        serving(written / "waiting" / "1.0.0", "--timeout_keep_alive=1") as impatient,
        socket.create_connection(("127.0.0.1", impatient.running.http_port), timeout=30) as connection,
    ):
        connection.sendall(post(predict, b"{}") + slow)


# --- offers of another protocol ---------------------------------------------------------------------------------------

OFFERS = [
    ("connection: upgrade, http2-settings", "upgrade: h2c", "http2-settings: AAEAAEAAAAIAAAAB"),
    ("connection: upgrade", "upgrade: websocket"),
]


@pytest.mark.parametrize("offer", OFFERS)
@pytest.mark.parametrize("rows", [len(NUMBERS), 700])
def test_a_request_that_offers_another_protocol_keeps_its_body(
    offer: tuple[str, ...], rows: int, service: LiveServer
) -> None:
    """Java's client offers HTTP/2 with its first request, and a server that does not speak it answers as ever."""
    body = orjson.dumps({"instances": [NUMBERS[0]] * rows})

    assert comparable(kept(service, post(PREDICT, body, *offer))) == comparable(kept(service, post(PREDICT, body)))


def test_the_body_behind_an_offer_is_never_a_request(service: LiveServer) -> None:
    """A client could hide one there from a proxy, which reads it as a body."""
    hidden = post("/nowhere", b"", "connection: close")
    request = post(PREDICT, hidden, *OFFERS[0])
    with socket.create_connection(("127.0.0.1", service.running.http_port), timeout=30) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.sendall(request.removesuffix(hidden))
        time.sleep(0.1)  # the head is to be read by itself
        connection.sendall(hidden + post(PREDICT, GOOD))

        assert [status for status, _ in answers(connection, 2)] == [400, 200]


def test_a_shutdown_waits_for_the_rest_of_a_body(written: Path) -> None:
    """Head and body of a small request may come in two packets, and the signal between them."""
    request = post(PREDICT, GOOD)
    with (
        serving(written / "linear" / "1.0.0") as stopped,
        socket.create_connection(("127.0.0.1", stopped.running.http_port), timeout=30) as connection,
    ):
        connection.sendall(post(PREDICT, GOOD))
        first = answers(connection, 1)
        connection.sendall(request[: -len(GOOD)])
        wait_for(lambda: stopped.http.get("/health").status_code == 200)  # what came before it was read
        stopping = threading.Thread(target=stopped.running.stop)
        stopping.start()
        wait_for(lambda: refuses(stopped.running.http_port))
        connection.sendall(GOOD)

        assert answers(connection, 1) == first
        stopping.join(30)
        assert not stopping.is_alive()


def refuses(port: int) -> bool:
    """Say whether nothing listens on a port any more."""
    with socket.socket() as connection:
        return connection.connect_ex(("127.0.0.1", port)) != 0


def test_a_body_in_chunks_behind_an_offer_is_read(service: LiveServer) -> None:
    """Its length is in the body itself, which only the parser can tell."""
    head = "\r\n".join([f"POST {PREDICT} HTTP/1.1", "host: here", "transfer-encoding: chunked", *OFFERS[0], "", ""])
    request = head.encode() + b"%x\r\n%b\r\n0\r\n\r\n" % (len(GOOD), GOOD)

    assert comparable(kept(service, request)) == comparable(kept(service, post(PREDICT, GOOD)))


def test_an_offer_may_come_with_the_wish_to_close(service: LiveServer) -> None:
    """The parser reads nothing behind the head of such a request, not even its body."""
    offer = ("connection: upgrade, close", "upgrade: h2c")

    answer = closing(service, post(PREDICT, GOOD, *offer))

    assert comparable(answer) == comparable(closing(service, post(PREDICT, GOOD, "connection: close")))


def test_what_is_no_request_behind_an_offer_is_refused(service: LiveServer) -> None:
    """Behind the first, and behind one that had begun anew."""
    garbage = b"no request\r\n\r\n"
    offering = post(PREDICT, GOOD, *OFFERS[0])

    for requests in (offering, offering + offering):
        assert b"HTTP/1.1 400 " in closing(service, requests + garbage)


def test_many_offers_in_one_go_are_answered_in_order(service: LiveServer) -> None:
    """Each stops the parser once."""
    requests = post(PREDICT, GOOD, *OFFERS[0]) * 300
    with socket.create_connection(("127.0.0.1", service.running.http_port), timeout=30) as connection:
        connection.sendall(requests)

        assert {status for status, _ in answers(connection, 300)} == {200}
