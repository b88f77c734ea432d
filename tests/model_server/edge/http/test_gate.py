"""The gate: identifiers, headers, body limits, disconnects, counts and log lines of every HTTP request."""

from __future__ import annotations

import asyncio
import socket
import threading
import uuid
from typing import TYPE_CHECKING, Any

import orjson
import pytest
from prometheus_client import CollectorRegistry

from model_server.edge.exchange import Accounting
from model_server.edge.http.gate import Gate
from model_server.serving.loaded import Wanted
from model_server.serving.repository import BundleRepository
from model_server.telemetry.logs import JsonFormatter
from model_server.telemetry.metrics import Metrics
from model_server.telemetry.requests import REQUEST_KEYS, Telemetry
from tests.bundles.catalogue import NUMBERS
from tests.bundles.live_server import serving, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Executor
    from pathlib import Path

    from tests.bundles.live_server import LiveServer

PREDICT = "/v1/models/linear:predict"
LIMIT = 2000
GOOD = orjson.dumps({"instances": NUMBERS})


@pytest.fixture(scope="module")
def service(written: Path) -> Iterator[LiveServer]:
    """A server of the linear model that takes small bodies only."""
    with serving(written / "linear" / "1.0.0", f"--max_body_bytes={LIMIT}") as running:
        yield running


def raw(service: LiveServer, *parts: bytes, shut: bool = False) -> bytes:
    """Send bytes on a connection of their own and read the head of the answer."""
    with socket.create_connection(("127.0.0.1", service.running.http_port), timeout=60) as connection:
        for part in parts:
            connection.sendall(part)
        if shut:
            return b""
        answer = b""
        while b"\r\n\r\n" not in answer:
            answer += connection.recv(65536) or b"closed\r\n\r\n"
        return answer


def head(path: str, *headers: str, method: str = "POST") -> bytes:
    """Write the head of a request."""
    return "\r\n".join([f"{method} {path} HTTP/1.1", "host: x", *headers, "", ""]).encode()


# --- identifiers and headers ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sent", ["a", "7f9c:1/2+3=@x.y-z_0", "x" * 128, str(uuid.UUID(int=7))])
@pytest.mark.parametrize("name", ["x-request-id", "X-Request-ID", "X-REQUEST-ID"])
def test_a_decent_request_id_is_taken(sent: str, name: str, service: LiveServer) -> None:
    """Whatever the case of its header's name, so that a trace can be followed."""
    assert service.http.get("/", headers={name: sent}).headers["x-request-id"] == sent


@pytest.mark.parametrize("sent", [b"", b"x" * 129, b"a b", b"a\tb", b"<script>", b'"', b"\xc3\xa9", b"a,b"])
def test_any_other_request_id_is_replaced(sent: bytes, service: LiveServer) -> None:
    """It goes into logs and headers, so it must be harmless there."""
    got = service.http.get("/", headers=[(b"x-request-id", sent)]).headers["x-request-id"]

    assert str(uuid.UUID(got)) == got


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 200),
        ("GET", "/metrics", 200),
        ("GET", "/v1/models/linear", 200),
        ("GET", "/nowhere", 404),
        ("POST", "/v1/models/other:predict", 404),
        ("POST", PREDICT, 400),
        ("GET", PREDICT, 405),
        ("DELETE", "/v2/models/linear/infer", 405),
        ("POST", "/admin/reload", 403),
        ("OPTIONS", "/", 405),
        ("HEAD", "/nowhere", 404),
        ("PROPFIND", "/nowhere", 404),
    ],
)
def test_every_answer_has_its_headers(method: str, path: str, status: int, service: LiveServer) -> None:
    """Found or not, allowed or not, from either app."""
    response = service.http.request(method, path)

    assert response.status_code == status
    assert str(uuid.UUID(response.headers["x-request-id"])) == response.headers["x-request-id"]
    assert float(response.headers["x-response-time-ms"]) >= 0
    assert response.headers["x-model-version"] == "1.0.0"
    assert "server" not in response.headers
    if status >= 400 and method != "HEAD":
        document = response.json()
        assert set(document) >= {"error", "code", "request_id"}
        assert document["request_id"] == response.headers["x-request-id"]
    if status == 405:
        assert response.headers["allow"]


def test_without_a_model_no_version_is_named(tmp_path: Path) -> None:
    """The version is known with the first load, and none is made up before."""
    with serving(tmp_path, "--require_model=false", ready=False) as service:
        assert "x-model-version" not in service.http.get("/").headers


# --- bodies -----------------------------------------------------------------------------------------------------------


def padded(size: int) -> bytes:
    """Write a good request of exactly that many bytes."""
    return GOOD + b" " * (size - len(GOOD))


def test_a_body_at_the_limit_is_taken(service: LiveServer) -> None:
    """It may come with its length or in chunks."""
    assert service.http.post(PREDICT, content=padded(LIMIT)).status_code == 200
    assert service.http.post(PREDICT, content=iter([GOOD, b" " * (LIMIT - len(GOOD))])).status_code == 200


@pytest.mark.parametrize("path", [PREDICT, "/v2/models/linear/infer", "/predict", "/nowhere", "/admin/reload"])
@pytest.mark.parametrize("chunked", [False, True], ids=["declared", "chunked"])
def test_a_body_over_the_limit_is_refused_on_every_path(path: str, chunked: bool, service: LiveServer) -> None:  # noqa: FBT001 - a table
    """413, and the connection is closed: the rest is not worth reading."""
    content: Any = iter([padded(LIMIT), b" "]) if chunked else padded(LIMIT + 1)

    response = service.http.post(path, content=content)

    assert response.status_code == 413
    assert response.json()["code"] == "body-too-large"
    assert response.json()["error"] == f"the body is larger than {LIMIT} bytes: split the request"
    assert response.headers["connection"] == "close"


def test_a_declared_length_over_the_limit_is_refused_unread(service: LiveServer) -> None:
    """Not one byte of a body of a terabyte has to come."""
    answer = raw(service, head(PREDICT, f"content-length: {10**12}"))

    assert answer.startswith(b"HTTP/1.1 413 ")


def test_no_body_is_asked_for_after_an_expectation_that_fails(service: LiveServer) -> None:
    """``Expect: 100-continue`` with a large length gets the refusal, not the invitation."""
    answer = raw(service, head(PREDICT, f"content-length: {LIMIT + 1}", "expect: 100-continue"))

    assert answer.startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize("encoding", ["gzip", "br", "deflate, gzip", "unknown"])
def test_a_compressed_body_is_refused(encoding: str, service: LiveServer) -> None:
    """No protocol here has it, and a small body may hold a huge one."""
    response = service.http.post(PREDICT, content=GOOD, headers={"content-encoding": encoding})

    assert (response.status_code, response.json()["code"]) == (415, "unsupported-encoding")


def test_identity_is_no_compression(service: LiveServer) -> None:
    """Clients write the word in any case, and the body is plain all the same."""
    assert service.http.post(PREDICT, content=GOOD, headers={"content-encoding": "Identity"}).status_code == 200


@pytest.mark.parametrize("content_type", [None, "", "text/plain", "application/json; charset=utf-8", "nonsense"])
def test_the_content_type_does_not_matter(content_type: str | None, service: LiveServer) -> None:
    """Every body here is JSON, whatever a client's library says by default."""
    headers = {} if content_type is None else {"content-type": content_type}

    for path, content in ((PREDICT, GOOD), ("/v1/models/linear:explain", GOOD)):
        assert service.http.post(path, content=content, headers=headers).status_code == 200


def test_a_body_may_come_byte_by_byte(service: LiveServer) -> None:
    """Its time does not count as the server's."""
    parts = [GOOD[i : i + 1] for i in range(len(GOOD))]

    assert service.http.post(PREDICT, content=iter(parts)).status_code == 200


def test_an_upgrade_to_websocket_is_an_ordinary_request(service: LiveServer) -> None:
    """No second protocol hides behind the port."""
    answer = raw(
        service,
        head(
            "/nowhere",
            "connection: upgrade, close",
            "upgrade: websocket",
            "sec-websocket-version: 13",
            "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==",
            method="GET",
        ),
    )

    assert answer.startswith(b"HTTP/1.1 404 ")


# --- disconnects and the gauge ----------------------------------------------------------------------------------------


def test_a_client_that_leaves_is_counted_and_forgotten(service: LiveServer, lines: Any) -> None:
    """Half a body, then nothing: status 499, and nothing stays in flight."""
    raw(service, head(PREDICT, "content-length: 100", "x-request-id: gone"), b'{"inst', shut=True)

    wait_for(lambda: [line for line in lines() if line["request_id"] == "gone"])
    (line,) = [line for line in lines() if line["request_id"] == "gone"]
    assert (line["status"], line["error_type"]) == (499, "client-disconnected")
    wait_for(lambda: service.value("model_server_requests_in_flight") == 0)


def test_a_client_that_leaves_during_a_prediction_disturbs_nobody(slow: LiveServer) -> None:
    """The answer has nowhere to go; the next request is answered."""
    content = b'{"instances": [[1, 0.3]]}'
    raw(slow, head("/v1/models/waiting:predict", f"content-length: {len(content)}"), content, shut=True)

    response = slow.http.post("/v1/models/waiting:predict", json={"instances": [[2, 0]]})

    assert response.json()["predictions"] == [{"value": 2.0}]
    wait_for(lambda: slow.value("model_server_requests_in_flight") == 0)


def test_a_client_that_leaves_between_pipelined_requests_is_no_error_of_ours(
    slow: LiveServer, caplog: pytest.LogCaptureFixture
) -> None:
    """The request whose turn it is, not the one that was read last, must not write to a closed connection."""
    content = b'{"instances": [[1, 0.3]]}'
    with socket.create_connection(("127.0.0.1", slow.running.http_port), timeout=60) as connection:
        connection.sendall(head("/v1/models/waiting:predict?long=way", f"content-length: {len(content)}") + content)
        connection.sendall(head("/health", method="GET"))
        wait_for(lambda: slow.value("model_server_requests_in_flight") == 1)

    wait_for(lambda: slow.value("model_server_requests_in_flight") == 0)
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []


def test_requests_in_flight_are_counted_while_they_are(slow: LiveServer) -> None:
    """One more during a prediction, none after."""
    asking = threading.Thread(
        target=lambda: slow.http.post("/v1/models/waiting:predict", json={"instances": [[1, 0.5]]})
    )
    asking.start()
    wait_for(lambda: slow.value("model_server_requests_in_flight") == 1)
    asking.join()

    wait_for(lambda: slow.value("model_server_requests_in_flight") == 0)


# --- counts -----------------------------------------------------------------------------------------------------------


def request_series(service: LiveServer) -> dict[tuple[str, ...], float]:
    """Read the request counter by its labels."""
    return {
        tuple(sample.labels.values()): sample.value
        for metric in service.metrics.registry.collect()
        if metric.name == "model_server_requests"
        for sample in metric.samples
        if sample.name.endswith("_total")
    }


def test_seven_known_requests_are_counted_one_by_one(written: Path) -> None:
    """By protocol, route, status and version; rows by version; refused values by feature."""
    with serving(written / "linear" / "1.0.0") as service:
        before = request_series(service)
        service.http.post(PREDICT, content=GOOD)
        service.http.post(PREDICT, content=GOOD)
        service.http.post(PREDICT, json={"instances": [[1, 2, "s3cret"]]})
        service.http.post("/v2/models/linear/infer", json={"inputs": []})
        service.http.post(
            "/v2/models/linear/versions/9/infer",
            json={"inputs": [{"name": "a", "datatype": "FP64", "shape": [1, 3], "data": [1, 2, 3]}]},
        )
        service.http.get("/v2/models/linear")
        service.http.get("/v1/models/linear")
        counted = {
            labels: value - before.get(labels, 0)
            for labels, value in request_series(service).items()
            if value != before.get(labels, 0)
        }

        assert counted == {
            ("v1", "/v1/models/{model_name}:predict", "200", "1.0.0"): 2,
            ("v1", "/v1/models/{model_name}:predict", "400", "1.0.0"): 1,
            ("v2", "/v2/models/{model_name}/infer", "400", "1.0.0"): 1,
            ("v2", "/v2/models/{model_name}/versions/{model_version}/infer", "404", "1.0.0"): 1,
            ("v2", "/v2/models/{model_name}", "200", "1.0.0"): 1,
            ("v1", "/v1/models/{model_name}", "200", "1.0.0"): 1,
        }
        assert service.value("model_server_rows_total", model_version="1.0.0") == 4
        assert service.value("model_server_contract_violations_total", feature="x2") == 1
        assert (
            service.value(
                "model_server_request_seconds_count",
                protocol="v1",
                endpoint="/v1/models/{model_name}:predict",
                model_version="1.0.0",
            )
            == 3
        )


def test_500_random_paths_make_one_series(service: LiveServer) -> None:
    """A scanner must not fill the memory of the metrics; nor may unknown features or methods."""
    service.http.get("/nowhere")
    service.http.post(PREDICT, json={"instances": [{"zero": 1}]})
    before = request_series(service).keys()
    violations = str(list(service.metrics.registry.collect()))
    for _ in range(125):
        name = uuid.uuid4().hex
        service.http.get(f"/{name}")
        service.http.get(f"/v1/{name}?{name}=1")
        service.http.request("PROPFIND", f"/{name}/{name}")
        service.http.post(PREDICT, json={"instances": [{name: 1}]})

    assert request_series(service).keys() == before
    assert service.value("model_server_contract_violations_total", feature="") > 0
    assert "zero" not in violations


@pytest.mark.parametrize("path", ["/predict", "/predict/batch"])
@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
def test_a_wrong_method_is_counted_under_its_route(service: LiveServer, method: str, path: str) -> None:
    """The path is one of the server's: ``unmatched`` is for those that are none."""
    labels = {"protocol": "http", "endpoint": path, "code": "405", "model_version": "1.0.0"}
    before = counted(service, labels)

    assert service.http.request(method, path).status_code == 405
    assert counted(service, labels) == before + 1


def counted(service: LiveServer, labels: dict[str, str]) -> float:
    """Read how many requests of a kind there were; reading the metrics adds up what waits."""
    service.http.get("/metrics")
    return service.value("model_server_requests_total", **labels)


def test_metrics_can_be_scraped(service: LiveServer) -> None:
    """Whoever asks for nothing special gets the text format."""
    response = service.http.get("/metrics")

    assert response.headers["content-type"].startswith("text/plain; version=")
    assert "# TYPE model_server_requests_total counter" in response.text
    assert 'model_server_model_info{digest="' in response.text


# --- log lines --------------------------------------------------------------------------------------------------------


def test_a_request_is_one_line_with_fixed_keys(service: LiveServer, lines: Any) -> None:
    """Keys are in a fixed order; those that say nothing are left out."""
    service.http.post(PREDICT, content=GOOD, headers={"x-request-id": "known"})
    wait_for(lambda: any(line["request_id"] == "known" for line in lines()))

    (line,) = [line for line in lines() if line["request_id"] == "known"]
    del line["timestamp"]
    assert line.pop("latency_ms") > 0
    assert line == {
        "level": "INFO",
        "logger": "model_server",
        "message": "request",
        "protocol": "v1",
        "method": "POST",
        "endpoint": "/v1/models/{model_name}:predict",
        "status": 200,
        "rows": 2,
        "model_name": "linear",
        "model_version": "1.0.0",
        "request_id": "known",
    }
    assert [key for key in line if key in REQUEST_KEYS] == [key for key in REQUEST_KEYS if key in line]


def test_no_feature_value_is_ever_logged(service: LiveServer, slow: LiveServer, lines: Any, caplog: Any) -> None:
    """In whatever way a request fails: the log outlives the request, and has other readers."""
    marker = "987654.321"
    for content in (
        f'{{"instances": [[{marker}, 1, 2]]}}',
        f'{{"instances": [["{marker}", 1, 2]]}}',
        f'{{"instances": [[{marker}, 1]]}}',
        f'{{"instances": [{marker}]}}',
        f'{{"instances": {marker}}}',
        f'{{"instances": [[{marker}',
        f"{marker}",
    ):
        for path in (PREDICT, "/v1/models/linear:explain", "/predict", "/nowhere"):
            service.http.post(path, content=content)
    broken = f'{{"instances": [[{marker}, null]]}}'
    assert slow.http.post("/v1/models/waiting:predict", content=broken).status_code == 500

    wait_for(lambda: sum(line["method"] == "POST" for line in lines()) == 29)
    everything = " ".join(JsonFormatter().format(record) for record in caplog.records)
    assert marker not in everything
    assert "error_type" in everything


# --- faults of our own ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("hot", ["true", "false"])
def test_a_fault_of_the_server_is_a_fixed_text_and_one_log_line(hot: str, written: Path, lines: Any) -> None:
    """An exception of the model and a broken promise alike; class names and texts stay in the log."""
    with serving(written / "waiting" / "1.0.0", f"--hot_path={hot}") as service:
        answers = [
            service.http.post("/v1/models/waiting:predict", json={"instances": [row]}) for row in ([None, 0], [1, None])
        ]

    for answer in answers:
        assert answer.status_code == 500
        assert answer.json() == {
            "error": "internal error; the log has the details under this request's x-request-id",
            "code": "internal",
            "request_id": answer.headers["x-request-id"],
        }
    details = lines("request failed")
    assert [line["request_id"] for line in details] == [answer.headers["x-request-id"] for answer in answers]
    assert details[0]["error_type"] == "BugError"
    assert details[0]["error"] == "the pipeline answered a number that is not finite"
    assert details[1]["error_type"] == "ValueError"
    assert "error" not in details[1]
    assert any("predict" in place for place in details[1]["stack"])
    assert [line["status"] for line in lines() if line["endpoint"].endswith(":predict")] == [500, 500]


class Silent:
    """A lean route that answers nothing."""

    async def answer(self, *_: object) -> None:
        """Leave every request to the app behind."""


def gate(app: Any) -> tuple[Gate, Metrics]:
    """Put a gate in front of a bare ASGI app."""
    metrics = Metrics(CollectorRegistry())
    executor: Any = None
    unused: Executor = executor
    repository = BundleRepository(Wanted("none"), unused, metrics)
    silent: Any = Silent()
    accounting = Accounting(repository, Telemetry(metrics, log_requests=False))
    return Gate(app, silent, accounting, max_body_bytes=100), metrics


def call(app: Any, *messages: dict[str, Any]) -> tuple[list[Any], Metrics]:
    """Send one request, as messages, and collect the answer's."""
    front, metrics = gate(app)
    sent: list[Any] = []
    left: list[Any] = list(messages)

    async def receive() -> Any:
        return left.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/x", "headers": []}
    asyncio.run(front(scope, receive, send))
    return sent, metrics


async def breaks(scope: Any, receive: Any, send: Any) -> None:
    """Fail before anything is sent."""
    del scope, receive, send
    raise RuntimeError("s3cret")


async def breaks_late(scope: Any, receive: Any, send: Any) -> None:
    """Fail once the answer has begun."""
    del scope, receive
    await send({"type": "http.response.start", "status": 200, "headers": []})
    raise RuntimeError("s3cret")


async def echoes(scope: Any, receive: Any, send: Any) -> None:
    """Answer with what is received, and what is received after that."""
    body = await receive()
    after = await receive()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body["body"] + after["type"].encode()})
    assert dict(scope["headers"])[b"content-type"] == b"application/json"


PART = {"type": "http.request", "body": b"ab", "more_body": True}
LAST = {"type": "http.request", "body": b"c"}
GONE = {"type": "http.disconnect"}


def test_an_app_that_breaks_is_answered_for() -> None:
    """The client gets the fixed text, and the log the details."""
    sent, metrics = call(breaks, LAST)

    assert sent[0]["status"] == 500
    assert b"internal error" in sent[1]["body"]
    assert b"s3cret" not in sent[1]["body"]
    assert metrics.registry.get_sample_value("model_server_requests_in_flight") == 0


def test_an_app_that_breaks_in_the_middle_is_not_answered_twice() -> None:
    """The connection ends; a second start would confuse the client."""
    sent, _ = call(breaks_late, LAST)

    assert [message["type"] for message in sent] == ["http.response.start"]


def test_a_body_is_handed_on_whole_and_once() -> None:
    """Then the app hears what the client does next."""
    sent, _ = call(echoes, PART, LAST, GONE)

    assert sent[1]["body"] == b"abchttp.disconnect"


def test_nothing_is_sent_to_a_client_that_left() -> None:
    """There is nobody to read it."""
    sent, metrics = call(echoes, PART, GONE)

    assert sent == []
    labels = {"protocol": "http", "endpoint": "unmatched", "code": "499", "model_version": ""}
    assert metrics.registry.get_sample_value("model_server_requests_total", labels) == 1


def test_other_events_pass_the_gate() -> None:
    """A lifespan is the app's business."""
    heard: list[str] = []

    async def listens(scope: Any, receive: Any, send: Any) -> None:
        del receive, send
        heard.append(scope["type"])

    front, _ = gate(listens)
    nothing: Any = None
    asyncio.run(front({"type": "lifespan"}, nothing, nothing))

    assert heard == ["lifespan"]
