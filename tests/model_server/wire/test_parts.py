"""What v1 and v2 share: how JSON is parsed, that only refusals come of hostile bytes, and error documents."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_server.errors import BugError, ContractError, DecodeError, ModelNotReady, Violation
from model_server.wire.parts import error_document
from model_server.wire.v1 import call_of_v1
from model_server.wire.v2 import decode_v2
from tests.model_server.drawing import ANYTHING, few
from tests.model_server.wire.bodies import GOOD, decode_v1, refused_v1


@pytest.mark.parametrize(
    ("content", "place"),
    [
        (b"", "line 1, column 1"),
        (b"s3cret", "line 1, column 1"),
        (b'{"instances": [[1, NaN]]}', "line 1, column 20"),
        (b'{"instances": [[Infinity]]}', "line 1, column 17"),
        (b'{"instances":\n [[-Infinity]]}', "line 2, column 5"),
        (b'{"instances": [[1e999]]}', "line 1, column 17"),
        (b'{"instances": [[1]]', "line 1, column 20"),
        (b'{"instances": [[1]]} {}', "line 1, column 22"),
        (b"\xff\xfe", ""),
        (b'{"instances": ["\\ud800"]}', ""),
        (b"[" * 100_000, ""),
        (b"\x00", "line 1, column 1"),
    ],
    ids=range(12),
)
def test_what_is_no_json_is_refused_by_its_place(content: bytes, place: str) -> None:
    """NaN, infinities, numbers beyond float64, lone surrogates and towers of brackets are none; no byte is quoted."""
    text = refused_v1(content)

    assert text.startswith("the body is not valid JSON (line ")
    assert place in text
    assert "s3cret" not in text


@given(st.binary(max_size=60))
@few
def test_any_bytes_are_a_request_or_refused(content: bytes) -> None:
    """Nothing else than an error of ours may come out: another one would be answered as a fault of the server."""
    for decode in (decode_v1, lambda raw: decode_v2(raw, None), lambda raw: decode_v2(raw, "7")):
        with pytest.raises(DecodeError):
            decode(content)


@given(ANYTHING, ANYTHING, ANYTHING, ANYTHING)
@few
def test_any_document_is_a_request_or_refused(one: Any, two: Any, three: Any, four: Any) -> None:
    """Whatever stands where an object, a list or a word belongs."""
    documents = [
        one,
        {"instances": one, "parameters": two},
        {"instances": one, "parameters": {"reasons": two}},
        {"inputs": one, "outputs": two, "parameters": three, "id": four},
        {"inputs": [one], "outputs": [two]},
        {"inputs": [{"name": "a", "datatype": "FP64", "shape": one, "data": two, "parameters": three}]},
        {"inputs": [{**GOOD, "parameters": {"binary_data_size": one}}]},
        {"inputs": [GOOD], "outputs": [{"name": one, "parameters": two}]},
        {"inputs": [GOOD], "parameters": {"binary_data_output": one, "reasons": two}, "id": three},
    ]
    for document in documents:
        for decode in (call_of_v1, lambda parsed: decode_v2(_json(parsed), None)):
            try:
                decode(document)
            except DecodeError as error:
                assert error.http_status == 400  # noqa: PT017 - both outcomes are fine


def _json(document: Any) -> bytes:
    return orjson.dumps(document, default=str, option=orjson.OPT_NON_STR_KEYS) if _fits(document) else b"{}"


def _fits(document: Any) -> bool:
    if isinstance(document, int):
        return -(2**63) <= document < 2**64
    parts: Any = [*document, *document.values()] if isinstance(document, dict) else document
    return not isinstance(document, dict | list) or all(map(_fits, parts))


def test_an_error_is_one_document() -> None:
    """Text, slug and identifier are all that a client needs to report it."""
    assert error_document(ModelNotReady("not yet"), "7") == {
        "error": "not yet",
        "code": "model-not-ready",
        "request_id": "7",
    }


def test_a_contract_error_lists_its_violations() -> None:
    """Machines read the list, people the text; both are bounded, however many rows are bad."""
    violations = [Violation("must be a finite number", "age", row) for row in range(5000)]

    document = error_document(ContractError(violations), "7")

    assert document["code"] == "contract-violation"
    assert document["violations"][0] == {"feature": "age", "row": 0, "rule": "must be a finite number"}
    assert len(document["violations"]) == 100
    assert document["error"].endswith("; and 4990 more")


def test_an_error_needs_a_violation() -> None:
    """An empty list would be a refusal without a reason."""
    with pytest.raises(BugError, match="at least one violation"):
        ContractError([])
