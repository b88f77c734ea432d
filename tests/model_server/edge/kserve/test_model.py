"""KServeModel's hooks, called as KServe calls them, against the lean route: one contract, the same numbers."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson
import pytest
from kserve import InferInput, InferRequest, InferResponse
from kserve.model import InferenceVerb
from kserve.protocol.infer_type import RequestedOutput
from prometheus_client import CollectorRegistry

from model_server.edge.kserve.model import KServeModel
from model_server.errors import ContractError, DecodeError, ModelNotReady, ModelServerError, UnknownOutput
from model_server.serving.call import Answer
from model_server.serving.loaded import Wanted
from model_server.serving.repository import BundleRepository
from model_server.serving.service import Service
from model_server.telemetry.metrics import Metrics
from model_server.wire.parts import parse_json
from model_server.wire.v1 import call_of_v1, encode_v1
from tests.bundles.catalogue import NUMBERS, PEOPLE
from tests.bundles.live_server import serving
from tests.conformance.wire import v2_outputs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.bundles.live_server import LiveServer

Model = tuple[KServeModel, Service]


@pytest.fixture(scope="module")
def open_model(written: Path) -> Iterator[Callable[[str], Model]]:
    """Give a function that opens a model with its service, without a server."""
    with ThreadPoolExecutor(1) as executor:

        def opened(name: str, *, bare: bool = False) -> Model:
            metrics = Metrics(CollectorRegistry())
            repository = BundleRepository(Wanted(str(written / name / "1.0.0")), executor, metrics)
            asyncio.run(repository.reload())
            service = Service(repository, executor, metrics, max_rows=100)
            return KServeModel(name, service, bare=bare), service

        yield opened


def asked(model: KServeModel, payload: Any, verb: InferenceVerb = InferenceVerb.PREDICT) -> Any:
    """Call a model as KServe does, and give its answer."""
    response, headers = asyncio.run(model(payload, headers={"authorization": "Bearer s3cret"}, verb=verb))
    assert headers == {}
    return response


def lean(service: Service, name: str, content: bytes) -> Any:
    """Answer a v1 body as the lean route does."""

    async def answered() -> Answer:
        loaded, call = service.repository.require(name), call_of_v1(parse_json(content))
        return Answer(call, loaded, await service.submit(loaded, call))

    return orjson.loads(encode_v1(asyncio.run(answered()), bare=False))


def person_tensors() -> list[InferInput]:
    """Write the two people as KServe's tensors."""
    ages, incomes, members, plans = (list(column) for column in zip(*PEOPLE, strict=True))
    return [
        InferInput("age", [2], "INT64", ages),
        InferInput("income", [2], "FP64", incomes),
        InferInput("member", [2], "BOOL", members),
        InferInput("plan", [2], "BYTES", plans),
    ]


def output(response: InferResponse, name: str) -> Any:
    """Read one output as nested lists."""
    return response.get_output_by_name(name).as_numpy().tolist()


def test_a_document_and_its_bytes_give_the_numbers_of_the_lean_route(open_model: Any) -> None:
    """A dictionary, as KServe parses v1 and the data of a CloudEvent, or bytes that it did not parse."""
    model, service = open_model("people")
    document = {"instances": PEOPLE}
    content = orjson.dumps(document)

    expected = lean(service, "people", content)

    assert asked(model, document) == asked(model, content) == expected


def test_a_v2_request_gives_the_numbers_of_the_lean_route(open_model: Any) -> None:
    """All columns count, the identifier comes back, and words are words."""
    model, service = open_model("people")
    expected = lean(service, "people", orjson.dumps({"instances": PEOPLE}))["predictions"]

    response = asked(model, InferRequest("people", person_tensors(), request_id="7"))

    assert (response.id, response.model_name, response.model_version) == ("7", "people", "1.0.0")
    assert output(response, "label") == [row["label"] for row in expected]
    assert output(response, "probabilities") == [list(row["probabilities"].values()) for row in expected]


def test_a_matrix_gives_the_numbers_of_the_lean_route(open_model: Any) -> None:
    """As KServe's clients build it: from numpy, as binary data or as a list."""
    model, service = open_model("linear")
    expected = lean(service, "linear", orjson.dumps({"instances": NUMBERS}))["predictions"]
    for binary in (True, False):
        tensor = InferInput("input-0", [2, 3], "FP64")
        tensor.set_data_from_numpy(np.array(NUMBERS), binary_data=binary)

        response = asked(model, InferRequest("linear", [tensor]))

        assert output(response, "value") == [row["value"] for row in expected]


def test_bare_answers_are_labels(open_model: Any) -> None:
    """KServe's sklearnserver gives them so, and its clients expect nothing else."""
    model, _ = open_model("risk", bare=True)

    assert asked(model, {"instances": NUMBERS})["predictions"] == [0, 1]


def test_requested_outputs_are_answered_alone(open_model: Any) -> None:
    """Each has the form that it was asked for in."""
    model, _ = open_model("risk")
    wanted = [RequestedOutput("tier"), RequestedOutput("label", {"binary_data": True})]
    tensors = [InferInput("x", [2, 3], "FP64", NUMBERS)]

    response = asked(model, InferRequest("risk", tensors, request_outputs=wanted))
    body, json_size = response.to_rest()

    assert [part.name for part in response.outputs] == ["tier", "label"]
    assert json_size is not None
    assert np.frombuffer(body[json_size:], dtype="<i8").tolist() == [0, 1]
    with pytest.raises(UnknownOutput):
        asked(model, InferRequest("risk", tensors, request_outputs=[RequestedOutput("value")]))


def test_explanations_are_given_for_every_row(open_model: Any) -> None:
    """By name and version; as rows or as tensors."""
    model, _ = open_model("risk")

    explained = asked(model, {"instances": NUMBERS}, InferenceVerb.EXPLAIN)

    assert (explained["model_name"], explained["model_version"]) == ("risk", "1.0.0")
    assert len(explained["explanations"]) == 2


@pytest.mark.parametrize(
    ("payload", "error"),
    [
        (None, DecodeError),
        ([], DecodeError),
        ("text", DecodeError),
        (b"\xff", DecodeError),
        ({"inputs": []}, DecodeError),
        ({"instances": [{}]}, ContractError),
        ({"instances": []}, ContractError),
        ({"instances": [[1, 2, 3]] * 101}, ContractError),
        (InferRequest("risk", []), DecodeError),
        (InferRequest("risk", [InferInput("x", [1, 3], "FP64", None)]), DecodeError),
        (InferRequest("risk", [InferInput("x", [1, 3], "FP64", [1, 2])]), DecodeError),
        (InferRequest("risk", [InferInput("x", [1, 3], "FP64", [1, "2", 3])]), ContractError),
        (InferRequest("risk", [InferInput("x", [1, 3], "FP32", [1, float("nan"), 3])]), ContractError),
        (InferRequest("risk", [InferInput("x", [1, 3], "INT8", [1, 10**400, 3])]), ContractError),
        (InferRequest("risk", [InferInput("x", [1, 3], "FP16", [1, 2, 3])]), DecodeError),
        (InferRequest("risk", [InferInput("x", [1, 3], "NONE", [1, 2, 3])]), DecodeError),
        (InferRequest("risk", [InferInput("x", [1, 3], "FP64", [1, 2, 3])] * 2), DecodeError),
        (InferRequest("risk", [InferInput("x", [1, 3], "FP64", [1, 2, 3])], parameters={"reasons": "x"}), DecodeError),
        (InferRequest("risk", [InferInput("x", [1, 3], "FP64", [1, 2, 3])], request_id="x" * 2000), DecodeError),
    ],
)
def test_a_bad_payload_is_an_error_of_ours(payload: Any, error: type[ModelServerError], open_model: Any) -> None:
    """Whatever KServe hands over; any other exception would be answered as a fault of the server."""
    model, _ = open_model("risk")

    with pytest.raises(error):
        asked(model, payload)


def test_before_it_is_loaded_a_model_is_not_healthy(open_model: Any) -> None:
    """Nor after an unload; KServe asks before each request."""
    model, service = open_model("risk")
    assert asyncio.run(model.healthy())

    service.repository.unload("risk")

    assert not asyncio.run(model.healthy())
    for ask in (model.get_input_types, model.get_output_types, lambda: asked(model, {"instances": NUMBERS})):
        with pytest.raises(ModelNotReady):
            ask()


# --- both ways over HTTP ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def ways(written: Path) -> Iterator[tuple[LiveServer, LiveServer]]:
    """The risk model by the lean route, and by KServe's own."""
    directory = written / "risk" / "1.0.0"
    with serving(directory) as lean_door, serving(directory, "--hot_path=false") as kserve_door:
        yield lean_door, kserve_door


MATRIX: dict[str, Any] = {"name": "a", "datatype": "FP64", "shape": [2, 3], "data": [*NUMBERS[0], *NUMBERS[1]]}
PREDICT, EXPLAIN, INFER = "/v1/models/risk:predict", "/v1/models/risk:explain", "/v2/models/risk/infer"
EVENT = {"ce-id": "1", "ce-source": "s", "ce-type": "t", "ce-specversion": "1.0"}


@pytest.mark.parametrize(
    ("path", "document"),
    [
        (PREDICT, {"instances": NUMBERS}),
        (PREDICT, {"instances": NUMBERS, "parameters": {"reasons": 2}}),
        (PREDICT, {"instances": []}),
        (PREDICT, {"instances": NUMBERS, "signature_name": "x"}),
        (INFER, {"inputs": [MATRIX]}),
        (INFER, {"inputs": [{**MATRIX, "data": NUMBERS}]}),
        (INFER, {"inputs": [{**MATRIX, "datatype": "FP32"}]}),
        (INFER, {"inputs": [MATRIX], "outputs": [{"name": "label"}]}),
        (INFER, {"inputs": [MATRIX], "outputs": [{"name": "nonsense"}]}),
        (INFER, {"inputs": [MATRIX], "outputs": [{"name": "reasons"}], "parameters": {"reasons": 1}}),
        (INFER, {"inputs": [MATRIX], "parameters": {"a": 1, "b": "x", "c": True, "d": 1.5}}),
        (INFER, {"inputs": [MATRIX], "parameters": {"a": None}}),
        (INFER, {"inputs": [{**MATRIX, "parameters": {"a": None}}]}),
        (INFER, {"inputs": [MATRIX], "outputs": [{"name": "label", "parameters": {"x": None}}]}),
        (INFER, {"inputs": [{**MATRIX, "data": [1, None, 3, 4, 5, 6]}]}),
        (INFER, {"inputs": [{**MATRIX, "data": [1, 2, 3]}]}),
        (INFER, {"inputs": [{**MATRIX, "extra": 1}]}),
        (INFER, {"inputs": [MATRIX], "id": "7", "model_name": "other"}),
        (INFER, {"inputs": [MATRIX], "extra": 1}),
    ],
)
def test_both_ways_answer_alike(path: str, document: Any, ways: tuple[LiveServer, LiveServer]) -> None:
    """Same status and same numbers; a refusal in the same words. KServe's own route adds empty fields."""
    paths = [path] if path == PREDICT else [path, "/v2/models/risk/versions/1.0.0/infer"]
    for route in paths:
        first, second = (way.http.post(route, content=orjson.dumps(document)) for way in ways)
        assert first.status_code == second.status_code
        assert first.status_code in (200, 400)
        if first.status_code == 400:
            assert {**first.json(), "request_id": ""} == {**second.json(), "request_id": ""}
        elif path == PREDICT:
            assert first.json() == second.json()
        else:
            assert plain(first.json()) == plain(second.json())


def test_both_ways_answer_binary_data_alike(ways: tuple[LiveServer, LiveServer]) -> None:
    """In binary and out again, with the length of the JSON part in the header."""
    raw = np.array(NUMBERS).tobytes()
    part = {"name": "a", "datatype": "FP64", "shape": [2, 3], "parameters": {"binary_data_size": len(raw)}}
    head = orjson.dumps({"inputs": [part], "parameters": {"binary_data_output": True}})
    headers = {"inference-header-content-length": str(len(head)), "content-type": "application/octet-stream"}

    answers = [way.http.post(INFER, content=head + raw, headers=headers) for way in ways]

    assert [answer.status_code for answer in answers] == [200, 200]
    read = [v2_outputs(answer.content, answer.headers["inference-header-content-length"]) for answer in answers]
    assert read[0] == read[1]
    assert list(read[0]) == ["label", "probabilities", "tier"]
    assert answers[0].headers["content-type"] == "application/octet-stream"


def plain(document: Any) -> Any:
    """Give what matters of a v2 answer."""
    parts = [(o["name"], o["datatype"], o["shape"], o["data"]) for o in document["outputs"]]
    return document["model_name"], document["model_version"], document.get("id") or None, parts


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (orjson.dumps({"instances": NUMBERS}), 200),
        (b"", 400),
        (b"{}", 400),
        (b"\xff", 400),
        (b"null", 400),
        (b'{"instances": [["\\ud800", 1, 2]]}', 400),
        (b'{"specversion": "1.0", "id": "1", "source": "s", "type": "t", "data": {"instances": []}}', 400),
    ],
)
@pytest.mark.parametrize("headers", [{}, EVENT, {**EVENT, "ce-contenttype": "x", "ce-time": "never"}, {"ce-id": "1"}])
@pytest.mark.parametrize("path", [PREDICT, EXPLAIN])
def test_the_headers_of_an_event_change_nothing(
    path: str, headers: dict[str, str], content: bytes, status: int, ways: tuple[LiveServer, LiveServer]
) -> None:
    """KServe fails with 500 on an event without data; CloudEvents are spoken on no route here."""
    for way in ways:
        response = way.http.post(path, content=content, headers=headers)
        assert response.status_code == status, response.text
        assert not [name for name in response.headers if name.startswith("ce-")]
