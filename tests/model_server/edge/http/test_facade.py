"""The facade over real HTTP: forms of requests and answers, refusals, reasons, health and readiness."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson
import pytest

from model_server.manifest import Serving
from model_server.serving.loaded import Wanted, build
from model_server.wire.facade import call_of_one
from tests.bundles import catalogue
from tests.bundles.catalogue import CATALOGUE, CUSTOMER, FLOWER, MASS, customers
from tests.bundles.estimators import SizeNoting
from tests.bundles.live_server import serving, wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import httpx

    from tests.bundles.live_server import LiveServer

    Serve = Callable[[str], LiveServer]

SECRET = "48151623"  # noqa: S105 - a value that no answer may repeat


@pytest.fixture
def cells(facade: Serve) -> httpx.Client:
    """A client of the model that takes vectors."""
    return facade("cells").http


@pytest.fixture
def churn(facade: Serve) -> httpx.Client:
    """A client of the model that answers a risk."""
    return facade("churn").http


@pytest.fixture(scope="module")
def echo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A client of a model that answers what it is told, and whose features are named like options."""
    directory = tmp_path_factory.mktemp("echo") / "echo"
    catalogue.echo("explain", "request_id").write(directory)
    with serving(directory, "--log_level=ERROR") as service:
        yield service.http


def refused(response: httpx.Response, status: int = 422) -> Any:
    """Check a refusal's form and give its body."""
    body = response.json()
    assert response.status_code == status, response.text
    assert {"error", "code", "request_id"} <= body.keys() <= {"error", "code", "request_id", "violations"}
    assert body["request_id"] == response.headers["x-request-id"]
    assert SECRET not in response.text
    return body


@pytest.mark.parametrize(("model", "body"), [("cells", {"features": MASS}), ("churn", CUSTOMER), ("flowers", FLOWER)])
def test_both_spellings_answer_alike(facade: Serve, model: str, body: dict[str, Any]) -> None:
    """/v1/predict is the same route as /predict, and so are the batches."""
    http = facade(model).http
    assert http.post("/predict", json=body).json() == http.post("/v1/predict", json=body).json()
    rows = {"instances": [MASS if model == "cells" else body]}
    one, other = (http.post(path, json=rows).json() for path in ("/predict/batch", "/v1/predict/batch"))
    assert one["predictions"] == other["predictions"]


# --- vectors ----------------------------------------------------------------------------------------------------------


def test_the_first_mass_is_malignant(cells: httpx.Client) -> None:
    """Label 0, with a probability of class 0 well above 0.95, and exactly the documented keys."""
    body = cells.post("/predict", json={"features": MASS}).json()
    assert body.keys() == {"label", "probabilities", "model_version", "n_features_in"}
    assert (body["label"], body["model_version"], body["n_features_in"]) == (0, "1.0.0", 30)
    assert body["probabilities"]["class_0"] > 0.95
    assert sum(body["probabilities"].values()) == pytest.approx(1.0, abs=1e-4)
    assert all(round(number, 6) == number for number in body["probabilities"].values())


def test_a_vector_model_takes_named_values_in_any_order(cells: httpx.Client) -> None:
    """Names decide, not positions."""
    names = CATALOGUE["cells"].manifest.contract.names
    named = dict(reversed(list(zip(names, MASS, strict=True))))
    assert cells.post("/predict", json=named).json() == cells.post("/predict", json={"features": MASS}).json()


VECTORS: dict[str, tuple[str, str]] = {
    "two values": ('{"features": [48151623, 2]}', "must have 30 values in contract order, got 2"),
    "no values": ('{"features": []}', "got 0"),
    "an empty object": ("{}", "'features' is missing"),
    "an object": ('{"features": {}}', "'features' must be a list of 30 values"),
    "a string": ('{"features": "48151623"}', "'features' must be a list of 30 values"),
    "null": ('{"features": null}', "'features' must be a list of 30 values"),
    "further keys": ('{"features": [], "more": 48151623}', "unknown key 'more'"),
    "a bare list": ("[48151623]", "must be a JSON object with 'features'"),
    "a bare string": ('"48151623"', "must be a JSON object with 'features'"),
    "no JSON": ("features=48151623", "not valid JSON (line 1, column 1)"),
    "nothing": ("", "not valid JSON"),
}


@pytest.mark.parametrize("body", VECTORS)
def test_a_body_that_is_no_vector_is_refused(cells: httpx.Client, body: str) -> None:
    """The text says what was expected and what is there, without quoting a value."""
    text, part = VECTORS[body]
    assert part in refused(cells.post("/predict", content=text))["error"]


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_a_number_that_is_not_finite_is_refused(cells: httpx.Client, value: str) -> None:
    """JSON has no such number; the place in the body is named."""
    text = orjson.dumps({"features": MASS}).decode().replace("17.99", value)
    assert "line 1, column" in refused(cells.post("/predict", content=text))["error"]


@pytest.mark.parametrize("value", ['"48151623"', "true", "null", "[48151623]", "{}", "-48151623", "1e300"])
def test_a_value_that_is_no_admitted_number_is_refused_by_its_index(cells: httpx.Client, value: str) -> None:
    """Index, feature, row and rule are named."""
    text = orjson.dumps({"features": MASS}).decode().replace("122.8", value)
    body = refused(cells.post("/predict", content=text))
    assert body["code"] == "contract-violation"
    assert body["error"].startswith("features[2]: feature 'mean perimeter', row 0: must be a finite number")
    assert [(flaw["feature"], flaw["row"]) for flaw in body["violations"]] == [("mean perimeter", 0)]


@pytest.mark.parametrize(("count", "status"), [(0, 422), (1, 200), (512, 200), (513, 422)])
def test_a_batch_of_vectors_has_its_limit(cells: httpx.Client, count: int, status: int) -> None:
    """The bundle says how many rows a batch may have."""
    response = cells.post("/predict/batch", json={"instances": [MASS] * count})
    assert response.status_code == status, response.text
    if status == 200:
        assert response.json()["n_instances"] == count
    else:
        assert refused(response)["error"].startswith("must have at ")


def test_a_batch_may_mix_lists_and_names(cells: httpx.Client) -> None:
    """Each row is read by itself."""
    named = dict(zip(CATALOGUE["cells"].manifest.contract.names, MASS, strict=True))
    one, other = cells.post("/predict/batch", json={"instances": [MASS, named]}).json()["predictions"]
    assert one == other


@pytest.mark.parametrize(
    ("bad", "rule"), [([1.0], "must have 30 values"), (None, "must be a list"), (["x"] * 30, "must be a finite number")]
)
def test_a_bad_instance_of_a_batch_is_named(cells: httpx.Client, bad: Any, rule: str) -> None:
    """Index and reason; the good neighbours are not to blame."""
    instances: list[Any] = [MASS] * 9
    instances[7] = bad
    body = refused(cells.post("/predict/batch", json={"instances": instances}))
    assert body["error"].startswith("Instance 7: ")
    assert rule in body["error"]
    assert {flaw["row"] for flaw in body["violations"]} == {7}


# --- named values and risks -------------------------------------------------------------------------------------------


def test_a_risk_has_exactly_its_keys(churn: httpx.Client) -> None:
    """Probability to 4 decimals, tier, three reasons, version."""
    body = churn.post("/predict", json=CUSTOMER).json()
    assert body.keys() == {"churn_probability", "risk_tier", "top_reasons", "model_version"}
    assert 0 <= body["churn_probability"] == round(body["churn_probability"], 4) <= 1
    assert len(body["top_reasons"]) == 3


def test_key_order_does_not_matter(churn: httpx.Client) -> None:
    """JSON objects have no order: names decide."""
    shuffled = dict(reversed(CUSTOMER.items()))
    assert churn.post("/predict", json=shuffled).json() == churn.post("/predict", json=CUSTOMER).json()


def test_reasons_are_the_strongest_contributions(churn: httpx.Client) -> None:
    """The same numbers as the full explanation, by falling strength, on random rows."""
    for row in customers(20):
        body = churn.post("/predict", json=row).json()
        full = churn.post("/v1/models/churn:explain", json={"instances": [row]}).json()["explanations"][0]
        ranked = sorted(full["contributions"].items(), key=lambda item: -abs(item[1]))[:3]
        assert [reason["feature"] for reason in body["top_reasons"]] == [name for name, _ in ranked]
        for reason, (_, contribution) in zip(body["top_reasons"], ranked, strict=True):
            assert reason["shap_contribution"] == pytest.approx(contribution, abs=5.01e-5)
            assert reason["direction"] == ("increases_risk" if contribution > 0 else "decreases_risk")
            assert reason["space"] == full["space"] == "log-odds"


def test_contributions_add_up_to_the_answer(churn: httpx.Client) -> None:
    """Base plus all of them is the log-odds of the answered probability."""
    full = churn.post("/v1/models/churn:explain", json={"instances": [CUSTOMER]}).json()["explanations"][0]
    margin = full["base"] + sum(full["contributions"].values())
    answered = churn.post("/predict", json=CUSTOMER).json()["churn_probability"]
    assert round(1 / (1 + np.exp(-margin)), 4) == answered


CODES = {
    "contract_type": {"month-to-month": 0.0, "one-year": 1.0, "two-year": 2.0},
    "payment_method": {"electronic_check": 0.0, "mailed_check": 1.0, "bank_transfer": 2.0, "credit_card": 3.0},
    "internet_service": {"none": 0.0, "dsl": 1.0, "fiber_optic": 2.0},
}


def test_reasons_give_values_as_numbers(churn: httpx.Client) -> None:
    """A category is its index in the contract, a flag 0 or 1; every feature shows up in some row's reasons."""
    seen = set()
    rows = customers(200)
    predictions = churn.post("/predict/batch", json={"customers": rows}).json()["predictions"]
    for row, prediction in zip(rows, predictions, strict=True):
        for reason in prediction["top_reasons"]:
            name, value = reason["feature"], row[reason["feature"]]
            seen.add(name)
            assert reason["value"] == (CODES[name][value] if name in CODES else float(value))
            assert isinstance(reason["value"], float)
    assert {"contract_type", "tenure"} <= seen


@pytest.mark.parametrize(
    ("path", "extra"), [("/predict?explain=false", {}), ("/predict", {"explain": False})], ids=["query", "body"]
)
def test_reasons_can_be_skipped(churn: httpx.Client, path: str, extra: dict[str, Any]) -> None:
    """A query parameter or a key does it, for one row and for many."""
    full = churn.post("/predict", json=CUSTOMER).json()
    del full["top_reasons"]
    assert churn.post(path, json=CUSTOMER | extra).json() == full
    batch = churn.post(path.replace("predict", "predict/batch"), json={"customers": [CUSTOMER], **extra}).json()
    assert batch["predictions"] == [full]


def test_skipped_reasons_are_not_computed(echo: httpx.Client) -> None:
    """The explainer of this model refuses whoever asks it."""
    row = {"p": 0.5, "explain": 0.5, "request_id": 0.5}
    single = [echo.post(f"/predict?explain={word}", json=row).status_code for word in ("true", "false")]
    batch = [echo.post("/predict/batch", json={"instances": [row], "explain": e}).status_code for e in (True, False)]
    assert single == batch == [501, 200]


def test_the_body_decides_before_the_query(churn: httpx.Client) -> None:
    """What is said twice is said by the body."""
    body = churn.post("/predict?explain=false", json=CUSTOMER | {"explain": True}).json()
    assert "top_reasons" in body


@pytest.mark.parametrize(
    ("path", "extra", "part"),
    [
        ("/predict?explain=maybe", {}, "query parameter 'explain' must be true or false"),
        ("/predict?explain=0", {"explain": True}, "query parameter 'explain' must be true or false"),
        ("/predict", {"explain": SECRET}, "'explain' must be true or false"),
        ("/predict", {"request_id": int(SECRET)}, "'request_id' must be a string of at most 128 characters"),
        ("/predict", {"request_id": SECRET * 20}, "'request_id' must be a string of at most 128 characters"),
    ],
)
def test_a_bad_option_is_refused(churn: httpx.Client, path: str, extra: dict[str, Any], part: str) -> None:
    """An option is as strict as a value."""
    assert part in refused(churn.post(path, json=CUSTOMER | extra))["error"]


def test_a_request_id_is_echoed(churn: httpx.Client) -> None:
    """Once an answer: beside the prediction of one row, beside the list of many."""
    assert churn.post("/predict", json=CUSTOMER | {"request_id": "order-1"}).json()["request_id"] == "order-1"
    body = churn.post("/predict/batch", json={"customers": [CUSTOMER], "request_id": "order-2"}).json()
    assert body["request_id"] == "order-2"
    assert "request_id" not in body["predictions"][0]


@pytest.mark.parametrize(
    ("feature", "value", "status"),
    [
        ("tenure", 0, 200),
        ("tenure", 120, 200),
        ("tenure", 121, 422),
        ("tenure", -5, 422),
        ("tenure", "14", 422),
        ("tenure", True, 422),
        ("tenure", 14.5, 422),
        ("tenure", None, 422),
        ("tenure", [14], 422),
        ("streaming_services", 4, 200),
        ("streaming_services", 5, 422),
        ("monthly_charges", 0, 200),
        ("monthly_charges", -0.01, 422),
        ("contract_type", "weekly", 422),
        ("contract_type", 0, 422),
        ("paperless_billing", 1, 422),
        ("paperless_billing", "true", 422),
        ("surprise", 1, 422),
    ],
)
def test_values_are_checked_strictly(churn: httpx.Client, feature: str, value: Any, status: int) -> None:
    """Bounds are inclusive, nothing is coerced, and a refusal names the feature; the same in a batch, by row."""
    row = CUSTOMER | {feature: value}
    one = churn.post("/predict", json=row)
    many = churn.post("/predict/batch", json={"customers": [CUSTOMER, row]})
    assert (one.status_code, many.status_code) == (status, status), one.text
    if status == 422:
        assert feature in refused(one)["error"]
        assert refused(many)["error"].startswith(f"Instance 1: feature {feature!r}, row 1: ")


@pytest.mark.parametrize("name", CUSTOMER)
def test_every_value_is_required(churn: httpx.Client, name: str) -> None:
    """A missing one is named; nothing is filled in."""
    body = refused(churn.post("/predict", json={key: value for key, value in CUSTOMER.items() if key != name}))
    assert body["violations"] == [{"feature": name, "row": 0, "rule": "is missing"}]


@pytest.mark.parametrize(("count", "status"), [(0, 422), (1000, 200), (1001, 422)])
@pytest.mark.parametrize("key", ["customers", "instances"])
def test_a_batch_of_customers_has_its_limit(churn: httpx.Client, key: str, count: int, status: int) -> None:
    """Both names of the list have the same limit."""
    response = churn.post("/predict/batch", json={key: [CUSTOMER] * count})
    assert response.status_code == status
    if status == 200:
        body = response.json()
        assert body.keys() == {"predictions", "model_version", "n_instances", "batch_size", "processing_time_ms"}
        assert (body["batch_size"], body["n_instances"], len(body["predictions"])) == (count, count, count)
        assert 0 <= body["processing_time_ms"] == round(body["processing_time_ms"], 2)


def test_a_batch_answers_what_single_requests_do(churn: httpx.Client) -> None:
    """Each row has the answer that it gets alone, reasons included."""
    rows = customers(10)
    predictions = churn.post("/predict/batch", json={"customers": rows}).json()["predictions"]
    assert predictions == [churn.post("/predict", json=row).json() for row in rows]


def test_a_batch_asks_the_model_once(tmp_path: Path) -> None:
    """One call of the model for all rows, as the model notes it; the metrics count the same."""
    catalogue.echo(kind=SizeNoting).write(tmp_path / "noted")
    count = "model_server_inference_seconds_count"
    with serving(tmp_path / "noted", "--log_level=ERROR") as service:
        before = service.value(count, model_version="1.0.0")
        SizeNoting.calls.clear()
        service.http.post("/predict/batch", json={"instances": [{"p": 0.5}] * 50})

        assert SizeNoting.calls == [50]
        assert service.value(count, model_version="1.0.0") - before == 1


BATCHES: dict[str, tuple[Any, str]] = {
    "no rows key": ({"rows": []}, "a list of rows as 'instances' or 'customers'"),
    "both keys": ({"instances": [CUSTOMER], "customers": [CUSTOMER]}, "'instances' or 'customers'"),
    "a list": ([CUSTOMER], "must be a JSON object"),
    "null": ({"customers": None}, "'customers' must be a list of rows"),
    "an object": ({"instances": CUSTOMER}, "'instances' must be a list of rows"),
    "a further key": ({"customers": [CUSTOMER], "surprise": SECRET}, "unknown key 'surprise'"),
    "lists": ({"customers": [list(CUSTOMER.values())]}, "Instance 0: row 0: must be an object of named values"),
}


@pytest.mark.parametrize("body", BATCHES)
def test_a_body_that_is_no_batch_is_refused(churn: httpx.Client, body: str) -> None:
    """A model of named values takes no vectors, whose order nobody checked."""
    document, part = BATCHES[body]
    assert part in refused(churn.post("/predict/batch", json=document))["error"]


def test_a_vector_model_has_no_customers(cells: httpx.Client) -> None:
    """The word belongs to models of named values."""
    assert "'instances'" in refused(cells.post("/predict/batch", json={"customers": [MASS]}))["error"]


@pytest.mark.parametrize(
    ("probability", "tier"),
    [(0.0, "low"), (0.29999, "low"), (0.3, "medium"), (0.59999, "medium"), (0.6, "high"), (1.0, "high")],
)
def test_tiers_are_decided_on_the_unrounded_number(echo: httpx.Client, probability: float, tier: str) -> None:
    """0.29999 rounds to 0.3 and is low all the same."""
    body = echo.post("/predict", json={"p": probability, "explain": 1, "request_id": 0}).json()
    assert (body["risk_probability"], body["risk_tier"]) == (round(probability, 4), tier)


def test_features_named_like_options_are_features(echo: httpx.Client) -> None:
    """A contract's own names come first, in a record; a batch has its options beside the rows."""
    row = {"p": 0.5, "explain": 0.5, "request_id": 0.5}
    assert echo.post("/predict", json=row).json() == {
        "risk_probability": 0.5,
        "risk_tier": "medium",
        "model_version": "1.0.0",
    }
    body = echo.post("/predict/batch", json={"instances": [row], "request_id": "order-1", "explain": False}).json()
    assert (body["request_id"], body["n_instances"]) == ("order-1", 1)


def test_a_model_that_cannot_be_explained_answers_without_reasons(echo: httpx.Client) -> None:
    """Unasked they are left out; asked for, the refusal says why."""
    row = {"p": 0.5, "explain": 0.5, "request_id": 0.5}
    assert "top_reasons" not in echo.post("/predict", json=row).json()
    body = refused(echo.post("/predict?explain=true", json=row), 501)
    assert (body["code"], "Echo" in body["error"]) == ("not-supported", True)


# --- other models -----------------------------------------------------------------------------------------------------


def test_a_generic_answer_has_prediction_and_probability(facade: Serve) -> None:
    """The same names whatever the classes; reasons when they are asked for, about the answered class."""
    http = facade("flowers").http
    body = http.post("/predict", json=FLOWER).json()
    assert body.keys() == {
        "prediction", "probability", "label", "probabilities", "model_version", "n_features_in",
    }  # fmt: skip
    assert body["prediction"] == body["label"] == "setosa"
    assert body["probability"] == body["probabilities"]["class_setosa"] == max(body["probabilities"].values())
    reasons = http.post("/predict?explain=true", json=FLOWER).json()["top_reasons"]
    assert [reason["output"] for reason in reasons] == ["setosa"] * 3
    assert {reason["direction"] for reason in reasons} <= {"increases", "decreases"}


def test_a_regression_answers_a_value_and_its_tier(facade: Serve) -> None:
    """A missing value is null in the request."""
    http = facade("costs").http
    body = http.post("/predict", json={"size": 80.0, "rooms": 2, "new": False}).json()
    assert body.keys() == {"prediction", "value", "tier", "model_version", "n_features_in"}
    assert body["prediction"] == body["value"] > 100
    assert body["tier"] == "dear"
    assert http.post("/predict", json={"size": None, "rooms": 12, "new": True}).status_code == 200


def test_a_missing_value_is_null_among_the_reasons(facade: Serve) -> None:
    """Nothing is made up for it."""
    row = {"size": None, "rooms": 3, "new": True}
    reasons = facade("costs").http.post("/predict?explain=true", json=row).json()["top_reasons"]
    assert {reason["feature"]: reason["value"] for reason in reasons} == {"size": None, "rooms": 3.0, "new": 1.0}


def test_a_model_without_probabilities_answers_labels(facade: Serve) -> None:
    """Nothing is made up for it."""
    body = facade("margins").http.post("/predict", json={"features": [5.1, 3.5, 1.4, 0.2]}).json()
    assert body == {"label": 0, "model_version": "1.0.0", "n_features_in": 4}


def test_named_values_of_a_model_without_probabilities(tmp_path: Path) -> None:
    """The generic answer has what there is."""
    catalogue.write("margins", tmp_path / "margins", serving=Serving(facade="record"))
    with serving(tmp_path / "margins", "--log_level=ERROR") as service:
        body = service.http.post("/predict", json={"x0": 5.1, "x1": 3.5, "x2": 1.4, "x3": 0.2}).json()
    assert body == {"prediction": 0, "label": 0, "model_version": "1.0.0", "n_features_in": 4}


def test_a_regression_without_tiers_has_none(written: Path) -> None:
    """The sum of the row, and nothing beside it."""
    with serving(written / "linear" / "1.0.0", "--log_level=ERROR") as service:
        body = service.http.post("/predict", json={"x0": 1.0, "x1": 2.0, "x2": 3.0}).json()
    assert body["value"] == body["prediction"] == pytest.approx(6.0)
    assert body.keys() == {"prediction", "value", "model_version", "n_features_in"}


def test_a_feature_may_be_called_features(tmp_path: Path) -> None:
    """Then the key holds its value, and rows are named values only."""
    catalogue.echo("features").write(tmp_path / "echo", serving=Serving(facade="vector"))
    loaded = build(Wanted(str(tmp_path / "echo")))
    row = dict.fromkeys(loaded.contract.names, 1.0)
    assert call_of_one(row, loaded, {}).rows == [row]


def test_rows_are_logged_and_violations_counted(facade: Serve) -> None:
    """The facade's requests are in the metrics like any other's."""
    service = facade("churn")
    series = "model_server_contract_violations_total"
    before = service.value(series, feature="tenure"), service.value("model_server_rows_total", model_version="1.0.0")
    service.http.post("/predict", json=CUSTOMER | {"tenure": 121})
    service.http.post("/predict/batch", json={"customers": [CUSTOMER] * 3})
    after = service.value(series, feature="tenure"), service.value("model_server_rows_total", model_version="1.0.0")
    assert (after[0] - before[0], after[1] - before[1]) == (1, 3)


# --- health -----------------------------------------------------------------------------------------------------------


def test_health_names_the_bundle(facade: Serve) -> None:
    """Version, digest, run, estimator and data set."""
    service = facade("churn")
    response = service.http.get("/health")
    body = response.json()
    model = body.pop("model")
    assert 0 <= body["uptime_seconds"] == round(body.pop("uptime_seconds"), 1)
    assert body == {"status": "healthy", "model_loaded": True, "model_version": "1.0.0"}
    assert len(model.pop("digest")) == 64
    assert model == {
        "name": "churn",
        "version": "1.0.0",
        "approval": "unknown",
        "run_id": "0123456789abcdef",
        "estimator": "sklearn",
        "dataset": "made up",
    }


def test_a_server_listens_before_its_model_is_loaded(tmp_path: Path, release: Callable[[], None]) -> None:
    """Alive and not ready while the bundle loads, on every facade route; ready afterwards."""
    catalogue.write("held", tmp_path / "held")
    with serving(tmp_path / "held", "--log_level=ERROR", ready=False) as service:
        body = service.http.get("/health").json()
        assert (body["status"], body["model_loaded"], body["model"]) == ("ok", False, None)
        ready = service.http.get("/ready")
        assert (ready.status_code, ready.json()["code"]) == (503, "model-not-ready")
        assert ready.json()["detail"] == "the model is still loading"
        for path in ("/predict", "/predict/batch", "/v1/predict", "/v1/predict/batch"):
            assert refused(service.http.post(path, json={"x0": 0.5, "x1": 0}), 503)["code"] == "model-not-ready"
        release()
        service.wait_until_ready()
        assert service.http.get("/ready").json() == {"status": "ready"}
        assert service.http.post("/predict", json={"x0": 0.5, "x1": 0}).status_code == 200


def test_a_server_without_a_bundle_says_why(tmp_path: Path) -> None:
    """It stays alive where no model is required."""
    with serving(tmp_path, "--require_model=false", "--log_level=ERROR", ready=False) as s:
        wait_for(lambda: "failed" in s.http.get("/ready").json()["detail"])
        assert s.http.get("/ready").json()["detail"] == "loading failed (bundle-not-found)"
        assert s.http.get("/health").json()["model_loaded"] is False


def test_readiness_drops_before_the_server_stops(tmp_path: Path) -> None:
    """While it drains it still answers, but asks for no more."""
    catalogue.write("echo", tmp_path / "echo")
    with serving(tmp_path / "echo", "--shutdown_delay_s=1.5", "--log_level=ERROR") as service:
        stopping = threading.Thread(target=service.running.stop)
        stopping.start()
        wait_for(lambda: service.http.get("/ready").status_code == 503)
        assert service.http.get("/ready").json()["detail"] == "the server is shutting down"
        assert service.http.get("/health").status_code == 200
        assert service.http.post("/predict", json={"p": 0.5}).status_code == 200
        stopping.join(30)


def test_a_body_over_the_limit_is_refused(tmp_path: Path) -> None:
    """It is refused with 413 before it is read."""
    catalogue.write("echo", tmp_path / "echo")
    with serving(tmp_path / "echo", "--max_body_bytes=100", "--log_level=ERROR") as service:
        assert refused(service.http.post("/predict", content=b" " * 101), 413)["code"] == "body-too-large"
        assert refused(service.http.post("/predict", content=b"{}", headers={"content-encoding": "gzip"}), 415)


# --- the way ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/predict", "/v1/predict", "/predict/batch", "/v1/predict/batch"])
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH"])
def test_other_methods_are_told_to_post(method: str, path: str, churn: httpx.Client) -> None:
    """A browser that opens the address gets a reason and the method that works, not a page that is not there."""
    response = churn.request(method, path)

    assert refused(response, 405)["code"] == "method-not-allowed"
    assert response.headers["allow"] == "POST"


@pytest.fixture(scope="module")
def long_way(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A client of the model that answers a risk, on a server whose v1 and v2 are KServe's own routes."""
    directory = tmp_path_factory.mktemp("long") / "churn"
    catalogue.write("churn", directory)
    with serving(directory, "--hot_path=false", "--log_level=ERROR") as service:
        yield service.http


@pytest.mark.parametrize("query", ["", "?explain=true", "?explain=false"])
def test_the_plain_routes_answer_alike_on_both_ways(query: str, churn: httpx.Client, long_way: httpx.Client) -> None:
    """``hot_path: false`` is about KServe's routes; these have one way, with reasons or without them."""
    rows = customers(40)
    bodies = [
        ("/predict", CUSTOMER),
        ("/predict/batch", {"customers": rows}),
        ("/v1/predict", {**CUSTOMER, "tenure": -1}),
    ]
    for path, body in bodies:
        lean, other = (http.post(path + query, json=body) for http in (churn, long_way))
        assert lean.status_code == other.status_code
        assert comparable(lean) == comparable(other)
        assert ("top_reasons" in lean.text) == (lean.is_success and query != "?explain=false")


def comparable(response: httpx.Response) -> Any:
    """Read an answer's body without what differs from request to request."""
    return {key: value for key, value in response.json().items() if key not in ("request_id", "processing_time_ms")}


def test_reasons_of_a_batch_are_those_of_its_rows(churn: httpx.Client) -> None:
    """Explained in one go or one by one, each customer gets the same reasons."""
    rows = customers(10)
    batch = churn.post("/predict/batch?explain=true", json={"customers": rows}).json()["predictions"]
    single = [churn.post("/predict?explain=true", json=row).json()["top_reasons"] for row in rows]

    assert [row["top_reasons"] for row in batch] == single
    assert len(single[0]) > 0
