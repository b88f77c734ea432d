"""The Open Inference Protocol over REST, in JSON: health, metadata, versions, infer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson
import pytest

from tests.conformance.errors import assert_error
from tests.conformance.protocols import v2_json
from tests.conformance.wire import Request, Tensor, infer_path, v2

if TYPE_CHECKING:
    from tests.conformance.facts import Facts
    from tests.conformance.target import Target

OUTPUT_TYPES = {"probabilities": "FP64", "value": "FP64", "tier": "BYTES"}


def test_the_server_describes_itself(target: Target) -> None:
    """GET /v2 gives name, version and the extensions that really work."""
    response = target.client.get("/v2")
    body = response.json()
    assert response.status_code == 200
    assert body["name"]
    assert body["version"]
    assert "binary_tensor_data" in body["extensions"]


@pytest.mark.parametrize("path", ["/v2/health/live", "/v2/health/ready"])
def test_the_server_is_live_and_ready(target: Target, path: str) -> None:
    """Ready is true only while every model is (KServe issues 3262, 3931); here the model is."""
    assert target.client.get(path).status_code == 200


def test_the_model_is_ready(target: Target, facts: Facts) -> None:
    """It may be asked for with its version and without."""
    for path in (f"/v2/models/{facts.name}/ready", f"/v2/models/{facts.name}/versions/{facts.version}/ready"):
        response = target.client.get(path)
        assert (response.status_code, response.json().get("ready", True)) == (200, True), path


def test_the_models_are_listed(target: Target, facts: Facts) -> None:
    """GET /v2/models is KServe's addition to the protocol, and its clients use it."""
    response = target.client.get("/v2/models")
    assert (response.status_code, response.json()["models"]) == (200, [facts.name])


def test_metadata_has_real_inputs_and_outputs(target: Target, facts: Facts) -> None:
    """Names, datatypes and shapes with -1 for the batch; KServe's sklearnserver leaves them empty (its issue 1488)."""
    body = target.client.get(f"/v2/models/{facts.name}").json()
    assert (body["name"], body["versions"], body["platform"]) == (facts.name, [facts.version], "sklearn")
    inputs = [(one["name"], one["datatype"], one["shape"]) for one in body["inputs"]]
    columns = [(column.name, column.datatype, [-1]) for column in facts.columns]
    matrix = [("features", "FP64", [-1, len(facts.columns)])]
    assert inputs == (matrix if facts.is_numeric else columns)
    assert tuple(one["name"] for one in body["outputs"]) == facts.outputs
    for one in body["outputs"]:
        label = "INT64" if all(isinstance(x, int) for x in facts.classes) else "BYTES"
        assert one["datatype"] == OUTPUT_TYPES.get(one["name"], label)
        assert one["shape"] == ([-1, len(facts.classes)] if one["name"] == "probabilities" else [-1])


def test_metadata_of_the_served_version(target: Target, facts: Facts) -> None:
    """The version route tells the same; KServe answers 501 there (its issue 4655)."""
    with_version = target.client.get(f"/v2/models/{facts.name}/versions/{facts.version}")
    assert with_version.status_code == 200
    assert with_version.json() == target.client.get(f"/v2/models/{facts.name}").json()


def test_infer_answers_shapes_and_datatypes_as_the_metadata_says(target: Target, facts: Facts) -> None:
    """An answer is what the metadata promised, with -1 replaced by the number of rows."""
    metadata = target.client.get(f"/v2/models/{facts.name}").json()
    body = target.send(v2(facts.name, facts.tensors(facts.take(3)))).json()
    assert (body["model_name"], body["model_version"]) == (facts.name, facts.version)
    for promised, given in zip(metadata["outputs"], body["outputs"], strict=True):
        assert (given["name"], given["datatype"]) == (promised["name"], promised["datatype"])
        assert given["shape"] == [3, *promised["shape"][1:]]


@pytest.mark.parametrize("request_id", ["a", "0", "x" * 200, "ünïcödé", "  padded ", '"quoted"', "line\nbreak"])
def test_the_id_is_echoed_exactly(target: Target, facts: Facts, request_id: str) -> None:
    """The id belongs to the caller."""
    response = target.send(v2(facts.name, facts.tensors(facts.take(1)), id=request_id))
    assert (response.status_code, response.json()["id"]) == (200, request_id)


def test_an_answer_without_request_id_is_well_formed(target: Target, facts: Facts) -> None:
    """Nothing is null in an answer, whether or not an id is made up (KServe issues 3094, 2944)."""
    body = target.send(v2(facts.name, facts.tensors(facts.take(1)))).json()
    assert None not in body.values()
    assert not [output for output in body["outputs"] if None in output.values()]
    assert "id" not in body or isinstance(body["id"], str)


@pytest.mark.parametrize("flat", [True, False], ids=["flat", "nested"])
def test_data_may_be_flat_or_nested(target: Target, facts: Facts, *, flat: bool) -> None:
    """Both forms are read in row-major order."""
    rows = facts.take(3)
    inputs = [tensor.as_json() for tensor in facts.tensors(rows)]
    if not flat:
        if not facts.is_numeric:
            inputs = [one | {"shape": [3, 1], "data": [[x] for x in one["data"]]} for one in inputs]
        else:
            inputs[0]["data"] = rows
    request = Request(infer_path(facts.name), orjson.dumps({"inputs": inputs}))
    assert target.outputs(request) == v2_json(target, facts, rows)


def test_a_lone_matrix_is_taken_under_any_name(target: Target, facts: Facts) -> None:
    """Existing clients call it input-0."""
    if not facts.is_numeric:
        pytest.skip("a mixed model takes one tensor a column")
    rows = facts.take(2)
    assert target.outputs(v2(facts.name, facts.matrix(rows, "input-0"))) == v2_json(target, facts, rows)


@pytest.mark.parametrize("datatype", ["FP32", "FP64", "INT64", "INT32", "INT16", "UINT16", "UINT8"])
def test_any_number_type_that_loses_nothing_is_taken(target: Target, facts: Facts, datatype: str) -> None:
    """A column of whole numbers may travel as any integer type that holds it, and as FP32."""
    column = facts.first("int", "float")
    if column is None:
        pytest.skip("the model has no number")
    index = facts.names.index(column.name)
    rows = facts.take(2)
    whole = [next((x for x in range(256) if _admits(column.minimum, column.maximum, x)), None)] * 2
    if whole[0] is None:
        pytest.skip("no small whole number lies within the bounds of the column")
    for row in rows:
        row[index] = whole[0]
    tensors = facts.by_column(rows)
    tensors[index] = Tensor(column.name, datatype, (2,), tuple(whole))
    assert target.outputs(v2(facts.name, tensors)) == v2_json(target, facts, rows)


def _admits(minimum: float | None, maximum: float | None, value: float) -> bool:
    return (minimum is None or value >= minimum) and (maximum is None or value <= maximum)


def test_requested_outputs_are_answered_in_the_order_asked(target: Target, facts: Facts) -> None:
    """Only those, and no others (KServe issue 3307)."""
    wanted = list(reversed(facts.outputs))
    for names in (wanted, wanted[:1]):
        request = v2(facts.name, facts.tensors(facts.take(2)), outputs=[{"name": name} for name in names])
        assert list(target.outputs(request)) == names


def test_an_empty_list_of_outputs_means_all(target: Target, facts: Facts) -> None:
    """The protocol reads it as if the key were absent."""
    request = v2(facts.name, facts.tensors(facts.take(2)), outputs=[])
    assert tuple(target.outputs(request)) == facts.outputs


def test_an_unknown_output_is_refused_before_inference(target: Target, facts: Facts) -> None:
    """The text names what the model has; the order of the checks shows by the row that would be refused after it."""
    rows = facts.take(1)
    request = v2(facts.name, facts.tensors(rows), outputs=[{"name": "no-such-output"}])
    body = assert_error(target.send(request), 400, "unknown-output")
    assert facts.outputs[0] in body["error"]


def test_reasons_come_only_when_requested(target: Target, facts: Facts) -> None:
    """The output ``reasons`` is one JSON text a row."""
    rows = facts.take(2)
    assert "reasons" not in v2_json(target, facts, rows)
    outputs = target.outputs(v2(facts.name, facts.tensors(rows), outputs=[{"name": "reasons"}]))
    assert list(outputs) == ["reasons"]
    for text in outputs["reasons"]:
        assert {reason["feature"] for reason in orjson.loads(text)} <= set(facts.names)


def test_parameters_of_the_protocol_do_no_harm(target: Target, facts: Facts) -> None:
    """Unknown parameters are ignored on request, input and output."""
    parameters = {"text": "a", "count": 1, "share": 0.5, "flag": True}
    inputs = [tensor.as_json() | {"parameters": parameters} for tensor in facts.tensors(facts.take(2))]
    outputs = [{"name": facts.outputs[0], "parameters": parameters}]
    content = orjson.dumps({"parameters": parameters, "inputs": inputs, "outputs": outputs})
    response = target.send(Request(infer_path(facts.name), content))
    assert response.status_code == 200, response.text


def test_infer_on_the_served_version(target: Target, facts: Facts) -> None:
    """The version route works and gives the same answer (KServe issues 4655, 2358, 4264)."""
    rows = facts.take(2)
    request = v2(facts.name, facts.tensors(rows), version=facts.version)
    assert target.outputs(request) == v2_json(target, facts, rows)


@pytest.mark.parametrize("version", ["0.0.0", "999.0.0", "latest", "1", "x" * 300, "%2e%2e"])
def test_other_versions_are_not_found(target: Target, facts: Facts, version: str) -> None:
    """Only the served version exists, on each of the three routes."""
    content = v2(facts.name, facts.tensors(facts.take(1))).content
    base = f"/v2/models/{facts.name}/versions/{version}"
    for response in (
        target.client.get(base),
        target.client.get(f"{base}/ready"),
        target.send(Request(f"{base}/infer", content)),
    ):
        assert_error(response, 404)


@pytest.mark.parametrize("path", ["", "/ready", "/versions/1.0.0", "/versions/1.0.0/ready"])
def test_pages_of_an_unknown_model_are_not_found(target: Target, path: str) -> None:
    """Metadata and readiness, with and without a version."""
    assert_error(target.client.get(f"/v2/models/no-such-model{path}"), 404, "model-not-found")


@pytest.mark.parametrize("version", ["", "1.0.0"])
def test_infer_on_an_unknown_model_is_not_found(target: Target, facts: Facts, version: str) -> None:
    """A version in the path changes nothing about that."""
    request = v2("no-such-model", facts.tensors(facts.take(1)), version=version)
    assert_error(target.send(request), 404, "model-not-found")


def test_too_many_rows_are_refused(target: Target, facts: Facts) -> None:
    """The row limit holds for tensors too, and is decided by the shape alone."""
    rows = target.max_rows + 1
    shape = (rows, len(facts.columns)) if facts.is_numeric else (rows,)
    first = facts.tensors(facts.take(1))[0]
    tensor = Tensor(first.name, first.datatype, shape, (first.data[0],) * (rows * (shape[1] if len(shape) > 1 else 1)))
    assert_error(target.send(v2(facts.name, [tensor, *facts.tensors(facts.take(1))[1:]])), 400, "contract-violation")


def test_a_refused_value_is_named(target: Target, facts: Facts) -> None:
    """The violations name feature and row also for tensors."""
    rows = facts.take(3)
    inputs = [tensor.as_json() for tensor in facts.by_column(rows)]
    inputs[0]["data"][1] = [] if not isinstance(inputs[0]["data"][1], str) else 1
    inputs[0]["data"][1] = None if facts.columns[0].nullable is False else inputs[0]["data"][1]
    body = assert_error(target.send(Request(infer_path(facts.name), orjson.dumps({"inputs": inputs}))), 400)
    assert facts.names[0] in body["error"]
