"""The binary tensor extension of the v2 protocol, over REST."""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson
import pytest

from tests.conformance.protocols import v2_json
from tests.conformance.wire import BINARY_TYPE, HEADER_LENGTH, Request, v2, v2_binary, v2_outputs

if TYPE_CHECKING:
    from tests.conformance.facts import Facts
    from tests.conformance.target import Target


def test_binary_in_binary_out(target: Target, facts: Facts) -> None:
    """The answer's JSON part has the length its header says, and the bytes follow."""
    rows = facts.take(3)
    response = target.send(v2_binary(facts.name, facts.tensors(rows)))
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == BINARY_TYPE
    length = int(response.headers[HEADER_LENGTH])
    head = orjson.loads(response.content[:length])
    assert (head["model_name"], head["model_version"]) == (facts.name, facts.version)
    assert all("data" not in output for output in head["outputs"])
    assert v2_outputs(response.content, str(length)) == v2_json(target, facts, rows)


def test_binary_in_json_out(target: Target, facts: Facts) -> None:
    """Without binary_data_output the answer is plain JSON."""
    rows = facts.take(3)
    response = target.send(v2_binary(facts.name, facts.tensors(rows), binary_output=False))
    assert response.headers["content-type"] == "application/json"
    assert HEADER_LENGTH not in response.headers
    assert v2_outputs(response.content, None) == v2_json(target, facts, rows)


def test_json_in_binary_out(target: Target, facts: Facts) -> None:
    """The caller may ask for binary outputs of a JSON request."""
    rows = facts.take(2)
    request = v2(facts.name, facts.tensors(rows), parameters={"binary_data_output": True})
    response = target.send(request)
    assert response.headers["content-type"] == BINARY_TYPE
    assert v2_outputs(response.content, response.headers[HEADER_LENGTH]) == v2_json(target, facts, rows)


@pytest.mark.parametrize("request_wide", [True, False])
def test_one_output_may_differ_from_the_rest(target: Target, facts: Facts, *, request_wide: bool) -> None:
    """``binary_data`` of an output wins over ``binary_data_output`` of the request."""
    rows = facts.take(2)
    outputs: list[dict[str, object]] = [{"name": name} for name in facts.outputs]
    outputs[0]["parameters"] = {"binary_data": not request_wide}
    request = v2(facts.name, facts.tensors(rows), outputs=outputs, parameters={"binary_data_output": request_wide})
    response = target.send(request)
    size = int(response.headers.get(HEADER_LENGTH, len(response.content)))
    answered = orjson.loads(response.content[:size])["outputs"]
    assert ("data" in answered[0]) is request_wide
    assert all(("data" in one) is not request_wide for one in answered[1:])
    assert v2_outputs(response.content, response.headers.get(HEADER_LENGTH)) == v2_json(target, facts, rows)


def test_json_and_binary_inputs_may_be_mixed(target: Target, facts: Facts) -> None:
    """Each tensor says by itself how it travels; the bytes follow in the order of the binary ones."""
    rows = facts.take(3)
    in_json = frozenset(facts.names[::2])
    request = v2_binary(facts.name, facts.by_column(rows), as_json=in_json)
    assert target.outputs(request) == v2_json(target, facts, rows)


def test_a_header_length_of_the_whole_body_is_plain_json(target: Target, facts: Facts) -> None:
    """The header may also describe a body without binary tensors."""
    rows = facts.take(2)
    plain = v2(facts.name, facts.tensors(rows))
    headers = {"content-type": BINARY_TYPE, HEADER_LENGTH: str(len(plain.content))}
    assert target.outputs(Request(plain.path, plain.content, headers)) == v2_json(target, facts, rows)


def test_the_content_type_of_a_binary_request_does_not_matter(target: Target, facts: Facts) -> None:
    """The header length decides; clients differ in the content type they send."""
    rows = facts.take(2)
    request = v2_binary(facts.name, facts.tensors(rows))
    for content_type in (BINARY_TYPE, "application/vnd.sagemaker-triton.binary", "application/json"):
        headers = {**request.headers, "content-type": content_type}
        assert target.outputs(Request(request.path, request.content, headers)) == v2_json(target, facts, rows)


def test_the_id_is_echoed_in_a_binary_answer(target: Target, facts: Facts) -> None:
    """It stands in the JSON part, as in an answer without binary data."""
    response = target.send(v2_binary(facts.name, facts.tensors(facts.take(1)), id="binary-7"))
    head = orjson.loads(response.content[: int(response.headers[HEADER_LENGTH])])
    assert head["id"] == "binary-7"


def test_fp32_tensors_are_read_as_they_are(target: Target, facts: Facts) -> None:
    """An FP32 value is widened exactly: the same answer as its FP64 twin gets."""
    if not facts.is_numeric:
        pytest.skip("a mixed model takes one tensor a column")
    rows = [[_single(value) for value in row] for row in facts.take(2)]
    narrow = target.send(v2_binary(facts.name, facts.matrix(rows, datatype="FP32")))
    wide = target.send(v2_binary(facts.name, facts.matrix(rows)))
    assert narrow.status_code == wide.status_code
    assert narrow.content == wide.content


def _single(value: float) -> float:
    import numpy as np

    return float(np.float32(value))


def test_fp16_travels_in_binary(target: Target, facts: Facts) -> None:
    """FP16 has no JSON form in the protocol, but bytes."""
    if not facts.is_numeric:
        pytest.skip("a mixed model takes one tensor a column")
    import numpy as np

    rows = [[float(np.float16(value)) for value in row] for row in facts.take(2)]
    half = target.send(v2_binary(facts.name, facts.matrix(rows, datatype="FP16")))
    assert half.status_code == target.send(v2_binary(facts.name, facts.matrix(rows))).status_code
