"""No client's mistake is answered with 5xx, a traceback or the client's own values, and the next request succeeds."""

from __future__ import annotations

import gzip
import itertools
import socket
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import grpc
import orjson
import pytest

from tests.conformance.errors import assert_error, assert_no_leak
from tests.conformance.hostile import HTTP_CASES, cells, grpc_cases
from tests.conformance.hostile.bodies import BODIES, ROUTES
from tests.conformance.hostile.case import MARKERS, Case
from tests.conformance.hostile.cells import CELLS, FORMS, Cell
from tests.conformance.wire import Request, grpc_raw, v1, v2

if TYPE_CHECKING:
    from collections.abc import Iterator

    import httpx

    from tests.conformance.facts import Facts
    from tests.conformance.target import Target


def assert_unharmed(target: Target, facts: Facts, response: httpx.Response) -> None:
    """Check that no value came back and that a good request still succeeds."""
    shown = response.text + str(response.headers)
    assert not [marker for marker in MARKERS if marker in shown], shown[:500]
    assert target.send(v1(facts.name, facts.take(1))).status_code == 200


@pytest.mark.parametrize("cell", CELLS, ids=lambda cell: cell.id)
@pytest.mark.parametrize("form", FORMS)
def test_a_bad_value_is_refused(target: Target, facts: Facts, form: str, cell: Cell) -> None:
    """In every form that takes rows; feature and row are named, the value is not."""
    column = cells.column_for(facts, cell)
    if column is None:
        pytest.skip("the model has no feature for which this value is wrong")
    response = target.send(cells.with_cell(facts, column, cell.raw, form))
    body = assert_error(response, 422 if form.startswith("facade") else 400)
    if cell.is_json:
        row = 0 if form == "facade" else cells.ROW
        assert [(flaw["feature"], flaw["row"]) for flaw in body["violations"]] == [(column.name, row)]
        assert column.name in body["error"]
    assert_unharmed(target, facts, response)


@pytest.mark.parametrize(("group", "case"), HTTP_CASES, ids=[f"{group}-{case.id}" for group, case in HTTP_CASES])
def test_a_bad_request_is_refused(target: Target, facts: Facts, group: str, case: Case) -> None:
    """With the status, the body and the word that helps."""
    if not case.fits(facts):
        pytest.skip(f"the case is for a {case.only} model")
    del group
    response = target.send(case.build(facts))
    body = assert_error(response, set(case.statuses))
    if case.mentions is not None:
        assert case.mentions(facts) in body["error"]
    assert_unharmed(target, facts, response)


@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize("route", ROUTES)
def test_a_bad_body_is_refused(target: Target, facts: Facts, route: str, body: str) -> None:
    """The document as a whole may be wrong in any way, and the server says in which."""
    response = target.send(Request(ROUTES[route](facts), BODIES[body]))
    assert_error(response, 422 if route.startswith("facade") else 400)
    assert_unharmed(target, facts, response)


@pytest.mark.parametrize("route", ROUTES)
def test_a_compressed_body_is_refused(target: Target, facts: Facts, route: str) -> None:
    """No route here unpacks one: a small body could unpack into gigabytes."""
    body = gzip.compress(orjson.dumps({"instances": facts.take(1)}))
    headers = {"content-type": "application/json", "content-encoding": "gzip"}
    assert_error(target.send(Request(ROUTES[route](facts), body, headers)), 415, "unsupported-encoding")


def test_no_number_is_too_large_to_be_refused(target: Target, facts: Facts) -> None:
    """A finite number that the model cannot compute with is the client's fault, in any column, bounded or not."""
    for column in facts.columns:
        if column.dtype == "float":
            response = target.send(cells.with_cell(facts, column, "1e300", "v1"))
            body = assert_error(response, 400, "contract-violation")
            assert column.name in body["error"]


def test_rows_outside_hard_bounds_are_refused(target: Target, facts: Facts) -> None:
    """The bound is named, the value is not."""
    tried = 0
    for column in facts.columns:
        for bound, beyond in ((column.minimum, "-48151623"), (column.maximum, "48151623")):
            if bound is None or not column.rejects:
                continue
            tried += 1
            for form in FORMS:
                response = target.send(cells.with_cell(facts, column, beyond, form))
                body = assert_error(response, 422 if form.startswith("facade") else 400, "contract-violation")
                assert column.name in body["error"]
                assert "48151623" not in response.text
    if not tried:
        pytest.skip("the model has no hard bounds")


def test_a_declared_body_over_the_limit_is_refused_unread(target: Target, facts: Facts) -> None:
    """413 comes on the headers alone: not one byte of the body is sent."""
    answer = raw_exchange(
        target,
        f"POST /v1/models/{facts.name}:predict HTTP/1.1\r\nhost: test\r\ncontent-type: application/json\r\n"
        f"content-length: {target.max_body_bytes + 1}\r\n\r\n".encode(),
    )
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 413 ")
    assert orjson.loads(body)["code"] == "body-too-large"


@pytest.mark.parametrize("route", ROUTES)
def test_a_body_over_the_limit_without_a_length_is_refused(target: Target, facts: Facts, route: str) -> None:
    """A chunked body is counted while it arrives."""

    def chunks() -> Iterator[bytes]:
        yield b'{"instances": ['
        piece = b" " * 65536
        yield from itertools.repeat(piece, target.max_body_bytes // len(piece) + 1)

    import httpx

    try:
        response = target.client.post(
            ROUTES[route](facts), content=chunks(), headers={"content-type": "application/json"}
        )
    except httpx.WriteError:  # the server closed as soon as it knew
        return
    assert_error(response, 413, "body-too-large")


def raw_exchange(target: Target, content: bytes) -> bytes:
    """Send bytes on a connection of their own and read what comes back until the server pauses or closes."""
    address = urlsplit(target.base_url)
    with socket.create_connection((address.hostname or "", address.port or 80), timeout=60) as connection:
        connection.sendall(content)
        found = b""
        connection.settimeout(0.5)
        try:
            while part := connection.recv(65536):
                found += part
                head, separator, body = found.partition(b"\r\n\r\n")
                length = [
                    int(line.split(b":")[1])
                    for line in head.lower().split(b"\r\n")
                    if line.startswith(b"content-length:")
                ]
                if separator and length and len(body) >= length[0]:
                    break
        except TimeoutError:
            pass
        return found


BROKEN_HTTP = {
    "no-http": b"hello\r\n\r\n",
    "bad-version": b"GET / HTTP/9.9\r\n\r\n",
    "header-without-colon": b"GET / HTTP/1.1\r\nhost: a\r\nbroken\r\n\r\n",
    "negative-length": b"POST /predict HTTP/1.1\r\nhost: a\r\ncontent-length: -5\r\n\r\n",
    "text-length": b"POST /predict HTTP/1.1\r\nhost: a\r\ncontent-length: many\r\n\r\n",
    "two-lengths": b"POST /predict HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n{}",
    "bad-chunk": b"POST /predict HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
    "length-and-chunks": (
        b"POST /predict HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"
    ),
    "huge-header": b"GET / HTTP/1.1\r\nhost: a\r\nx-large: " + b"x" * 500_000 + b"\r\n\r\n",
    "tls-hello": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 64,
    "http2-preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "absolute-target": b"GET http://other.example/health HTTP/1.1\r\nhost: other.example\r\n\r\n",
    "nul-in-path": b"GET /\x00 HTTP/1.1\r\nhost: a\r\n\r\n",
    "no-host": b"GET /health HTTP/1.1\r\n\r\n",
    "half-a-body": b"POST /predict HTTP/1.1\r\nhost: a\r\ncontent-length: 100\r\n\r\n{",
}


@pytest.mark.parametrize("case", BROKEN_HTTP)
def test_broken_http_does_not_harm_the_server(target: Target, facts: Facts, case: str) -> None:
    """What is no HTTP is refused or cut off, and the next request succeeds."""
    try:
        answer = raw_exchange(target, BROKEN_HTTP[case])
    except (ConnectionResetError, BrokenPipeError):
        answer = b""
    assert not answer.startswith(b"HTTP/1.1 5"), answer[:300]
    assert_no_leak(answer.decode("latin-1"))
    assert target.send(v1(facts.name, facts.take(1))).status_code == 200


@pytest.mark.parametrize("case", grpc_cases.CASES, ids=lambda case: case.id)
def test_a_bad_grpc_request_is_refused(grpc_target: Target, facts: Facts, case: grpc_cases.Case) -> None:
    """With the right code and a text without values."""
    if not case.fits(facts):
        pytest.skip(f"the case is for a {case.only} model")
    with pytest.raises(grpc.RpcError) as caught:
        grpc_target.stub.ModelInfer(case.build(facts), timeout=30)
    error = caught.value
    assert isinstance(error, grpc.Call)
    assert error.code() is case.code, error.details()
    text = error.details() or ""
    assert text
    assert_no_leak(text)
    assert not [marker for marker in MARKERS if marker in text]
    grpc_target.stub.ModelInfer(grpc_raw(facts.name, facts.tensors(facts.take(1))), timeout=30)


@pytest.mark.parametrize("case", grpc_cases.GARBAGE)
def test_bytes_that_are_no_message_do_not_harm_the_server(grpc_target: Target, facts: Facts, case: str) -> None:
    """The call fails and the next one succeeds."""
    assert grpc_target.channel is not None
    call: Any = grpc_target.channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
    with pytest.raises(grpc.RpcError) as caught:
        call(grpc_cases.GARBAGE[case], timeout=30)
    assert isinstance(caught.value, grpc.Call)
    assert_no_leak(caught.value.details() or "")
    grpc_target.stub.ModelInfer(grpc_raw(facts.name, facts.tensors(facts.take(1))), timeout=30)


def test_an_unknown_grpc_method_is_unimplemented(grpc_target: Target) -> None:
    """The library of gRPC answers it, before any code of ours."""
    assert grpc_target.channel is not None
    call: Any = grpc_target.channel.unary_unary("/inference.GRPCInferenceService/NoSuchMethod")
    with pytest.raises(grpc.RpcError) as caught:
        call(b"", timeout=30)
    assert isinstance(caught.value, grpc.Call)
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


def test_too_many_rows_are_refused_on_every_protocol(grpc_target: Target, facts: Facts) -> None:
    """The row limit is one for all."""
    rows = facts.take(grpc_target.max_rows + 1)
    tensors = facts.tensors(rows)
    assert_error(grpc_target.send(v2(facts.name, tensors)), 400, "contract-violation")
    with pytest.raises(grpc.RpcError) as caught:
        grpc_target.stub.ModelInfer(grpc_raw(facts.name, tensors), timeout=60)
    assert isinstance(caught.value, grpc.Call)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert str(grpc_target.max_rows) in (caught.value.details() or "")


def test_a_grpc_message_over_the_limit_is_refused(grpc_target: Target, facts: Facts) -> None:
    """The library refuses it before any code of ours reads it."""
    request = grpc_raw(facts.name, facts.tensors(facts.take(1)))
    request.raw_input_contents[0] = b"\0" * (grpc_target.max_body_bytes + 1)
    with pytest.raises(grpc.RpcError) as caught:
        grpc_target.stub.ModelInfer(request, timeout=60)
    assert isinstance(caught.value, grpc.Call)
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
