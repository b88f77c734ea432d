"""What KServe 0.21 gets wrong and this server gets right, each with KServe's own issue where there is one.

The second half shows that KServe still is wrong: when one of those tests fails, KServe was put right, and what we built
around it may go.
"""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import grpc
import numpy as np
import orjson
import pytest
from kserve import InferInput, InferOutput, InferRequest, InferResponse, Model, ModelRepository, errors
from kserve.protocol.dataplane import DataPlane
from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb
from kserve.protocol.infer_type import RequestedOutput
from kserve.protocol.rest.v2_datamodels import InferenceResponse
from kserve.protocol.rest.v2_endpoints import V2Endpoints
from kserve.utils.utils import get_predict_input
from pydantic import ValidationError

from tests.bundles.catalogue import PEOPLE
from tests.bundles.live_server import TOKEN, serving, wait_for
from tests.conformance.wire import grpc_outputs
from tests.model_server.waiting import call

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.bundles.live_server import LiveServer

both_ways = pytest.mark.parametrize("way", ["lean", "kserve"])


@pytest.fixture(scope="module")
def services(written: Path) -> Iterator[dict[str, LiveServer]]:
    """A server of the people model by either way: the lean route, and KServe's own."""
    people = written / "people" / "1.0.0"
    with serving(people) as lean, serving(people, "--hot_path=false") as kserve:
        yield {"lean": lean, "kserve": kserve}


@pytest.fixture(scope="module")
def waiting(written: Path) -> Iterator[LiveServer]:
    """A server of the model that waits as long as a request says."""
    with serving(written / "waiting" / "1.0.0", "--shutdown_grace_s=20") as service:
        yield service


def columns(**more: Any) -> dict[str, Any]:
    """Write the two people as a v2 document with a tensor a column."""
    ages, incomes, members, plans = (list(column) for column in zip(*PEOPLE, strict=True))
    inputs = [
        {"name": "plan", "datatype": "BYTES", "shape": [2], "data": plans},
        {"name": "member", "datatype": "BOOL", "shape": [2], "data": members},
        {"name": "income", "datatype": "FP64", "shape": [2], "data": incomes},
        {"name": "age", "datatype": "INT64", "shape": [2], "data": ages},
    ]
    return {"inputs": inputs, **more}


def raw_columns(**more: Any) -> Any:
    """Write the same as a gRPC message with raw contents."""
    ages, incomes, members, plans = (list(column) for column in zip(*PEOPLE, strict=True))
    sent = {
        ("plan", "BYTES"): b"".join(len(plan).to_bytes(4, "little") + plan.encode() for plan in plans),
        ("member", "BOOL"): np.array(members).tobytes(),
        ("income", "FP64"): np.array([np.nan if income is None else income for income in incomes]).tobytes(),
        ("age", "INT64"): np.array(ages, dtype="<i8").tobytes(),
    }
    inputs = [pb.ModelInferRequest.InferInputTensor(name=n, datatype=d, shape=[2]) for n, d in sent]
    return pb.ModelInferRequest(model_name="people", inputs=inputs, raw_input_contents=list(sent.values()), **more)


def predicted(service: LiveServer) -> list[dict[str, Any]]:
    """Ask for the two people by v1, the plainest way."""
    response = service.http.post("/v1/models/people:predict", json={"instances": PEOPLE})
    assert response.status_code == 200, response.text
    predictions: list[dict[str, Any]] = response.json()["predictions"]
    return predictions


def outputs(document: Any) -> dict[str, Any]:
    """Read the outputs of a v2 document by name."""
    return {output["name"]: output["data"] for output in document["outputs"]}


# --- what is right here -----------------------------------------------------------------------------------------------


def test_ready_means_that_the_model_is_ready(tmp_path: Path) -> None:
    """KServe #3262, #3931: /v2/health/ready says yes before any model is loaded."""
    with serving(tmp_path, "--model_name=people", "--require_model=false", ready=False) as service:
        ready = service.http.get("/v2/health/ready")

        assert ready.status_code == 503
        assert ready.headers["retry-after"] == "1"
        assert service.http.get("/v2/health/live").status_code == 200
        assert not service.stub.ServerReady(pb.ServerReadyRequest()).ready
        assert service.stub.ServerLive(pb.ServerLiveRequest()).live


@both_ways
@pytest.mark.parametrize("verb", ["load", "unload"])
@pytest.mark.parametrize("token", [None, "", "wrong", TOKEN + "x"])
def test_nobody_unloads_a_model_without_the_token(
    way: str, verb: str, token: str | None, services: dict[str, LiveServer]
) -> None:
    """KServe mounts load and unload open: one POST from any client removes the model for good."""
    service = services[way]
    headers = {} if token is None else {"x-admin-token": token}

    response = service.http.post(f"/v2/repository/models/people/{verb}", headers=headers)

    assert (response.status_code, response.json()["code"]) == (403, "forbidden")
    call = service.stub.RepositoryModelLoad if verb == "load" else service.stub.RepositoryModelUnload
    kind = pb.RepositoryModelLoadRequest if verb == "load" else pb.RepositoryModelUnloadRequest
    with pytest.raises(grpc.RpcError) as caught:
        call(kind(model_name="people"), metadata=[("x-admin-token", token)] if token else [])
    assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED
    assert len(predicted(service)) == 2


def test_load_and_unload_over_grpc_succeed(written: Path) -> None:
    """KServe's servicer subscripts a None and so fails on success too."""
    metadata = [("x-admin-token", TOKEN)]
    with serving(written / "people" / "1.0.0") as service:
        request = pb.RepositoryModelUnloadRequest(model_name="people")
        assert service.stub.RepositoryModelUnload(request, metadata=metadata).isUnloaded
        assert service.http.get("/v2/models/people/ready").status_code == 503
        with pytest.raises(grpc.RpcError) as caught:
            service.stub.RepositoryModelUnload(request, metadata=metadata)
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND
        loaded = service.stub.RepositoryModelLoad(pb.RepositoryModelLoadRequest(model_name="people"), metadata=metadata)
        assert loaded.isLoaded
        assert service.http.get("/v2/models/people/ready").status_code == 200


@both_ways
def test_the_served_version_has_routes(way: str, services: dict[str, LiveServer]) -> None:
    """KServe #4655, #2358: every versions/{v} route answers 501, and gRPC ignores the version."""
    service = services[way]
    path = "/v2/models/people/versions/1.0.0"

    assert service.http.get(path).json()["versions"] == ["1.0.0"]
    assert service.http.get(f"{path}/ready").json() == {"name": "people", "ready": True}
    assert service.http.post(f"{path}/infer", json=columns()).status_code == 200
    for other in ("2.0.0", "1", "latest"):
        path = f"/v2/models/people/versions/{other}"
        answers = [service.http.get(path), service.http.get(f"{path}/ready")]
        answers.append(service.http.post(f"{path}/infer", json=columns()))
        assert [(a.status_code, a.json()["code"]) for a in answers] == [(404, "version-not-found")] * 3
    with pytest.raises(grpc.RpcError) as caught:
        service.stub.ModelInfer(raw_columns(model_version="2.0.0"))
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND
    assert service.stub.ModelInfer(raw_columns(model_version="1.0.0")).model_version == "1.0.0"


@both_ways
@pytest.mark.parametrize(
    "content_type",
    ["application/json; charset=utf-8", "application/x-www-form-urlencoded", "text/plain", "APPLICATION/JSON", None],
)
@pytest.mark.parametrize("verb", ["predict", "explain"])
def test_a_content_type_does_not_turn_json_into_bytes(
    way: str, content_type: str | None, verb: str, services: dict[str, LiveServer]
) -> None:
    """KServe PR #2524: any but four exact strings hands raw bytes to the model, which then fails with 500."""
    headers = {"content-type": content_type} if content_type else {}

    response = services[way].http.post(
        f"/v1/models/people:{verb}", content=orjson.dumps({"instances": PEOPLE}), headers=headers
    )

    assert response.status_code == 200, response.text


@both_ways
def test_metadata_name_every_column(way: str, services: dict[str, LiveServer]) -> None:
    """KServe #1488: inputs and outputs of sklearnserver are empty."""
    service = services[way]
    document = service.http.get("/v2/models/people").json()
    message = service.stub.ModelMetadata(pb.ModelMetadataRequest(name="people"))

    assert [part["name"] for part in document["inputs"]] == ["age", "income", "member", "plan"]
    assert [part["name"] for part in document["outputs"]] == ["label", "probabilities"]
    for ours, theirs in ((document["inputs"], message.inputs), (document["outputs"], message.outputs)):
        assert [(o["name"], o["datatype"], o["shape"]) for o in ours] == [
            (t.name, t.datatype, list(t.shape)) for t in theirs
        ]
    assert list(message.versions) == ["1.0.0"]


@both_ways
def test_labels_may_be_words(way: str, services: dict[str, LiveServer]) -> None:
    """KServe #6204: string labels break the v2 answer with 500."""
    service = services[way]
    labels = [row["label"] for row in predicted(service)]

    answer = service.http.post("/v2/models/people/infer", json=columns())

    assert answer.status_code == 200, answer.text
    assert outputs(answer.json())["label"] == labels


@both_ways
def test_all_inputs_count(way: str, services: dict[str, LiveServer]) -> None:
    """KServe takes inputs[0] alone without a pandas content type and drops the others in silence."""
    service = services[way]

    answer = service.http.post("/v2/models/people/infer", json=columns())

    expected = [list(row["probabilities"].values()) for row in predicted(service)]
    assert np.array_equal(np.reshape(outputs(answer.json())["probabilities"], (2, 3)), expected)


@both_ways
def test_raw_columns_over_grpc_are_read(way: str, services: dict[str, LiveServer]) -> None:
    """KServe's as_dataframe reads typed contents only: raw ones give empty columns."""
    service = services[way]
    found = grpc_outputs(service.stub.ModelInfer(raw_columns()))

    assert found["label"] == [row["label"] for row in predicted(service)]
    assert found["probabilities"] == [list(row["probabilities"].values()) for row in predicted(service)]


def test_requested_outputs_hold_on_grpc(services: dict[str, LiveServer]) -> None:
    """KServe #3307: gRPC answers everything, whatever was asked for."""
    stub = services["lean"].stub

    def ask(*names: str) -> Any:
        wanted = [pb.ModelInferRequest.InferRequestedOutputTensor(name=name) for name in names]
        return stub.ModelInfer(raw_columns(outputs=wanted))

    assert [output.name for output in ask("probabilities").outputs] == ["probabilities"]
    assert [output.name for output in ask("probabilities", "label").outputs] == ["probabilities", "label"]
    with pytest.raises(grpc.RpcError) as caught:
        ask("label", "nonsense")
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


@both_ways
def test_an_answer_needs_no_identifier(way: str, services: dict[str, LiveServer]) -> None:
    """KServe #3094: a model that gives none makes the v2 answer fail; one that was sent comes back."""
    http = services[way].http

    assert http.post("/v2/models/people/infer", json=columns()).status_code == 200
    assert http.post("/v2/models/people/infer", json=columns(id="7")).json()["id"] == "7"
    assert services[way].stub.ModelInfer(raw_columns(id="7")).id == "7"
    assert services[way].stub.ModelInfer(raw_columns()).id == ""


def test_not_ready_over_grpc_is_unavailable(tmp_path: Path) -> None:
    """KServe's error has no ``reason``, so its own interceptor fails and the client sees UNKNOWN."""
    with serving(tmp_path, "--model_name=people", "--require_model=false", ready=False) as service:
        for call, request in (
            (service.stub.ModelInfer, raw_columns()),
            (service.stub.ModelMetadata, pb.ModelMetadataRequest(name="people")),
        ):
            with pytest.raises(grpc.RpcError) as caught:
                call(request)
            assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
            assert "is not ready" in str(caught.value.details())
        assert not service.stub.ModelReady(pb.ModelReadyRequest(name="people")).ready


@both_ways
def test_explain_does_not_echo_request_headers(way: str, services: dict[str, LiveServer]) -> None:
    """KServe copies all of them into the answer, Authorization included."""
    headers = {"authorization": "Bearer s3cret", "cookie": "a=b", "x-custom": "c"}

    response = services[way].http.post("/v1/models/people:explain", json={"instances": PEOPLE}, headers=headers)

    assert response.status_code == 200
    assert {"authorization", "cookie", "x-custom", "user-agent", "host"}.isdisjoint(response.headers)


@both_ways
def test_a_fault_leaks_no_class_name(way: str, written: Path) -> None:
    """KServe answers 500 with the exception's type and text."""
    flags = [] if way == "lean" else ["--hot_path=false"]
    with serving(written / "waiting" / "1.0.0", *flags) as service:
        response = service.http.post("/v1/models/waiting:predict", json={"instances": [[1, None]]})
        columns_of_one = [
            {"name": f"x{i}", "datatype": "FP64", "shape": [1], "data": [value]} for i, value in enumerate((1, None))
        ]
        other = service.http.post("/v2/models/waiting/infer", json={"inputs": columns_of_one})

    assert (response.status_code, other.status_code) == (500, 500)
    assert "Error" not in response.text + other.text
    assert "NaN" not in response.text + other.text


@both_ways
@pytest.mark.parametrize("path", ["/v2/models/people/infer", "/v2/models/people/versions/1.0.0/infer"])
@pytest.mark.parametrize(
    "body",
    [
        {},
        {"inputs": "x"},
        {"inputs": [{"name": "age"}]},
        {"inputs": [{"name": "age", "datatype": "INT64", "shape": [1], "data": [1], "parameters": 3}]},
        columns(parameters=[]),
        columns(outputs=[{}]),
        columns(id={}),
    ],
    ids=range(7),
)
def test_a_malformed_document_is_400_with_one_body(
    way: str, path: str, body: Any, services: dict[str, LiveServer]
) -> None:
    """KServe answers FastAPI's own 422 ``detail`` list, which is no error object of the protocol."""
    response = services[way].http.post(path, json=body)

    assert response.status_code == 400, response.text
    assert set(response.json()) == {"error", "code", "request_id"}


@both_ways
@pytest.mark.parametrize("word", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_a_nan_is_refused_and_not_echoed(way: str, word: str, services: dict[str, LiveServer]) -> None:
    """KServe's 422 quotes its input, and cannot render a NaN: the client's mistake becomes a 500."""
    http = services[way].http
    inputs = f'{{"inputs": [{{"name": "income", "datatype": "FP64", "shape": [1], "data": [{word}]}}]}}'

    for path, content in (
        ("/v1/models/people:predict", f'{{"instances": [[30, {word}, true, "basic"]]}}'),
        ("/v1/models/people:explain", f'{{"instances": [[30, {word}, true, "basic"]]}}'),
        ("/v2/models/people/infer", inputs),
        ("/v2/models/people/versions/1.0.0/infer", inputs),
    ):
        response = http.post(path, content=content.encode())
        assert response.status_code == 400, response.text
        assert word not in response.text


@both_ways
@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/nowhere", 404), ("PUT", "/v2", 405)])
def test_unknown_paths_and_methods_answer_the_error_object(
    way: str, method: str, path: str, status: int, services: dict[str, LiveServer]
) -> None:
    """KServe answers FastAPI's ``detail``."""
    response = services[way].http.request(method, path)

    assert response.status_code == status
    assert set(response.json()) == {"error", "code", "request_id"}


@pytest.mark.parametrize("protocol", ["v1", "grpc"])
def test_probes_answer_while_a_slow_model_predicts(protocol: str, waiting: LiveServer) -> None:
    """KServe #3950, #1074, #1703: a plain predict runs on the event loop, and liveness kills the pod."""
    with ThreadPoolExecutor(1) as pool:
        if protocol == "grpc":
            asked = pool.submit(call, waiting, [7.0, 1.5])
        else:
            asked = pool.submit(waiting.http.post, "/v1/models/waiting:predict", json={"instances": [[7, 1.5]]})
        wait_for(lambda: waiting.value("model_server_requests_in_flight") == 1)
        statuses = [waiting.http.get(path).status_code for path in ("/v2/health/live", "/v2/health/ready", "/metrics")]
        alive = waiting.stub.ServerLive(pb.ServerLiveRequest(), timeout=5).live

        assert (statuses, alive) == ([200] * 3, True)
        assert not asked.done()
        asked.result()


@pytest.mark.parametrize("protocol", ["v1", "grpc"])
def test_requests_in_flight_survive_a_shutdown(protocol: str, written: Path) -> None:
    """KServe unloads its models before gRPC's grace begins: a call in flight gets NOT_FOUND."""
    with serving(written / "waiting" / "1.0.0") as service, ThreadPoolExecutor(1) as pool:
        if protocol == "grpc":
            asked = pool.submit(call, service, [7.0, 1.0])
        else:
            asked = pool.submit(service.http.post, "/v1/models/waiting:predict", json={"instances": [[7, 1.0]]})
        wait_for(lambda: service.value("model_server_requests_in_flight") == 1)
        stopping = threading.Thread(target=service.running.stop)
        stopping.start()
        answer: Any = asked.result()
        stopping.join()

    value = (
        answer.outputs[0].contents.fp64_contents[0] if protocol == "grpc" else answer.json()["predictions"][0]["value"]
    )
    assert value == 7.0


# --- KServe is still wrong --------------------------------------------------------------------------------------------


class Plain(Model):  # type: ignore[misc]
    """A model as KServe's documentation shows it."""

    def predict(self, payload: Any, headers: Any = None) -> Any:
        """Answer nothing."""
        del payload, headers
        return {}

    async def explain(self, payload: Any, headers: Any = None) -> Any:
        """Answer nothing."""
        del payload, headers
        return {}


def registered(model: Model) -> ModelRepository:
    """Register a model."""
    repository = ModelRepository()
    repository.update(model)
    return repository


def test_kserve_still_is_ready_without_a_model() -> None:
    """KServe #3262, #3931: a probe that is always true sends requests to a server that cannot answer."""
    assert asyncio.run(DataPlane(ModelRepository()).ready())


def test_kserve_still_unloads_for_anybody() -> None:
    """Its ``load`` does nothing, so the model is gone for good."""
    repository = registered(Plain("plain"))
    repository.unload("plain")

    assert repository.load("plain") is None
    assert repository.get_models() == {}


def test_kserve_still_has_no_versions() -> None:
    """KServe #4655, #2358: it does not implement the readiness of a version."""
    endpoints = V2Endpoints(DataPlane(registered(Plain("plain"))))

    with pytest.raises(NotImplementedError):
        asyncio.run(endpoints.model_ready("plain", "1"))


def test_kserve_still_hands_bytes_to_the_model() -> None:
    """KServe PR #2524: a content type that it does not know leaves the body undecoded."""
    decoded, _ = DataPlane(ModelRepository()).decode(b"{}", {"content-type": "application/json; charset=utf-8"})

    assert decoded == b"{}"


def test_kserve_still_describes_nothing() -> None:
    """KServe #1488: its metadata have no inputs and outputs unless a model says them."""
    assert (Plain("plain").get_input_types(), Plain("plain").get_output_types()) == ([], [])


def test_kserve_still_breaks_on_string_labels() -> None:
    """KServe #6204: numpy's text dtype is more than its encoder knows."""
    labels = InferOutput("label", [1], "BYTES", np.array(["yes"]))

    with pytest.raises(TypeError, match="decoding str is not supported"):
        InferResponse("1", "plain", [labels]).to_rest()


def test_kserve_still_needs_an_identifier() -> None:
    """KServe #3094: the protocol makes the identifier optional, its response object does not."""
    with pytest.raises(ValidationError, match="id"):
        InferenceResponse.model_validate({"id": None, "model_name": "plain", "outputs": []})


def test_kserve_still_takes_the_first_input_alone() -> None:
    """The other inputs vanish without a word, so requests are read by our own code."""
    parts = [InferInput(name, [1, 1], "FP64", [number]) for name, number in (("a", 1.0), ("b", 2.0))]

    assert get_predict_input(InferRequest("plain", parts)).tolist() == [[1.0]]


def test_kserve_still_drops_raw_columns() -> None:
    """A table without rows comes out of raw data, so raw data is decoded by our own code."""
    part = pb.ModelInferRequest.InferInputTensor(name="a", datatype="FP64", shape=[1])
    message = pb.ModelInferRequest(inputs=[part], raw_input_contents=[np.array([1.0]).tobytes()])

    assert len(InferRequest.from_grpc(message).as_dataframe()) == 0


def test_kserve_still_answers_every_output_over_grpc() -> None:
    """KServe #3307: the outputs that were asked for are ignored."""
    parts = [InferOutput(name, [1], "FP64", [1.0]) for name in ("a", "b")]
    response = InferResponse("1", "plain", parts, requested_outputs=[RequestedOutput("a")])

    assert [output.name for output in response.to_grpc().outputs] == ["a", "b"]


@pytest.mark.parametrize("error", [errors.ModelNotReady("plain"), errors.ServerNotReady()])
def test_kserve_still_has_errors_without_a_reason(error: Exception) -> None:
    """Its own interceptor reads the attribute, and fails."""
    assert not hasattr(error, "reason")


def test_kserve_still_echoes_headers_of_an_explanation() -> None:
    """Authorization is among them, which must not come back to anybody."""
    model = Plain("plain")
    model.ready = True
    headers = {"authorization": "Bearer s3cret"}

    _, echoed = asyncio.run(DataPlane(registered(model)).explain("plain", {"instances": []}, headers))

    assert echoed == headers


def test_kserve_still_tells_clients_the_exception() -> None:
    """Its type and its text are in the answer, and may hold what a client must not see."""
    nothing: Any = None

    response = asyncio.run(errors.generic_exception_handler(nothing, ValueError("s3cret")))

    assert b"ValueError" in response.body
    assert b"s3cret" in response.body


def test_kserve_still_predicts_on_the_event_loop() -> None:
    """KServe #3950, #5019: the thread that runs ``predict`` is the loop's."""
    ran_in: list[threading.Thread] = []

    class Asking(Plain):
        """Notes its thread."""

        def predict(self, payload: Any, headers: Any = None) -> Any:
            """Note it."""
            ran_in.append(threading.current_thread())
            return super().predict(payload, headers)

    asyncio.run(Asking("plain")({"instances": []}))

    assert ran_in == [threading.current_thread()]
