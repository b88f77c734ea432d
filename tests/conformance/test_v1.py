"""KServe's v1 protocol: list, status, predict and explain."""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson
import pytest

from tests.conformance.errors import assert_error
from tests.conformance.protocols import from_predictions, v1_lists
from tests.conformance.wire import Request, v1

if TYPE_CHECKING:
    from tests.conformance.facts import Facts
    from tests.conformance.target import Target


def test_the_served_model_is_listed(target: Target, facts: Facts) -> None:
    """GET /v1/models names every model."""
    response = target.client.get("/v1/models")
    assert (response.status_code, response.json()) == (200, {"models": [facts.name]})


def test_the_model_says_it_is_ready(target: Target, facts: Facts) -> None:
    """GET /v1/models/{m} is KServe's readiness answer."""
    response = target.client.get(f"/v1/models/{facts.name}")
    body = response.json()
    assert (response.status_code, body["name"], body["ready"]) == (200, facts.name, True)


def test_predict_answers_one_object_a_row(target: Target, facts: Facts) -> None:
    """Each row gets its label and probabilities, or its value, and the answer names model and version."""
    response = target.send(v1(facts.name, facts.take(3)))
    body = response.json()
    assert response.status_code == 200
    assert body.keys() == {"predictions", "model_name", "model_version"}
    assert (body["model_name"], body["model_version"]) == (facts.name, facts.version)
    assert [set(row) for row in body["predictions"]] == [set(facts.outputs)] * 3


def test_probabilities_sum_to_one(target: Target, facts: Facts) -> None:
    """The probabilities of a row cover all classes."""
    if not facts.has_probabilities:
        pytest.skip("the model answers no probabilities")
    for row in v1_lists(target, facts, facts.take(5))["probabilities"]:
        assert sum(row) == pytest.approx(1.0, abs=1e-9)


def test_rows_as_objects_and_lists_may_be_mixed(target: Target, facts: Facts) -> None:
    """Each row says by itself how it is written."""
    rows = facts.take(2)
    response = target.send(v1(facts.name, [rows[0], facts.record(rows[1])]))
    assert response.status_code == 200, response.text
    assert from_predictions(facts, response.json()["predictions"]) == v1_lists(target, facts, rows)


@pytest.mark.parametrize(
    "content_type",
    [
        "application/json",
        "application/json; charset=utf-8",
        "Application/JSON;charset=UTF-8",
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/octet-stream",
        None,
    ],
)
def test_json_is_read_whatever_the_content_type(target: Target, facts: Facts, content_type: str | None) -> None:
    """KServe hands such a body to the model as raw bytes, which ends in a 500 (its PR 2524); here JSON is JSON."""
    request = v1(facts.name, facts.take(1))
    headers = {} if content_type is None else {"content-type": content_type}
    response = target.send(Request(request.path, request.content, headers))
    assert response.status_code == 200, response.text


def test_a_cloud_event_is_answered_as_the_plain_request_it_carries(target: Target, facts: Facts) -> None:
    """Attributes in headers change nothing; an envelope around the data is refused by the name of its first key."""
    request = v1(facts.name, facts.take(1))
    attributes = {"ce-specversion": "1.0", "ce-id": "1", "ce-source": "test", "ce-type": "test"}
    carried = target.send(Request(request.path, request.content, {"content-type": "application/json", **attributes}))
    assert carried.status_code == 200, carried.text
    assert carried.json() == target.send(request).json()
    envelope = {
        "specversion": "1.0",
        "id": "1",
        "source": "test",
        "type": "test",
        "data": orjson.loads(request.content),
    }
    headers = {"content-type": "application/cloudevents+json"}
    refused = target.send(Request(request.path, orjson.dumps(envelope), headers))
    assert_error(refused, 400, "malformed-request")
    assert "'specversion'" in refused.json()["error"]


def test_reasons_are_given_when_asked(target: Target, facts: Facts) -> None:
    """The parameter ``reasons`` adds the strongest contributions of each row."""
    response = target.send(v1(facts.name, facts.take(2), parameters={"reasons": 2}))
    assert response.status_code == 200, response.text
    for row in response.json()["predictions"]:
        assert row.keys() == {*facts.outputs, "reasons"}
        assert len(row["reasons"]) == 2
        strengths = [abs(reason["contribution"]) for reason in row["reasons"]]
        assert strengths == sorted(strengths, reverse=True)
        for reason in row["reasons"]:
            assert {"feature", "contribution", "direction", "space"} <= reason.keys()
            assert reason["feature"] in facts.names


def test_explain_gives_every_feature_a_contribution(target: Target, facts: Facts) -> None:
    """POST :explain answers one explanation a row, over all source features."""
    request = Request(f"/v1/models/{facts.name}:explain", orjson.dumps({"instances": facts.take(2)}))
    response = target.send(request)
    body = response.json()
    assert response.status_code == 200, response.text
    assert (body["model_name"], body["model_version"]) == (facts.name, facts.version)
    assert len(body["explanations"]) == 2
    for explanation in body["explanations"]:
        assert {"space", "base", "contributions", "output"} <= explanation.keys()
        parts = explanation["contributions"]
        per_class = parts.values() if isinstance(explanation["base"], dict) else [parts]
        assert all(set(part) == set(facts.names) for part in per_class)


def test_explain_does_not_echo_request_headers(target: Target, facts: Facts) -> None:
    """KServe's own explain sends all request headers back, Authorization included (its dataplane.explain)."""
    headers = {"content-type": "application/json", "authorization": "Bearer marker-secret", "x-marker": "marker-secret"}
    content = orjson.dumps({"instances": facts.take(1)})
    response = target.send(Request(f"/v1/models/{facts.name}:explain", content, headers))
    assert "marker-secret" not in response.text
    assert "marker-secret" not in str(response.headers)


@pytest.mark.parametrize("verb", ["predict", "explain"])
def test_an_unknown_model_is_not_found(target: Target, facts: Facts, verb: str) -> None:
    """Only what is served can be asked."""
    content = orjson.dumps({"instances": facts.take(1)})
    assert_error(target.send(Request(f"/v1/models/no-such-model:{verb}", content)), 404, "model-not-found")


def test_the_status_of_an_unknown_model_is_not_found(target: Target) -> None:
    """GET /v1/models/{m} of another name."""
    assert_error(target.client.get("/v1/models/no-such-model"), 404, "model-not-found")


@pytest.mark.parametrize("verb", ["predict", "explain"])
def test_a_bad_row_is_named(target: Target, facts: Facts, verb: str) -> None:
    """The text and the violations name feature, row and rule."""
    bad = facts.take(3)
    bad[1][0] = [1]
    response = target.send(Request(f"/v1/models/{facts.name}:{verb}", orjson.dumps({"instances": bad})))
    body = assert_error(response, 400, "contract-violation")
    assert [(flaw["feature"], flaw["row"]) for flaw in body["violations"]] == [(facts.names[0], 1)]
    assert facts.names[0] in body["error"]
    assert "row 1" in body["error"]


def test_too_many_rows_are_refused(target: Target, facts: Facts) -> None:
    """One request cannot take the server for itself."""
    response = target.send(v1(facts.name, facts.take(target.max_rows + 1)))
    body = assert_error(response, 400, "contract-violation")
    assert str(target.max_rows) in body["error"]


def test_as_many_rows_as_allowed_are_answered(target: Target, facts: Facts) -> None:
    """The limit itself is allowed."""
    rows = facts.take(min(target.max_rows, 2000))
    response = target.send(v1(facts.name, rows))
    assert response.status_code == 200, response.text[:500]
    assert len(response.json()["predictions"]) == len(rows)
