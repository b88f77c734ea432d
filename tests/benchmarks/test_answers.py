"""Answers are compared with the pipeline's before anything is measured, in every form they come in."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb

from benchmarks import answers, payloads
from benchmarks.answers import Differs
from benchmarks.contestants import OURS, Ports
from benchmarks.load import connect, http_request
from tests.bundles.live_server import serving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.bundles.live_server import LiveServer

EXPECTED = [[0.25, 0.75], [0.5, 0.5]]
_FLAT = [0.25, 0.75, 0.5, 0.5]
_LABELS = {"name": "label", "datatype": "INT64", "shape": [2], "data": [1, 0]}
_TABLE: dict[str, Any] = {"name": "p", "datatype": "FP64", "shape": [2, 2], "data": _FLAT}


def _binary() -> tuple[bytes, int]:
    parts = [
        {"name": "label", "datatype": "INT64", "shape": [2], "parameters": {"binary_data_size": 16}},
        {"name": "p", "datatype": "FP64", "shape": [2, 2], "parameters": {"binary_data_size": 32}},
    ]
    head = json.dumps({"outputs": parts}).encode()
    return head + np.array([1, 0]).tobytes() + np.array(_FLAT).tobytes(), len(head)


def _message(*, is_raw: bool) -> tuple[bytes, int]:
    response = pb.ModelInferResponse()
    response.outputs.add(name="label", datatype="INT64", shape=[2])
    output = response.outputs.add(name="p", datatype="FP64", shape=[2, 2])
    if is_raw:
        response.raw_output_contents.extend([b"", np.array(_FLAT).tobytes()])
    else:
        output.contents.fp64_contents.extend(_FLAT)
    return response.SerializeToString(), 0


def _json(body: object) -> tuple[bytes, int]:
    data = json.dumps(body).encode()
    return data, len(data)


FORMS = {
    "ours": ("v1", _json({"predictions": [{"label": 1, "probabilities": {"0": p, "1": q}} for p, q in EXPECTED]})),
    "kserve": ("v1", _json({"predictions": EXPECTED})),
    "bentoml": ("own", _json(EXPECTED)),
    "v2": ("v2", _json({"outputs": [_LABELS, _TABLE]})),
    "v2 binary": ("v2 binary", _binary()),
    "grpc": ("grpc", _message(is_raw=False)),
    "grpc raw": ("grpc raw", _message(is_raw=True)),
}


@pytest.mark.parametrize(("protocol", "answer"), FORMS.values(), ids=FORMS)
def test_probabilities_are_read_from_every_form(protocol: str, answer: tuple[bytes, int]) -> None:
    """Servers differ in what they put beside the probabilities; only those are compared."""
    assert answers.probabilities(protocol, answer).tolist() == EXPECTED


def test_the_echo_answers_a_number_a_row() -> None:
    """It gives back the first number of the row, so that a server without a model can be measured."""
    assert answers.probabilities("echo", _json({"predictions": [1.5, 2.5]})).tolist() == [[1.5], [2.5]]


@pytest.mark.parametrize("body", [{"outputs": [_LABELS]}, {"error": "no"}], ids=["no table", "no predictions"])
def test_an_answer_without_probabilities_is_none(body: object) -> None:
    """Bare labels are not compared with probabilities."""
    with pytest.raises((ValueError, KeyError)):
        answers.probabilities("v2", _json(body))


@pytest.fixture(scope="module")
def people(written: Path) -> Iterator[tuple[LiveServer, payloads.Table]]:
    """A server of the model with mixed columns, and its rows."""
    bundle = written / "people" / "1.0.0"
    with serving(bundle) as service:
        table = payloads.table_of(bundle, "people")
        # The other row lacks a value, for which typed tensors have no sign.
        yield service, payloads.Table(table.model, table.names, table.datatypes, table.rows[:1], table.answers[:1])


def test_a_server_that_answers_like_its_pipeline_is_admitted(people: tuple[LiveServer, payloads.Table]) -> None:
    """In every protocol that it speaks, mixed columns included."""
    service, table = people
    ports = Ports(service.running.http_port, service.running.grpc_port)

    difference = answers.check(ports, table, [(protocol, n) for protocol in OURS.objects for n in (1, 5)])

    assert 0 <= difference <= 1e-12


def test_a_server_that_answers_otherwise_is_not_compared(people: tuple[LiveServer, payloads.Table]) -> None:
    """However little: speed bought by other numbers is no speed."""
    service, table = people
    ports = Ports(service.running.http_port, service.running.grpc_port)
    wrong = [[first + 2e-9, *others] for first, *others in table.answers]
    other = payloads.Table(table.model, table.names, table.datatypes, table.rows, wrong)
    more = payloads.Table(table.model, table.names, table.datatypes, table.rows, [[*p, 0.0] for p in table.answers])
    nobody = payloads.Table("nobody", table.names, table.datatypes, table.rows, table.answers)

    with pytest.raises(Differs, match="differ from the pipeline's by 2e-09"):
        answers.check(ports, other, [("v1 objects", 3)])
    with pytest.raises(Differs, match="numbers instead of"):
        answers.check(ports, more, [("v1 objects", 3)])
    with pytest.raises(Differs, match=r"v2, 3 rows of nobody: no answer that can be read .*404"):
        answers.check(ports, nobody, [("v2", 3)])
    with pytest.raises(Differs, match=r"grpc, 1 rows of nobody: .*NOT_FOUND"):
        answers.check(ports, nobody, [("grpc", 1)])


def test_a_request_without_a_body_is_a_get(people: tuple[LiveServer, payloads.Table]) -> None:
    """The probe of readiness is asked in this way."""
    with connect(people[0].running.http_port) as connection:
        connection.sendall(http_request("/v2/health/live", b""))

        assert connection.recv(1000).startswith(b"HTTP/1.1 200")
