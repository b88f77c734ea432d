"""Answers: what v1, v2 and error documents look like, for every kind of model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import orjson
import pytest

from model_server.errors import BugError, ContractError, ModelNotReady, Violation
from model_server.serving.call import (
    Answer,
    BatchResult,
    Call,
    Options,
    RequestedOutput,
    available_outputs,
    result_of,
)
from model_server.wire.metadata import inputs_of, model_metadata, outputs_of
from model_server.wire.parts import error_document
from model_server.wire.v1 import encode_v1, v1_document, v1_explanations, v1_parts
from model_server.wire.v2 import encode_v2
from tests.bundles.catalogue import NUMBERS, PEOPLE
from tests.conformance.wire import v2_outputs

if TYPE_CHECKING:
    from model_server.serving.loaded import LoadedBundle


def answer(served: LoadedBundle, rows: list[Any], *, reasons: int = 0, **asked: Any) -> Answer:
    """Predict rows and pack them as the core does."""
    frame = served.contract.frame(rows)
    told = tuple(served.explainer().explain(frame).reasons(reasons)) if reasons else ()
    call = Call(rows=rows, options=Options(reasons), **asked)
    prediction = served.predictor.predict(frame)
    return Answer(call, served, result_of(BatchResult(frame, prediction, told)))


def v1(found: Answer, *, bare: bool = False) -> Any:
    """Read the v1 bytes back."""
    return orjson.loads(encode_v1(found, bare=bare))


def v2(found: Answer) -> Any:
    """Read the v2 bytes back; JSON only."""
    content, size = encode_v2(found)
    assert size is None
    return orjson.loads(content)


def test_v1_gives_a_value_a_row_for_a_regression(linear: LoadedBundle) -> None:
    """To the last bit of the model's answer."""
    found = answer(linear, NUMBERS)
    values = found.result.prediction.values

    assert values is not None
    assert v1(found) == {
        "predictions": [{"value": value} for value in values.tolist()],
        "model_name": "linear",
        "model_version": "1.0.0",
    }
    assert v1(found, bare=True)["predictions"] == values.tolist()


def test_v1_gives_label_probabilities_and_tier_for_a_risk(risk: LoadedBundle) -> None:
    """Probabilities by class; JSON's keys are strings, the label stays a number."""
    found = answer(risk, NUMBERS)
    probabilities = found.result.prediction.probabilities

    assert probabilities is not None
    predictions = v1(found)["predictions"]
    assert predictions == [
        {"label": label, "probabilities": {"0": row[0], "1": row[1]}, "tier": tier}
        for label, row, tier in zip([0, 1], probabilities.tolist(), ["low", "high"], strict=True)
    ]
    assert v1(found, bare=True)["predictions"] == [0, 1]


def test_v1_gives_words_for_string_labels(people: LoadedBundle) -> None:
    """A numpy string would be no JSON."""
    predictions = v1(answer(people, PEOPLE))["predictions"]

    assert {type(row["label"]) for row in predictions} == {str}
    assert [set(row) for row in predictions] == [{"label", "probabilities"}] * 2
    assert set(predictions[0]["probabilities"]) == {"maybe", "no", "yes"}


def test_v1_gives_reasons_a_row(risk: LoadedBundle) -> None:
    """As many as asked for, each with its space and output."""
    predictions = v1(answer(risk, NUMBERS, reasons=2))["predictions"]

    assert [len(row["reasons"]) for row in predictions] == [2, 2]
    assert set(predictions[0]["reasons"][0]) == {"feature", "contribution", "direction", "space", "output"}


def test_v2_gives_every_output_in_order(risk: LoadedBundle) -> None:
    """With the shape and datatype that the metadata announce; no identifier where none was sent."""
    document = v2(answer(risk, NUMBERS))

    assert list(document) == ["model_name", "model_version", "outputs"]
    assert [(o["name"], o["datatype"], o["shape"]) for o in document["outputs"]] == [
        ("label", "INT64", [2]),
        ("probabilities", "FP64", [2, 2]),
        ("tier", "BYTES", [2]),
    ]
    assert len(document["outputs"][1]["data"]) == 4


def test_v2_gives_only_the_requested_outputs_in_their_order(people: LoadedBundle) -> None:
    """Each as it was asked for: in JSON, or as binary data behind it."""
    asked = (RequestedOutput("probabilities", binary=True), RequestedOutput("label"))
    found = answer(people, PEOPLE, outputs=asked, id="7")

    content, size = encode_v2(found)

    assert size is not None
    document = orjson.loads(content[:size])
    assert document["id"] == "7"
    assert [output["name"] for output in document["outputs"]] == ["probabilities", "label"]
    assert document["outputs"][0]["parameters"] == {"binary_data_size": len(content) - size}
    probabilities, labels = found.result.prediction.probabilities, found.result.prediction.labels
    assert probabilities is not None
    assert labels is not None
    assert v2_outputs(content, str(size)) == {"probabilities": probabilities.tolist(), "label": labels.tolist()}


def test_v2_gives_all_outputs_as_binary_data_when_asked(people: LoadedBundle) -> None:
    """Strings too."""
    found = answer(people, PEOPLE, binary=True)
    content, size = encode_v2(found)

    assert {name: np.shape(data) for name, data in v2_outputs(content, str(size)).items()} == {
        "label": (2,),
        "probabilities": (2, 3),
    }


def test_v2_gives_reasons_as_json_text(risk: LoadedBundle) -> None:
    """One string a row."""
    found = answer(risk, NUMBERS, reasons=1, outputs=(RequestedOutput("reasons"),))
    (output,) = v2(found)["outputs"]

    assert (output["name"], output["datatype"], output["shape"]) == ("reasons", "BYTES", [2])
    assert [len(orjson.loads(text)) for text in output["data"]] == [1, 1]


@pytest.mark.parametrize("name", ["linear", "risk", "people"])
def test_metadata_describe_what_is_answered(name: str, request: pytest.FixtureRequest) -> None:
    """Names, datatypes and shapes of both sides, -1 for the batch."""
    served: LoadedBundle = request.getfixturevalue(name)
    found = answer(served, PEOPLE if name == "people" else NUMBERS)
    document = model_metadata(served.name, served.version, served.contract)

    assert document["outputs"] == outputs_of(served.contract)
    assert document["versions"] == ["1.0.0"]
    assert document["platform"] == "sklearn"
    announced = [(o["name"], o["datatype"], [2, *o["shape"][1:]]) for o in document["outputs"]]
    assert announced == [(o["name"], o["datatype"], o["shape"]) for o in v2(found)["outputs"]]
    assert tuple(o["name"] for o in document["outputs"]) == available_outputs(served.contract)


def test_metadata_show_one_matrix_for_numbers(linear: LoadedBundle) -> None:
    """One tensor is what clients of sklearnserver send."""
    assert inputs_of(linear.contract) == [{"name": "features", "datatype": "FP64", "shape": [-1, 3]}]


def test_metadata_show_one_input_a_column_for_mixed_features(people: LoadedBundle) -> None:
    """A column that may be missing is floating point, whose NaN says so in binary data."""
    assert inputs_of(people.contract) == [
        {"name": "age", "datatype": "INT64", "shape": [-1]},
        {"name": "income", "datatype": "FP64", "shape": [-1]},
        {"name": "member", "datatype": "BOOL", "shape": [-1]},
        {"name": "plan", "datatype": "BYTES", "shape": [-1]},
    ]


@pytest.mark.parametrize("name", ["linear", "risk", "people"])
def test_explanations_add_up(name: str, request: pytest.FixtureRequest) -> None:
    """Base plus contributions is the margin, by output where there are several."""
    served: LoadedBundle = request.getfixturevalue(name)
    explanation = served.explainer().explain(served.contract.frame(PEOPLE if name == "people" else NUMBERS))

    rows = v1_explanations(explanation)

    for row, margin in zip(orjson.loads(orjson.dumps(rows)), explanation.margin.tolist(), strict=True):
        outputs = row["output"] if isinstance(row["output"], list) else [None]
        bases = [row["base"] if output is None else row["base"][output] for output in outputs]
        parts = [row["contributions"] if output is None else row["contributions"][output] for output in outputs]
        totals = [base + sum(part.values()) for base, part in zip(bases, parts, strict=True)]
        assert totals == pytest.approx(margin, abs=1e-12)
        assert [set(part) for part in parts] == [set(served.contract.names)] * len(outputs)


def test_an_error_is_one_document() -> None:
    """Text, slug and identifier."""
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


@pytest.mark.parametrize("n_rows", [1, 2])
@pytest.mark.parametrize("name", ["linear", "risk", "people"])
@pytest.mark.parametrize("asked", [None, 'a "name" é'])
def test_the_quick_way_writes_what_the_long_one_does(
    name: str, n_rows: int, asked: str | None, request: pytest.FixtureRequest
) -> None:
    """v2 without a wish is v2 with all outputs wished for; v1 is its document."""
    served = request.getfixturevalue(name)
    rows = (PEOPLE if name == "people" else NUMBERS)[:n_rows]
    plain = answer(served, rows, id=asked)
    wished = tuple(RequestedOutput(output) for output in available_outputs(served.contract))

    assert v2(plain) == v2(answer(served, rows, id=asked, outputs=wished))
    assert list(v2(plain)["outputs"][0]) == ["name", "datatype", "shape", "data"]
    assert v1(plain) == v1_document(plain, bare=False)


@pytest.mark.parametrize("bare", [True, False])
@pytest.mark.parametrize("reasons", [0, 2])
@pytest.mark.parametrize("step", [1, 2, 3, 7])
def test_parts_of_an_answer_are_the_answer(bare: bool, reasons: int, step: int, risk: LoadedBundle) -> None:  # noqa: FBT001
    """However many rows are encoded at a time."""
    found = answer(risk, [[float(row), 0.5, -0.25] for row in range(7)], reasons=reasons)

    assert b"".join(v1_parts(found, step, bare=bare)) == encode_v1(found, bare=bare)


def test_rows_of_one_call_are_written_once(risk: LoadedBundle) -> None:
    """Each request takes its own out of them."""
    found = answer(risk, [[float(row), 0.5, -0.25] for row in range(5)])
    whole = v1(found)["predictions"]

    assert v1(found.take(1, 3))["predictions"] == whole[1:3]
    assert v1(found.take(1, 3).take(1, 2))["predictions"] == whole[2:3]
    assert v2(found.take(4, 9))["outputs"][1]["data"] == list(whole[4]["probabilities"].values())
