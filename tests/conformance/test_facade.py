"""The facade: plain routes for people who do not speak an inference protocol."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson
import pytest

from tests.conformance.errors import assert_error
from tests.conformance.protocols import v1_lists
from tests.conformance.wire import Request

if TYPE_CHECKING:
    import httpx

    from tests.conformance.facts import Facts
    from tests.conformance.target import Target

ONE = ["/predict", "/v1/predict"]
MANY = ["/predict/batch", "/v1/predict/batch"]


def post(target: Target, path: str, body: object) -> httpx.Response:
    """Send a JSON body."""
    return target.send(Request(path, orjson.dumps(body)))


def one_row(facts: Facts) -> dict[str, Any]:
    """Give the body that asks for one row in the form the model prefers."""
    row = facts.take(1)[0]
    return {"features": row} if facts.facade == "vector" else facts.record(row)


def rows_of(facts: Facts, n_rows: int) -> list[Any]:
    """Give rows for a batch in the form the model prefers."""
    rows = facts.take(n_rows)
    return rows if facts.facade == "vector" else [facts.record(row) for row in rows]


@pytest.mark.parametrize("path", ONE)
def test_predict_answers_one_row(target: Target, facts: Facts, path: str) -> None:
    """The answer names the version and agrees with the protocols."""
    response = post(target, path, one_row(facts))
    body = response.json()
    assert response.status_code == 200, response.text
    assert body["model_version"] == facts.version
    answer = v1_lists(target, facts, facts.take(1))
    if facts.name == "churn":
        assert body.keys() == {"churn_probability", "risk_tier", "top_reasons", "model_version"}
        assert body["churn_probability"] == round(answer["probabilities"][0][1], 4)
        assert body["risk_tier"] == answer["tier"][0]
    elif facts.is_regression:
        assert body["value"] == answer["value"][0]
    else:
        assert body["label"] == answer["label"][0]


def test_both_spellings_of_predict_answer_alike(target: Target, facts: Facts) -> None:
    """/predict and /v1/predict are one route."""
    assert post(target, "/predict", one_row(facts)).json() == post(target, "/v1/predict", one_row(facts)).json()


def test_a_vector_answer_has_exactly_its_keys(target: Target, facts: Facts) -> None:
    """Clients read label, probabilities by class, model_version and n_features_in; a further key would be a promise."""
    if facts.facade != "vector":
        pytest.skip("the model takes named values")
    body = post(target, "/predict", one_row(facts)).json()
    assert body.keys() == {"label", "probabilities", "model_version", "n_features_in"}
    assert body["n_features_in"] == len(facts.columns)
    assert list(body["probabilities"]) == [f"class_{label}" for label in facts.classes]
    assert sum(body["probabilities"].values()) == pytest.approx(1.0, abs=1e-4)


def test_a_vector_model_takes_named_values_too(target: Target, facts: Facts) -> None:
    """The order of the keys does not matter: names decide."""
    if facts.facade != "vector":
        pytest.skip("the model takes named values")
    row = facts.take(1)[0]
    named = dict(reversed(facts.record(row).items()))
    assert post(target, "/predict", named).json() == post(target, "/predict", {"features": row}).json()


def test_churn_gives_three_reasons(target: Target, facts: Facts) -> None:
    """Sorted by strength, each with feature, value, contribution and direction."""
    if facts.name != "churn":
        pytest.skip("only the churn answer has top_reasons")
    reasons = post(target, "/predict", one_row(facts)).json()["top_reasons"]
    assert len(reasons) == 3
    strengths = [abs(reason["shap_contribution"]) for reason in reasons]
    assert strengths == sorted(strengths, reverse=True)
    for reason in reasons:
        assert {"feature", "value", "shap_contribution", "direction"} <= reason.keys()
        assert reason["feature"] in facts.names
        wanted = "increases_risk" if reason["shap_contribution"] > 0 else "decreases_risk"
        assert reason["direction"] == wanted
        assert reason["shap_contribution"] == round(reason["shap_contribution"], 4)


@pytest.mark.parametrize("path", MANY)
@pytest.mark.parametrize("n_rows", [1, 7])
def test_a_batch_answers_each_row(target: Target, facts: Facts, path: str, n_rows: int) -> None:
    """Answers are in the order of the rows, with their count."""
    response = post(target, path, {"instances": rows_of(facts, n_rows)})
    body = response.json()
    assert response.status_code == 200, response.text
    assert (body["n_instances"], body["model_version"]) == (n_rows, facts.version)
    assert len(body["predictions"]) == n_rows
    single = post(target, "/predict", one_row(facts)).json()
    assert body["predictions"][0].items() <= single.items()


def test_a_churn_batch_may_be_called_customers(target: Target, facts: Facts) -> None:
    """The two names mean the same, and the answer has both counts and the time it took."""
    if facts.name != "churn":
        pytest.skip("only churn has customers")
    body = post(target, "/predict/batch", {"customers": rows_of(facts, 3)}).json()
    assert (body["batch_size"], body["n_instances"]) == (3, 3)
    assert body["processing_time_ms"] >= 0


def test_the_largest_batch_is_answered_and_one_more_refused(target: Target, facts: Facts) -> None:
    """The bundle says how many rows a batch may have."""
    if not facts.max_batch_rows:
        pytest.skip("the batch limit is in the bundle (--bundle)")
    limit = facts.max_batch_rows
    response = post(target, "/predict/batch", {"instances": rows_of(facts, limit)})
    assert (response.status_code, response.json().get("n_instances")) == (200, limit)
    body = assert_error(post(target, "/predict/batch", {"instances": rows_of(facts, limit + 1)}), {413, 422})
    assert str(limit) in body["error"]


def test_a_bad_row_of_a_batch_is_named(target: Target, facts: Facts) -> None:
    """Feature and row, in text and violations."""
    rows = facts.take(9)
    rows[7][0] = {"nested": 1}
    instances = rows if facts.facade == "vector" else [facts.record(row) for row in rows]
    body = assert_error(post(target, "/predict/batch", {"instances": instances}), 422, "contract-violation")
    assert [(flaw["feature"], flaw["row"]) for flaw in body["violations"]] == [(facts.names[0], 7)]
    assert "row 7" in body["error"]


@pytest.mark.parametrize("missing", [0, -1])
def test_a_missing_value_is_named(target: Target, facts: Facts, missing: int) -> None:
    """Named values: each is required."""
    record = facts.record(facts.take(1)[0])
    name = facts.names[missing]
    del record[name]
    body = assert_error(post(target, "/predict", record), 422, "contract-violation")
    assert name in body["error"]


def test_an_unknown_key_is_refused(target: Target, facts: Facts) -> None:
    """A misspelt feature is not silently dropped."""
    record = facts.record(facts.take(1)[0]) | {"no_such_feature": 1}
    body = assert_error(post(target, "/predict", record), 422, "contract-violation")
    assert "no_such_feature" in body["error"]


def test_bounds_are_inclusive(target: Target, facts: Facts) -> None:
    """The bound itself is allowed, the next number is not."""
    tried = 0
    for index, column in enumerate(facts.columns):
        if column.dtype not in ("int", "float") or not column.rejects:
            continue
        for bound, beyond in ((column.minimum, -1), (column.maximum, 1)):
            if bound is None:
                continue
            tried += 1
            value = int(bound) if column.dtype == "int" else bound
            row = facts.take(1)[0]
            for candidate, status in ((value, 200), (value + beyond, 422)):
                row[index] = candidate
                response = post(target, "/predict", facts.record(row))
                assert response.status_code == status, (column.name, response.text)
    if not tried:
        pytest.skip("the model has no hard bounds")


def test_the_request_id_in_the_body_is_echoed(target: Target, facts: Facts) -> None:
    """For one row and for a batch; it is the caller's and has nothing to do with the header."""
    one = post(target, "/predict", one_row(facts) | {"request_id": "order-1"}).json()
    batch = post(target, "/predict/batch", {"instances": rows_of(facts, 2), "request_id": "order-2"}).json()
    assert (one["request_id"], batch["request_id"]) == ("order-1", "order-2")
    assert not [row for row in batch["predictions"] if "request_id" in row]


@pytest.mark.parametrize("given", [7, "x" * 1000, ["a"], True])
def test_a_bad_request_id_in_the_body_is_refused(target: Target, facts: Facts, given: object) -> None:
    """It is a short text: anything else would be echoed and logged."""
    body = assert_error(post(target, "/predict", one_row(facts) | {"request_id": given}), 422)
    assert "request_id" in body["error"]


@pytest.mark.parametrize("in_query", [False, True])
def test_reasons_are_given_or_left_out_as_asked(target: Target, facts: Facts, *, in_query: bool) -> None:
    """The key ``explain`` in the body asks for them, or the query parameter."""
    for explain in (True, False):
        path = f"/predict?explain={str(explain).lower()}" if in_query else "/predict"
        body = one_row(facts) if in_query else one_row(facts) | {"explain": explain}
        answer = post(target, path, body).json()
        assert ("top_reasons" in answer) is explain
        assert not explain or len(answer["top_reasons"]) == 3
