"""The load generator: every answer is counted once, and nothing but a good answer counts as one."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import threading
import time
from itertools import cycle
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from benchmarks import machine, payloads, rounds
from benchmarks.contestants import OURS, Ports
from benchmarks.load import HttpConnection, Load, drive, http_request
from benchmarks.payloads import Table
from benchmarks.rpc import RpcConnection
from benchmarks.tails import tail
from tests.bundles.catalogue import NUMBERS, PEOPLE
from tests.bundles.live_server import serving

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from benchmarks.load import Connection
    from tests.bundles.live_server import LiveServer

LINEAR = Table("linear", ("x0", "x1", "x2"), ("FP64",) * 3, NUMBERS)
MIXED = Table(
    "people", ("age", "income", "member", "plan"), ("INT64", "FP64", "BOOL", "BYTES"), [[30, 1200.5, True, "basic"]]
)


@contextlib.contextmanager
def answering(*answers: bytes) -> Iterator[int]:
    """Answer each request on a connection with the next of some answers, in pieces; gives the port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection, contextlib.suppress(OSError):
                for answer in cycle(answers):
                    if not connection.recv(65536):
                        return
                    for start in range(0, len(answer), 20):
                        connection.sendall(answer[start : start + 20])

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listener.getsockname()[1]


GOOD = b"HTTP/1.1 200 OK\r\nContent-Length: 30\r\n\r\n" + b"x" * 30
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
REFUSED = b"HTTP/1.1 503 LiveServer Unavailable\r\ncontent-length: 2\r\n\r\nno"


def test_good_answers_and_others_are_told_apart() -> None:
    """An answer may arrive in any pieces, and only a good one counts as an answer."""
    with answering(GOOD, REFUSED, CHUNKED, REFUSED) as port:
        load = drive(lambda: HttpConnection(port, cycle([http_request("/", b"{}")])), 1, 0.3)

    assert len(load.latencies_s) > 3
    assert abs(len(load.latencies_s) - load.errors) <= 1
    assert 0.3 <= load.seconds < 3
    assert 0 < load.quantile_ms(0.5) <= load.quantile_ms(0.99)


def test_a_connection_that_breaks_is_an_error() -> None:
    """The next one is opened in its place."""
    is_over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.05)

        def hang_up() -> None:
            while not is_over.is_set():
                with contextlib.suppress(TimeoutError):
                    listener.accept()[0].close()

        thread = threading.Thread(target=hang_up, daemon=True)
        thread.start()
        port = listener.getsockname()[1]
        load = drive(lambda: HttpConnection(port, cycle([http_request("/", b"")])), 1, 0.2)
        is_over.set()
        thread.join(5)

    assert load.errors >= 2
    assert load.latencies_s == []


def test_the_warm_up_does_not_count_and_nothing_is_left_behind() -> None:
    """What was sent before or is answered after the measurement is not in it; every request sent is answered."""
    sent = 0
    used = iter([1.0, 3.5])

    def requests() -> Iterator[bytes]:
        nonlocal sent
        while True:
            sent += 1
            yield http_request("/", b"{}")

    with answering(GOOD) as port:
        source = requests()
        load = drive(lambda: HttpConnection(port, source), 1, 0.2, warm_s=0.2, used_s=lambda: next(used))

    assert 0 < len(load.latencies_s) < sent
    assert load.server_s == 2.5
    assert load.seconds < 2


def test_quantiles_are_of_what_was_measured() -> None:
    """They are in milliseconds; where nothing was measured there are none."""
    assert Load(1.0, [0.004, 0.001, 0.002, 0.003]).quantile_ms(0.5) == 3.0
    assert np.isnan(Load(1.0, []).quantile_ms(0.5))


@pytest.fixture(scope="module")
def linear(written: Path) -> Iterator[LiveServer]:
    """A server of the linear model."""
    with serving(written / "linear" / "1.0.0") as service:
        yield service


@pytest.fixture(scope="module")
def people(written: Path) -> Iterator[LiveServer]:
    """A server of the model with mixed columns."""
    with serving(written / "people" / "1.0.0") as service:
        yield service


def driven(connect_one: Callable[[], Connection]) -> Load:
    """Drive until there is an answer: on a busy machine the server may get no processor for a while."""
    for _ in range(50):
        load = drive(connect_one, 2, 0.2)
        if load.latencies_s or load.errors:
            break
    return load


@pytest.mark.parametrize("protocol", ["v1", "v1 objects", "v2", "v2 binary"])
@pytest.mark.parametrize("n_rows", [1, 40])
def test_http_requests_are_answered(protocol: str, n_rows: int, linear: LiveServer, people: LiveServer) -> None:
    """A numeric model and one with mixed columns both answer them."""
    for service, table in ((linear, LINEAR), (people, MIXED)):
        source = cycle(payloads.requests(protocol, table, n_rows))
        load = driven(lambda port=service.running.http_port, s=source: HttpConnection(port, s))  # type: ignore[misc]

        assert load.latencies_s
        assert load.errors == 0


def calls(service: LiveServer, protocol: str, table: Table, n_rows: int) -> Load:
    """Load a server with gRPC calls."""
    running: Any = type("Running", (), {"ports": Ports(0, service.running.grpc_port)})
    return driven(rounds.connector(running, protocol, payloads.requests(protocol, table, n_rows)))


@pytest.mark.parametrize("protocol", ["grpc", "grpc raw"])
def test_grpc_calls_are_answered(protocol: str, linear: LiveServer, people: LiveServer) -> None:
    """A numeric model and one with mixed columns both answer them."""
    for service, table in ((linear, LINEAR), (people, MIXED)):
        load = calls(service, protocol, table, 2)

        assert load.latencies_s
        assert load.errors == 0


@pytest.mark.parametrize("protocol", ["grpc", "grpc raw"])
def test_a_message_larger_than_a_window_is_sent(protocol: str, linear: LiveServer) -> None:
    """As HTTP/2's flow control wants it: 120 kB in what the server makes room for."""
    load = calls(linear, protocol, LINEAR, 5000)

    assert load.latencies_s
    assert load.errors == 0


def test_a_refused_grpc_call_is_an_error(linear: LiveServer) -> None:
    """Such an answer has trailers and no message, and must not count as a good one."""
    wrong = payloads.requests("grpc", Table("nobody", LINEAR.names, LINEAR.datatypes, NUMBERS), 1)
    load = drive(lambda: RpcConnection(linear.running.grpc_port, payloads.GRPC_METHOD, cycle(wrong)), 1, 0.2)

    assert load.latencies_s == []
    assert load.errors > 0


def test_a_table_is_read_from_a_bundle(written: Path) -> None:
    """Features and golden rows are all that is needed to ask a model."""
    table = payloads.table_of(written / "people" / "1.0.0", "people")

    assert (table.names, table.datatypes) == (MIXED.names, MIXED.datatypes)
    assert table.rows == PEOPLE
    assert len(table.answers) == len(PEOPLE)
    assert table.draw(3, seed=1) == table.draw(3, seed=1)


def test_drawn_rows_have_their_own_answers() -> None:
    """Row by row, in the same order."""
    table = Table("x", ("a",), ("FP64",), [[1.0], [2.0], [3.0]], [[0.1], [0.2], [0.3]])

    assert [[row[0] / 10] for row in table.draw(50, seed=3)] == [
        [pytest.approx(answer[0])] for answer in table.expected(50, seed=3)
    ]


def test_tails_are_measured_beside_large_requests(linear: LiveServer) -> None:
    """The tails are those of one row and of a probe, which large requests must not delay."""
    running: Any = type("Running", (), {"ports": Ports(linear.running.http_port, 0), "contestant": OURS})

    found = tail(2, running, LINEAR, 1.0)

    assert (found.round, found.model, found.contestant, found.errors) == (2, "linear", "ours", 0)
    assert found.one_p99_ms > 0
    assert found.live_p99_ms > 0
    assert found.large_per_second > 0


def test_a_process_is_measured_with_its_children() -> None:
    """A server with workers takes the time and the memory of all its processes."""
    script = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'sum(range(10**7)); input()'])"
    with subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE) as process:
        try:
            _until(lambda: len(machine.tree(process.pid)) == 2 and machine.cpu_s(process.pid) > 0.05)
            assert machine.memory_mb(process.pid) > 5
        finally:
            process.communicate(b"\n")
    assert machine.cpu_s(process.pid) == machine.memory_mb(process.pid) == 0


def test_what_does_not_end_is_named() -> None:
    """It is killed then, and whoever reads the log knows what was left behind."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        assert machine.alive([process.pid], 0.05) == [process.pid]
        process.communicate(b"\n")
    assert machine.alive([process.pid], 5) == []


def _until(condition: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline_s
        time.sleep(0.01)


def test_the_machine_is_described() -> None:
    """What a reader needs to judge the numbers."""
    assert f"{os.cpu_count()} cores" in machine.description()
    assert machine.speed_ms() > 0
