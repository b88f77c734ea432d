"""The life of a server: open before it is loaded, honest about failures, in order to its end."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import grpc
import httpx
import numpy as np
import orjson
import pytest
from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb
from kserve.protocol.grpc.grpc_predict_v2_pb2_grpc import GRPCInferenceServiceStub
from prometheus_client import CollectorRegistry

from model_server.bundle import write
from model_server.contract import Contract
from model_server.cpu import cpu_limit
from model_server.edge.embedded import RunningServer
from model_server.edge.server import BundleServer, _listen, _loop_factory
from model_server.errors import BugError, ConfigError, StartupFailed
from model_server.telemetry.logs import JsonFormatter
from model_server.telemetry.metrics import Metrics
from tests.bundles import contracts, writing
from tests.bundles.catalogue import NUMBERS
from tests.bundles.estimators import FailingWhenServed, Held, RaisingWhenOpened, ThreadCounting
from tests.bundles.live_server import TOKEN, load_settings, serving, wait_for
from tests.model_server.waiting import call

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

ONE = Contract(features=contracts.numbers(2), output=contracts.VALUE)


def odd(directory: Path, pipeline: Any) -> Path:
    """Write a bundle of a pipeline that need not answer its golden row."""
    golden = {"rows": [[1.0, 0.0]], "outputs": {"value": [1.0]}, "tolerance": 0.0}
    return write(directory, contracts.manifest(ONE, name="odd"), writing.files(pipeline, golden), {}).directory


def failure(directory: Path, *flags: str) -> str:
    """Start a server that cannot serve, wait for its end, and give the reason."""
    running = RunningServer(load_settings(directory, *flags), Metrics(CollectorRegistry()))
    wait_for(lambda: running.failure is not None, 20)
    running.stop()
    assert isinstance(running.failure, StartupFailed)
    return str(running.failure)


@pytest.fixture
def left_behind() -> Callable[[], list[str]]:
    """Give a function that names the server threads which came up during the test and are still alive."""
    before = set(threading.enumerate())
    prefixes = ("predict", "load", "model-server")
    return lambda: [one.name for one in set(threading.enumerate()) - before if one.name.startswith(prefixes)]


# --- before the model is loaded ---------------------------------------------------------------------------------------


def test_ports_are_open_before_the_model_is_loaded(tmp_path: Path, release: Callable[[], None]) -> None:
    """Liveness answers; readiness and predictions say not yet, on every protocol, and then yes."""
    directory = odd(tmp_path / "odd" / "1.0.0", Held().fit(np.zeros((2, 2))))
    with serving(directory, "--model_name=odd", ready=False) as service:
        alive = service.http.get("/v2/health/live")
        refused = [
            service.http.get("/v2/health/ready"),
            service.http.get("/ready"),
            service.http.get("/v2/models/odd/ready"),
            service.http.get("/v1/models/odd"),
            service.http.get("/v2/models/odd"),
            service.http.post("/v1/models/odd:predict", json={"instances": [[1, 0]]}),
            service.http.post("/v1/models/odd:explain", json={"instances": [[1, 0]]}),
            service.http.post("/v2/models/odd/infer", json={"inputs": []}),
            service.http.post("/predict", json={"x0": 1, "x1": 0}),
        ]
        stub = service.stub
        not_ready = [
            stub.ServerReady(pb.ServerReadyRequest()).ready,
            stub.ModelReady(pb.ModelReadyRequest(name="odd")).ready,
        ]
        release()
        service.wait_until_ready()

        assert alive.status_code == 200
        assert [response.status_code for response in refused] == [503] * len(refused)
        assert {response.json()["code"] for response in refused} == {"model-not-ready"}
        assert not_ready == [False, False]
        assert stub.ServerReady(pb.ServerReadyRequest()).ready
        assert service.http.post("/v1/models/odd:predict", json={"instances": [[1, 0]]}).status_code == 200


def test_other_names_are_unknown_while_the_model_is_loading(tmp_path: Path) -> None:
    """404, not 503: waiting would not help."""
    with serving(tmp_path, "--model_name=odd", "--require_model=false", ready=False) as service:
        assert service.http.post("/v1/models/other:predict", json={"instances": []}).status_code == 404
        assert service.http.get("/v2/models/other/ready").status_code == 404
        with pytest.raises(grpc.RpcError) as caught:
            service.stub.ModelReady(pb.ModelReadyRequest(name="other"))
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND


# --- failing to start -------------------------------------------------------------------------------------------------


def test_without_a_bundle_a_server_ends_and_says_what_to_do(tmp_path: Path) -> None:
    """The command that makes one stands in the text."""
    text = failure(tmp_path / "none")

    assert text.startswith(f"no bundle at {tmp_path / 'none'}")
    assert "python -m training run" in text


def test_another_digest_than_the_pinned_is_not_served(written: Path) -> None:
    """Both digests stand in the text."""
    text = failure(written / "linear" / "1.0.0", f"--model_digest={'0' * 64}")

    assert "0" * 64 in text


def test_another_version_is_not_served(written: Path) -> None:
    """The text says which version was found there."""
    assert "1.0.0" in failure(written / "linear" / "1.0.0", "--model_version=9.9.9")


@pytest.mark.usefixtures("release")
def test_a_load_that_takes_too_long_ends_the_server(tmp_path: Path) -> None:
    """The limit stands in the text, with what to change."""
    directory = odd(tmp_path / "odd" / "1.0.0", Held().fit(np.zeros((2, 2))))

    text = failure(directory, "--startup_timeout_s=0.2")

    assert text == "the bundle was not loaded within startup_timeout_s = 0.2: raise it, or make the bundle smaller"


@pytest.mark.parametrize("how", ["RuntimeError", "SystemExit", "KeyboardInterrupt", "CancelledError"])
def test_a_pickle_that_raises_anything_ends_the_server_with_a_reason(how: str, tmp_path: Path) -> None:
    """A process that is alive, silent and never ready would be the worst."""
    directory = odd(tmp_path / "odd" / "1.0.0", RaisingWhenOpened(how))

    assert failure(directory).startswith(f"the bundle could not be loaded ({how}): the log says where")


def test_a_model_that_fails_where_it_will_predict_ends_the_server(tmp_path: Path) -> None:
    """The thread that predicts is another than the one that loads; what fails there only must not come out later."""
    directory = odd(tmp_path / "odd" / "1.0.0", FailingWhenServed().fit(np.zeros((2, 2))))

    assert failure(directory) == "the bundle could not be loaded (RuntimeError): the log has the details"


def test_without_a_name_no_model_is_known_while_it_loads(tmp_path: Path) -> None:
    """Its name will come from the manifest: until then any may be right."""
    with serving(tmp_path, "--require_model=false", ready=False) as service:
        wait_for(lambda: service.value("model_server_model_loads_total", result="failed") == 1)
        assert service.http.get("/v2/models/any/ready").status_code == 503
        assert service.http.post("/v1/models/any:predict", json={"instances": []}).status_code == 503
        assert service.http.get("/v1/models").json() == {"models": []}
        assert service.http.post("/v2/repository/index").json() == []
        assert not service.stub.ModelReady(pb.ModelReadyRequest(name="any")).ready


def test_a_server_may_stay_up_without_a_model(tmp_path: Path) -> None:
    """Alive, not ready, and it says why."""
    with serving(tmp_path, "--model_name=odd", "--require_model=false", ready=False) as service:
        wait_for(lambda: service.value("model_server_model_loads_total", result="failed") == 1)

        refused = service.http.post("/v1/models/odd:predict", json={"instances": []})

        assert refused.json()["error"] == "model 'odd' is not ready: loading failed (bundle-not-found)"
        assert service.http.get("/v2/health/live").status_code == 200
        assert service.http.get("/v2/health/ready").status_code == 503


@pytest.mark.parametrize("key", ["http_port", "grpc_port"])
def test_a_port_that_is_taken_is_named(key: str, written: Path, left_behind: Callable[[], list[str]]) -> None:
    """The text names its setting, and nothing of the server stays behind."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        settings = load_settings(written / "linear" / "1.0.0", f"--{key}={port}")
        with pytest.raises(StartupFailed) as caught:
            RunningServer(settings, Metrics(CollectorRegistry()))

    assert str(caught.value) == f"port {port} cannot be opened: free it, or set {key} to another"
    wait_for(lambda: left_behind() == [])


@pytest.mark.parametrize("host", ["no.such.host.invalid", "192.0.2.1", "2001:db8::1"])
def test_an_address_of_another_machine_is_named(host: str, written: Path) -> None:
    """The text does not blame the port, which may be free."""
    settings = load_settings(written / "linear" / "1.0.0", f"--http_host={host}")

    with pytest.raises(StartupFailed, match=f"nothing can listen on {host}: set http_host to"):
        RunningServer(settings, Metrics(CollectorRegistry()))


def test_a_server_loads_its_bundle_itself(written: Path) -> None:
    """KServe's start takes models; here they would be ignored."""
    server = BundleServer(load_settings(written / "linear" / "1.0.0"), Metrics(CollectorRegistry()))

    with pytest.raises(ConfigError, match="loads its bundle itself"):
        server.start(["model"])


# --- serving ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["auto", "uvloop", "asyncio"])
def test_the_event_loop_is_the_chosen_one(name: str, written: Path) -> None:
    """KServe's flag never reaches the loop that serves."""
    loop = _loop_factory(name)()
    module = type(loop).__module__
    loop.close()

    assert module.startswith("asyncio" if name == "asyncio" else "uvloop")
    with serving(written / "linear" / "1.0.0", f"--event_loop={name}") as service:
        assert service.http.post("/v1/models/linear:predict", json={"instances": NUMBERS}).status_code == 200


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_an_answer_does_not_wait_for_an_acknowledgement(host: str, written: Path) -> None:
    """Headers and body are two packets: on asyncio's loop the second one would wait 40 ms for the first one's."""
    if ":" in host and not socket.has_ipv6:
        pytest.skip("this machine has no IPv6")
    settings = load_settings(written / "linear" / "1.0.0", f"--http_host={host}")
    with _listen(settings) as listener, socket.create_connection(listener.getsockname()[:2]):
        accepted, _ = listener.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_a_model_predicts_with_its_share_of_the_processors(tmp_path: Path) -> None:
    """OpenMP counts threads in each thread by itself: a limit set elsewhere would not reach the one that predicts."""
    pipeline = ThreadCounting().fit(np.zeros((2, 2)))
    with ThreadPoolExecutor(1) as fresh:  # as the thread that loads
        expected = fresh.submit(pipeline.predict, np.zeros((1, 2))).result().tolist()
    golden = {"rows": [[1.0, 0.0]], "outputs": {"value": expected}, "tolerance": 0.0}
    bundle = write(tmp_path / "odd" / "1.0.0", contracts.manifest(ONE, name="odd"), writing.files(pipeline, golden), {})
    for threads in (1, 2):
        with serving(bundle.directory, f"--predict_threads={threads}") as service:
            answer = service.http.post("/v1/models/odd:predict", json={"instances": [[1, 0]]})

            assert answer.json()["predictions"] == [{"value": max(1, cpu_limit() // threads)}]


def test_two_threads_predict_at_once(written: Path) -> None:
    """Two calls of a second take less than two."""
    with serving(written / "waiting" / "1.0.0", "--predict_threads=2") as service, ThreadPoolExecutor(2) as pool:
        started = time.monotonic()
        for asked in [pool.submit(call, service, [7.0, 1.0]) for _ in range(2)]:
            asked.result()

    assert time.monotonic() - started < 1.9


def test_grpc_can_be_left_out(written: Path) -> None:
    """Nobody listens on its port then."""
    with serving(written / "linear" / "1.0.0", "--enable_grpc=false") as service:
        assert service.http.post("/v1/models/linear:predict", json={"instances": NUMBERS}).status_code == 200
        with pytest.raises(grpc.RpcError) as caught:
            service.stub.ServerLive(pb.ServerLiveRequest(), timeout=2)
        assert caught.value.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)


def test_ipv6_is_served(written: Path) -> None:
    """Both ports listen on an address with colons."""
    if not socket.has_ipv6:
        pytest.skip("this machine has no IPv6")
    settings = load_settings(written / "linear" / "1.0.0", "--http_host=::1")
    running = RunningServer(settings, Metrics(CollectorRegistry()))
    try:
        url = f"http://[::1]:{running.http_port}/v2/health/live"
        assert httpx.get(url, trust_env=False).status_code == 200
        with grpc.insecure_channel(f"[::1]:{running.grpc_port}", options=[("grpc.enable_http_proxy", 0)]) as channel:
            assert GRPCInferenceServiceStub(channel).ServerLive(pb.ServerLiveRequest(), timeout=5).live
    finally:
        running.stop()


# --- gRPC's envelope --------------------------------------------------------------------------------------------------


def numbers_message(**more: Any) -> Any:
    """Write the two rows as a gRPC message."""
    part = pb.ModelInferRequest.InferInputTensor(name="x", datatype="FP64", shape=[2, 3])
    part.contents.fp64_contents.extend([*NUMBERS[0], *NUMBERS[1]])
    return pb.ModelInferRequest(model_name="linear", inputs=[part], **more)


def trailing(call: Any) -> dict[str, str]:
    """Read the metadata behind an answer."""
    return {item.key: item.value for item in call.trailing_metadata()}


def test_a_grpc_call_has_its_identifier_counts_and_line(written: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It gets all that an HTTP request gets, from the same code."""
    caplog.set_level(logging.INFO)
    with serving(written / "linear" / "1.0.0") as service:
        _, call = service.stub.ModelInfer.with_call(numbers_message(), metadata=[("x-request-id", "known")])
        _, other = service.stub.ModelInfer.with_call(numbers_message(), metadata=[("x-request-id", "not decent!")])
        with pytest.raises(grpc.RpcError) as caught:
            service.stub.ModelInfer(pb.ModelInferRequest(model_name="linear"), metadata=[("x-request-id", "bad")])
        labels = {"protocol": "grpc", "endpoint": "ModelInfer", "model_version": "1.0.0"}
        wait_for(lambda: service.value("model_server_requests_in_flight") == 0)

        assert trailing(call) == {"x-request-id": "known", "x-model-version": "1.0.0"}
        assert trailing(other)["x-request-id"] != "not decent!"
        assert trailing(caught.value) == {"x-request-id": "bad", "x-model-version": "1.0.0"}
        assert service.value("model_server_requests_total", code="OK", **labels) == 2
        assert service.value("model_server_requests_total", code="INVALID_ARGUMENT", **labels) == 1

    lines = [orjson.loads(JsonFormatter().format(record)) for record in caplog.records]
    line = next(line for line in lines if line.get("request_id") == "known")
    expected = {"protocol": "grpc", "method": "RPC", "endpoint": "ModelInfer", "status": "OK", "rows": 2}
    assert {key: line[key] for key in expected} == expected
    refused = next(line for line in lines if line.get("request_id") == "bad")
    assert (refused["status"], refused["error_type"]) == ("INVALID_ARGUMENT", "malformed-request")


def test_an_unknown_grpc_method_is_unimplemented(written: Path) -> None:
    """The library answers it before us, and counts it nowhere."""
    with serving(written / "linear" / "1.0.0") as service:
        call: Any = service.channel.unary_unary("/inference.GRPCInferenceService/Nonsense")
        with pytest.raises(grpc.RpcError) as caught:
            call(b"")
        assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


def test_bytes_that_are_no_message_are_refused_over_grpc(written: Path) -> None:
    """The connection survives them: the next call is answered."""
    with serving(written / "linear" / "1.0.0") as service:
        call: Any = service.channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
        with pytest.raises(grpc.RpcError):
            call(b"\xff\xff\xff")
        assert service.stub.ModelInfer(numbers_message()).model_name == "linear"


def test_a_fault_over_grpc_is_a_fixed_text(written: Path) -> None:
    """INTERNAL, with the identifier under which the log has the details."""
    with serving(written / "waiting" / "1.0.0") as service, pytest.raises(grpc.RpcError) as caught:
        call(service, [7.0, float("nan")])

    assert caught.value.code() is grpc.StatusCode.INTERNAL
    assert caught.value.details() == "internal error; the log has the details under this request's x-request-id"


def test_a_long_refusal_keeps_its_status_over_grpc(written: Path) -> None:
    """The text travels in a header: one too long would reach the client as RESOURCE_EXHAUSTED."""
    names = [f"{index}{chr(0x1F600) * 60}" for index in range(40)]
    inputs = [pb.ModelInferRequest.InferInputTensor(name=name, datatype="FP64", shape=[1]) for name in names]
    for part in inputs:
        part.contents.fp64_contents.append(1.0)
    with serving(written / "linear" / "1.0.0") as service, pytest.raises(grpc.RpcError) as caught:
        service.stub.ModelInfer(pb.ModelInferRequest(model_name="linear", inputs=inputs))

    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert str(caught.value.details()).endswith("…")
    assert "feature 'x0': is missing" in str(caught.value.details())


def test_messages_over_the_limits_are_refused(written: Path) -> None:
    """One that comes, and one that would go."""
    small = ["--grpc_max_receive_message_length=100", "--grpc_max_send_message_length=10"]
    for flag in small:
        with serving(written / "linear" / "1.0.0", flag) as service, pytest.raises(grpc.RpcError) as caught:
            service.stub.ModelInfer(numbers_message(id="x" * 100))
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


def test_a_call_that_the_client_gives_up_is_counted(written: Path) -> None:
    """As cancelled; the gauge goes back to zero."""
    with serving(written / "waiting" / "1.0.0") as service:
        part = pb.ModelInferRequest.InferInputTensor(name="x", datatype="FP64", shape=[1, 2])
        part.contents.fp64_contents.extend([7.0, 0.6])
        with pytest.raises(grpc.RpcError) as caught:
            service.stub.ModelInfer(pb.ModelInferRequest(model_name="waiting", inputs=[part]), timeout=0.2)
        assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        labels = {"protocol": "grpc", "endpoint": "ModelInfer", "model_version": "1.0.0", "code": "CANCELLED"}
        wait_for(lambda: service.value("model_server_requests_total", **labels) == 1)
        assert service.value("model_server_requests_in_flight") == 0


# --- stopping ---------------------------------------------------------------------------------------------------------


def test_a_stopped_server_leaves_no_thread(written: Path, left_behind: Callable[[], list[str]]) -> None:
    """It leaves no open port either, so another can be started in its place."""
    with serving(written / "linear" / "1.0.0") as service:
        service.http.post("/v1/models/linear:predict", json={"instances": NUMBERS})
        port = service.running.http_port

    wait_for(lambda: left_behind() == [])
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"http://127.0.0.1:{port}/", trust_env=False)
    service.running.stop()  # again is nothing


def test_readiness_drops_first_and_requests_are_still_answered(written: Path) -> None:
    """For as long as load balancers need to notice; on every route and protocol."""
    with serving(written / "linear" / "1.0.0", "--shutdown_delay_s=1") as service, ThreadPoolExecutor(1) as pool:
        stopping = pool.submit(service.running.stop)
        wait_for(lambda: service.http.get("/v2/health/ready").status_code == 503)

        answers = [
            service.http.post("/v1/models/linear:predict", json={"instances": NUMBERS}),
            service.http.post("/v1/models/linear:explain", json={"instances": NUMBERS}),
            service.http.get("/v2/models/linear"),
        ]
        unready = service.http.get("/v2/models/linear/ready")
        value = service.stub.ModelInfer(numbers_message()).outputs[0].contents.fp64_contents[0]

        assert [answer.status_code for answer in answers] == [200] * 3
        assert unready.status_code == 503
        assert not service.stub.ModelReady(pb.ModelReadyRequest(name="linear")).ready
        assert value == pytest.approx(sum(NUMBERS[0]))
        stopping.result()


def test_the_grace_ends_what_takes_too_long(
    written: Path, caplog: pytest.LogCaptureFixture, left_behind: Callable[[], list[str]]
) -> None:
    """A prediction without end must not keep the process: it is cut off, the client told, and the line written."""
    caplog.set_level(logging.INFO)
    with serving(written / "waiting" / "1.0.0", "--shutdown_grace_s=1") as service, ThreadPoolExecutor(2) as pool:
        asked = pool.submit(service.http.post, "/v1/models/waiting:predict", json={"instances": [[7, 3]]})
        called = pool.submit(call, service, [7.0, 3.0])
        wait_for(lambda: service.value("model_server_requests_in_flight") == 2)
        started = time.monotonic()
        service.running.stop()
        took_s = time.monotonic() - started

        assert took_s < 2.5
        with pytest.raises(grpc.RpcError) as caught:
            called.result()
        answer = asked.result()
        assert caught.value.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        assert answer.json()["error"] == "the server is shutting down: send the request again"
    lines = [orjson.loads(JsonFormatter().format(record)) for record in caplog.records]
    cut = [line for line in lines if line["message"] == "request" and line["protocol"] != "http"]
    assert {(line["protocol"], line["status"]) for line in cut} == {("v1", 503), ("grpc", "CANCELLED")}
    wait_for(lambda: left_behind() == [])


def test_a_server_can_be_stopped_while_it_loads(
    tmp_path: Path, release: Callable[[], None], left_behind: Callable[[], list[str]]
) -> None:
    """Stopping does not wait for the bundle, which may take minutes."""
    directory = odd(tmp_path / "odd" / "1.0.0", Held().fit(np.zeros((2, 2))))
    with serving(directory, ready=False) as service:
        service.running.stop()

        assert left_behind() == ["load_0"]
        assert service.running.failure is None
    release()
    wait_for(lambda: left_behind() == [])


def test_a_server_that_does_not_stop_is_an_error(written: Path) -> None:
    """A test that waits for it must not go on."""
    flags = ["--shutdown_delay_s=0.5"]
    with serving(written / "linear" / "1.0.0", *flags) as service, pytest.raises(BugError, match="did not stop within"):
        service.running.stop(0.01)


def test_reloads_come_to_a_running_server_by_token_only(written: Path) -> None:
    """In production; on a developer's machine without a token all is open, with one it is not."""
    directory = written / "linear" / "1.0.0"
    statuses = {}
    for token in (TOKEN, None):
        for env in ("production", "local"):
            with serving(directory, f"--app_env={env}", token=token) as service:
                statuses[token, env] = [
                    service.http.post("/admin/reload", headers=headers).status_code
                    for headers in ({}, {b"x-admin-token": TOKEN.encode()}, {b"X-Admin-Token": b"\xc3\xa9"})
                ]

    assert statuses == {
        (TOKEN, "production"): [403, 200, 403],
        (TOKEN, "local"): [403, 200, 403],
        (None, "production"): [403, 403, 403],
        (None, "local"): [200, 200, 200],
    }


def test_a_loop_of_ones_own_is_not_needed(written: Path) -> None:
    """A server can be started from a coroutine's thread: it brings its own loop."""

    async def steps() -> int:
        with serving(written / "linear" / "1.0.0") as service:
            await asyncio.sleep(0)
            return service.http.get("/").status_code

    assert asyncio.run(steps()) == 200
