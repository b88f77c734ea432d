"""What operators see: health, readiness, metrics, documentation, headers, admin routes, and unknown paths."""

from __future__ import annotations

import re
import uuid
from typing import TYPE_CHECKING

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.conformance.errors import assert_error
from tests.conformance.wire import Request, v1, v2

if TYPE_CHECKING:
    from tests.conformance.facts import Facts
    from tests.conformance.target import Target


def test_the_root_says_alive(target: Target) -> None:
    """KServe's own liveness probe asks this route."""
    response = target.client.get("/")
    assert (response.status_code, response.json()) == (200, {"status": "alive"})


def test_health_tells_what_is_loaded(target: Target, facts: Facts) -> None:
    """GET /health answers while the process lives."""
    response = target.client.get("/health")
    body = response.json()
    assert response.status_code == 200
    assert body["status"] in {"ok", "healthy"}
    assert (body["model_loaded"], body["model_version"]) == (True, facts.version)
    assert body["uptime_seconds"] == round(body["uptime_seconds"], 1)


def test_ready_says_ready(target: Target) -> None:
    """GET /ready is what a load balancer asks."""
    response = target.client.get("/ready")
    assert (response.status_code, response.json()["status"]) == (200, "ready")


ROUTES = [
    "/",
    "/health",
    "/ready",
    "/metrics",
    "/v1/models",
    "/v2",
    "/v2/health/live",
    "/openapi.json",
    "/no-such-path",
]


@pytest.mark.parametrize("path", ROUTES)
def test_every_answer_carries_the_headers(target: Target, facts: Facts, path: str) -> None:
    """x-request-id, x-model-version and x-response-time-ms, on errors too."""
    response = target.client.get(path)
    assert re.fullmatch(r"[\x21-\x7e]{8,128}", response.headers["x-request-id"])
    assert response.headers["x-model-version"] == facts.version
    assert float(response.headers["x-response-time-ms"]) >= 0


def test_predict_and_infer_carry_the_headers(target: Target, facts: Facts) -> None:
    """Also on the routes that answer without KServe's app."""
    for request in (v1(facts.name, facts.take(1)), v2(facts.name, facts.tensors(facts.take(1)))):
        headers = target.send(request).headers
        assert headers["x-model-version"] == facts.version
        assert headers["x-request-id"]
        assert float(headers["x-response-time-ms"]) >= 0


def test_a_good_request_id_is_kept(target: Target, facts: Facts) -> None:
    """The caller's id is returned, on answers and on errors."""
    request = v1(facts.name, facts.take(1))
    for path, status in ((request.path, 200), ("/v1/models/no-such-model:predict", 404)):
        given = str(uuid.uuid4())
        response = target.send(Request(path, request.content, {**request.headers, "x-request-id": given}))
        assert (response.status_code, response.headers["x-request-id"]) == (status, given)


@pytest.mark.parametrize(
    "given",
    [
        "",
        "x" * 10_000,
        "with space\tand tab",
        "ünïcödé",
        '{"a":1}\\r\\nset-cookie: x',
        "<script>",
        "a,b;c=d\\n",
    ],
    ids=["empty", "10-kB", "white-space", "non-ascii", "escaped-crlf", "markup", "separators"],
)
def test_a_bad_request_id_is_replaced(target: Target, facts: Facts, given: str) -> None:
    """What goes into headers and logs is checked."""
    request = v1(facts.name, facts.take(1))
    headers = {**request.headers, "x-request-id": given.encode()}
    response = target.client.post(request.path, content=request.content, headers=headers)  # type: ignore[arg-type]
    assert response.status_code == 200
    made = response.headers["x-request-id"]
    assert made != given
    assert re.fullmatch(r"[A-Za-z0-9._:-]{8,128}", made)
    assert "set-cookie" not in response.headers


@pytest.mark.parametrize(
    "path", ["/no-such-path", "/v2/health", "/predict/extra", "/v1/models/a/b/c", "/v3", "/%00", "/.env"]
)
def test_an_unknown_path_has_the_error_body(target: Target, path: str) -> None:
    """404 on every path that is no route."""
    assert_error(target.client.get(path), 404)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/predict"),
        ("GET", "/predict/batch"),
        ("PUT", "/predict"),
        ("DELETE", "/v1/models"),
        ("POST", "/health"),
        ("POST", "/ready"),
        ("PATCH", "/metrics"),
        ("POST", "/v2"),
        ("GET", "/v1/models/{model}:predict"),
        ("PUT", "/v1/models/{model}:explain"),
        ("GET", "/v2/models/{model}/infer"),
        ("DELETE", "/v2/models/{model}/infer"),
        ("GET", "/v2/models/{model}/versions/{version}/infer"),
        ("GET", "/v2/repository/index"),
        ("GET", "/admin/reload"),
    ],
)
def test_a_wrong_method_has_the_error_body(target: Target, facts: Facts, method: str, path: str) -> None:
    """405 names what is allowed."""
    response = target.client.request(method, path.format(model=facts.name, version=facts.version))
    assert_error(response, 405, "method-not-allowed")
    assert response.headers["allow"]


def test_every_route_refuses_other_methods(target: Target, facts: Facts) -> None:
    """405 with the error body and the methods that are allowed, for each path of the OpenAPI page."""
    page = target.client.get("/openapi.json").json()
    for path, methods in page["paths"].items():
        filled = path.format(model_name=facts.name, model_version=facts.version)
        for method in {"get", "post", "put", "delete"} - methods.keys():
            response = target.client.request(method.upper(), filled)
            assert_error(response, 405, "method-not-allowed")
            assert response.headers["allow"], (method, path)


def test_metrics_count_each_request(target: Target, facts: Facts) -> None:
    """A known number of requests moves the counters by that number, by protocol and status."""
    before = requests_total(target)
    for _ in range(3):
        target.send(v1(facts.name, facts.take(1)))
    target.send(v1(facts.name, []))
    target.send(v2(facts.name, facts.tensors(facts.take(1))))
    moved = {key: count - before.get(key, 0) for key, count in requests_total(target).items()}
    assert sum(count for key, count in moved.items() if count > 0 and "200" in key) >= 4
    assert sum(count for key, count in moved.items() if count > 0 and "400" in key) == 1


def requests_total(target: Target) -> dict[tuple[str, ...], float]:
    """Read the request counter, a number for each set of labels."""
    text = target.client.get("/metrics").text
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    found = [sample for sample in samples if re.fullmatch(r"\w*requests_total", sample.name)]
    assert found, "no counter of requests"
    return {tuple(sorted(sample.labels.values())): sample.value for sample in found}


def test_metrics_name_the_served_version(target: Target, facts: Facts) -> None:
    """Which build and which model answer here can be read from the metrics."""
    text = target.client.get("/metrics").text
    assert f'"{facts.name}"' in text
    assert f'"{facts.version}"' in text


def test_random_paths_add_no_series(target: Target) -> None:
    """Labels are route templates; a scanner cannot fill the memory: one path of a kind makes what all of them use."""
    scan(target, "first")
    before = series(target)
    for index in range(30):
        scan(target, str(index))
    assert series(target) == before
    assert not [name for name in before if "scanner-" in name]


def scan(target: Target, word: str) -> None:
    """Ask for what is not there: a route, a model of v1 and one of v2."""
    target.client.get(f"/scanner-{word}/x")
    target.client.get(f"/v1/models/scanner-{word}")
    target.client.post(f"/v2/models/scanner-{word}/infer", content=b"{}")


def series(target: Target) -> set[str]:
    """Read the names of all series, labels included; the second reading has what the first one has made."""
    target.client.get("/metrics")
    lines = target.client.get("/metrics").text.splitlines()
    return {line.rpartition(" ")[0] for line in lines if not line.startswith("#")}


def test_openapi_lists_every_route(target: Target) -> None:
    """The page describes facade and protocols under our own title."""
    response = target.client.get("/openapi.json")
    page = response.json()
    assert response.status_code == 200
    assert page["info"]["title"]
    assert "KServe" not in page["info"]["title"]
    facade = {"/health", "/ready", "/predict", "/predict/batch", "/v1/predict", "/v1/predict/batch", "/admin/reload"}
    native = {"/", "/v1/models", "/v2", "/v2/health/live", "/v2/health/ready", "/v2/models", "/v2/repository/index"}
    assert facade | native <= page["paths"].keys()
    templates = " ".join(page["paths"])
    for part in (":predict", ":explain", "/infer", "/ready", "/load", "/unload", "/versions/"):
        assert part in templates


def test_the_documented_examples_work_unchanged(target: Target, facts: Facts) -> None:
    """What the page shows can be posted back, on every route that shows something."""
    page = target.client.get("/openapi.json").json()
    tried = 0
    for path, operations in page["paths"].items():
        body = operations.get("post", {}).get("requestBody", {}).get("content", {}).get("application/json", {})
        for name, example in body.get("examples", {}).items():
            tried += 1
            filled = path.format(model_name=facts.name, model_version=facts.version)
            response = target.client.post(filled, json=example["value"])
            assert response.status_code == 200, (path, name, response.text)
    assert tried >= 6, "the page shows too few examples"


@pytest.mark.parametrize("path", ["/docs", "/redoc"])
def test_the_documentation_pages_are_served(target: Target, path: str) -> None:
    """As HTML that loads the OpenAPI page."""
    response = target.client.get(path)
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/html")
    assert "openapi.json" in response.text


ADMIN = ["/v2/repository/models/{model}/load", "/v2/repository/models/{model}/unload", "/admin/reload"]


@pytest.mark.parametrize("path", ADMIN)
@pytest.mark.parametrize("token", [None, "", "wrong-token", "conformance-only-toke", "ünïcödé-token"])
def test_admin_routes_need_the_token(target: Target, facts: Facts, path: str, token: str | None) -> None:
    """KServe lets anybody unload the model for good; here it stays."""
    headers = {} if token is None else {"x-admin-token": token.encode()}
    response = target.client.post(path.format(model=facts.name), headers=headers)  # type: ignore[arg-type]
    body = assert_error(response, 403, "forbidden")
    assert not token or token not in body["error"]
    assert target.client.get("/ready").status_code == 200


def test_load_with_the_token_keeps_the_model_served(target: Target, facts: Facts) -> None:
    """Loading again is harmless."""
    if target.admin_token is None:
        pytest.skip("the admin token was not given (--admin-token)")
    response = target.client.post(
        f"/v2/repository/models/{facts.name}/load", headers={"x-admin-token": target.admin_token}
    )
    assert response.status_code == 200, response.text
    assert target.send(v1(facts.name, facts.take(1))).status_code == 200


@pytest.mark.parametrize("verb", ["load", "unload"])
def test_another_model_can_neither_be_loaded_nor_unloaded(target: Target, verb: str) -> None:
    """Even with the token: there is one model here."""
    if target.admin_token is None:
        pytest.skip("the admin token was not given (--admin-token)")
    headers = {"x-admin-token": target.admin_token}
    assert_error(target.client.post(f"/v2/repository/models/no-such-model/{verb}", headers=headers), 404)


def test_unload_makes_the_model_unready_until_it_is_loaded(target: Target, facts: Facts) -> None:
    """While it is unloaded every protocol says so with 503 or 404, and liveness stays."""
    if not target.is_ours or target.admin_token is None:
        pytest.skip("only a server that the suite started for itself is unloaded")
    headers = {"x-admin-token": target.admin_token}
    base = f"/v2/repository/models/{facts.name}"
    assert target.client.post(f"{base}/unload", headers=headers).status_code == 200
    try:
        assert target.client.get("/health").status_code == 200
        assert target.client.get("/v2/health/live").status_code == 200
        for path in ("/ready", "/v2/health/ready", f"/v2/models/{facts.name}/ready"):
            assert target.client.get(path).status_code == 503, path
        for request in (v1(facts.name, facts.take(1)), v2(facts.name, facts.tensors(facts.take(1)))):
            assert_error(target.send(request), 503, "model-not-ready")
        assert_error(target.client.post("/predict", json=facts.record(facts.take(1)[0])), 503, "model-not-ready")
    finally:
        assert target.client.post(f"{base}/load", headers=headers).status_code == 200
    assert target.send(v1(facts.name, facts.take(1))).status_code == 200


def test_reload_answers_what_is_served_now(target: Target, facts: Facts) -> None:
    """POST /admin/reload reads the source again."""
    if target.admin_token is None:
        pytest.skip("the admin token was not given (--admin-token)")
    response = target.client.post("/admin/reload", headers={"x-admin-token": target.admin_token})
    body = response.json()
    assert response.status_code == 200, response.text
    assert (body["status"], body["models_loaded"]) == ("reloaded", 1)
    assert body["models"] == [{"name": facts.name, "version": facts.version}]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT.*[+-]\d\d:\d\d", body["reloaded_at"])


def test_the_repository_index_lists_the_model(target: Target, facts: Facts) -> None:
    """POST /v2/repository/index, of the model repository extension."""
    response = target.client.post("/v2/repository/index", json={})
    assert response.status_code == 200, response.text
    (entry,) = response.json()
    assert (entry["name"], entry["version"], entry["state"]) == (facts.name, facts.version, "READY")
