"""v1: bytes -> Call, and Answer -> bytes, for every kind of model; every refusal in its words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson
import pytest

from model_server.wire.v1 import encode_v1, v1_explanations, v1_parts
from tests.bundles.catalogue import NUMBERS, PEOPLE
from tests.model_server.answers import answer, read_v1
from tests.model_server.wire.bodies import body, decode_v1, refused_v1

if TYPE_CHECKING:
    from model_server.serving.loaded import LoadedBundle


def test_v1_rows_pass_as_they_are() -> None:
    """What a row may hold is the contract's business."""
    call = decode_v1(body({"instances": [[1, None], {"a": "b"}, 7]}))

    assert call.rows == [[1, None], {"a": "b"}, 7]
    assert (call.n_rows, call.options.reasons, call.tensors, call.id) == (3, 0, (), None)


@pytest.mark.parametrize(
    ("document", "text"),
    [
        ([[1]], "the body must be a JSON object with 'instances'"),
        (None, "the body must be a JSON object with 'instances'"),
        ({}, "'instances' is missing"),
        ({"inputs": []}, "unknown key 'inputs'; this route takes 'instances', 'parameters'"),
        ({"instances": [], "x" * 99: 1}, f"unknown key '{'x' * 64}'; this route takes 'instances', 'parameters'"),
        ({"instances": {}}, "'instances' must be a list of rows"),
        ({"instances": None}, "'instances' must be a list of rows"),
        (
            {"instances": [], "parameters": []},
            "'parameters' of the request must be an object of strings, numbers and booleans",
        ),
        (
            {"instances": [], "parameters": {"a": {}}},
            "'parameters' of the request must be an object of strings, numbers and booleans",
        ),
        *[
            ({"instances": [], "parameters": {"reasons": bad}}, "parameter 'reasons' must be an integer within 0..1000")
            for bad in (-1, 1001, 1.0, "3", True)
        ],
    ],
)
def test_a_malformed_v1_document_is_refused(document: Any, text: str) -> None:
    """The text says what belongs there."""
    assert refused_v1(body(document)) == text


@pytest.mark.parametrize("parameters", [None, {}, {"reasons": 0}, {"trace": "on"}])
def test_v1_reasons_are_given_only_when_asked_for(parameters: Any) -> None:
    """Unknown parameters are the business of others on the way."""
    assert decode_v1(body({"instances": [], "parameters": parameters})).options.reasons == 0


def test_v1_gives_a_value_a_row_for_a_regression(linear: LoadedBundle) -> None:
    """It is the model's answer to the last bit, bare or in an object."""
    found = answer(linear, NUMBERS)
    values = found.result.prediction.values

    assert values is not None
    assert read_v1(found) == {
        "predictions": [{"value": value} for value in values.tolist()],
        "model_name": "linear",
        "model_version": "1.0.0",
    }
    assert read_v1(found, bare=True)["predictions"] == values.tolist()


def test_v1_gives_label_probabilities_and_tier_for_a_risk(risk: LoadedBundle) -> None:
    """Probabilities by class; JSON's keys are strings, the label stays a number."""
    found = answer(risk, NUMBERS)
    probabilities = found.result.prediction.probabilities

    assert probabilities is not None
    predictions = read_v1(found)["predictions"]
    assert predictions == [
        {"label": label, "probabilities": {"0": row[0], "1": row[1]}, "tier": tier}
        for label, row, tier in zip([0, 1], probabilities.tolist(), ["low", "high"], strict=True)
    ]
    assert read_v1(found, bare=True)["predictions"] == [0, 1]


def test_v1_gives_words_for_string_labels(people: LoadedBundle) -> None:
    """A numpy string would be no JSON."""
    predictions = read_v1(answer(people, PEOPLE))["predictions"]

    assert {type(row["label"]) for row in predictions} == {str}
    assert [set(row) for row in predictions] == [{"label", "probabilities"}] * 2
    assert set(predictions[0]["probabilities"]) == {"maybe", "no", "yes"}


def test_v1_gives_reasons_a_row(risk: LoadedBundle) -> None:
    """As many as asked for, each with its space and output."""
    predictions = read_v1(answer(risk, NUMBERS, reasons=2))["predictions"]

    assert [len(row["reasons"]) for row in predictions] == [2, 2]
    assert set(predictions[0]["reasons"][0]) == {"feature", "contribution", "direction", "space", "output"}


@pytest.mark.parametrize("name", ["linear", "risk", "people"])
def test_explanations_add_up(name: str, request: pytest.FixtureRequest) -> None:
    """Base plus contributions is the margin, by output where there are several."""
    loaded: LoadedBundle = request.getfixturevalue(name)
    explanation = loaded.explainer().explain(loaded.contract.frame(PEOPLE if name == "people" else NUMBERS))

    rows = v1_explanations(explanation)

    for row, margin in zip(orjson.loads(orjson.dumps(rows)), explanation.margin.tolist(), strict=True):
        outputs = row["output"] if isinstance(row["output"], list) else [None]
        bases = [row["base"] if output is None else row["base"][output] for output in outputs]
        parts = [row["contributions"] if output is None else row["contributions"][output] for output in outputs]
        totals = [base + sum(part.values()) for base, part in zip(bases, parts, strict=True)]
        assert totals == pytest.approx(margin, abs=1e-12)
        assert [set(part) for part in parts] == [set(loaded.contract.names)] * len(outputs)


@pytest.mark.parametrize("bare", [True, False])
@pytest.mark.parametrize("reasons", [0, 2])
@pytest.mark.parametrize("step", [1, 2, 3, 7])
def test_parts_of_an_answer_are_the_answer(bare: bool, reasons: int, step: int, risk: LoadedBundle) -> None:  # noqa: FBT001
    """However many rows are encoded at a time, the bytes are the same."""
    found = answer(risk, [[float(row), 0.5, -0.25] for row in range(7)], reasons=reasons)

    assert b"".join(v1_parts(found, step, bare=bare)) == encode_v1(found, bare=bare)
