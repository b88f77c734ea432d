"""The API pages: the document says what the server does, its examples work, and clients of an older one still do."""

from __future__ import annotations

import copy
import re
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema_rs
import pytest
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from prometheus_client import CollectorRegistry

from model_server import __version__
from model_server.contract import Feature
from model_server.edge.api.bodies import component_schemas
from model_server.edge.api.contract import example_row, feature_schema
from model_server.edge.api.facade import facade_schemas, predict_examples
from model_server.edge.api.openapi import document
from model_server.edge.server import BundleServer
from model_server.errors import ANSWERED
from model_server.manifest import Serving
from model_server.serving.datatypes import DATATYPES
from model_server.telemetry.metrics import Metrics
from tests.bundles import catalogue
from tests.bundles.catalogue import CATALOGUE, CUSTOMER, MASS
from tests.bundles.live_server import TOKEN, load_settings, serving
from tests.model_server.edge.api import published
from tests.model_server.edge.api.breaking import breaks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import httpx

    from tests.bundles.live_server import LiveServer

    Serve = Callable[[str], LiveServer]
    Operations = Iterator[tuple[str, str, dict[str, Any]]]
    Place = tuple[str | int, ...]

JSON = "application/json"
PAGES = ("/docs", "/redoc", "/openapi.json")
TITLES = {
    "cells": "Breast cancer classifier",
    "churn": "StreamFlow Churn Predictor",
    "flowers": "flowers",
    "costs": "costs",
    "margins": "margins",
}


def page_of(http: httpx.Client) -> Any:
    """Fetch the document."""
    return http.get("/openapi.json").json()


def operations(page: dict[str, Any]) -> Operations:
    """Go through method, path and description of every documented route."""
    for path, methods in page["paths"].items():
        for method, operation in methods.items():
            yield method, path, operation


def address(path: str, page: dict[str, Any]) -> str:
    """Fill a template with the values that the document says."""
    operation = next(iter(page["paths"][path].values()))
    for parameter in operation.get("parameters", []):
        if parameter.get("in") == "path":
            path = path.replace(f"{{{parameter['name']}}}", parameter["schema"]["enum"][0])
    return path


def flaws(page: dict[str, Any], schema: dict[str, Any], value: Any) -> list[str]:
    """Check a value against a schema of the document."""
    validator = jsonschema_rs.Draft202012Validator({**schema, "components": page["components"]})
    return [str(error) for error in validator.iter_errors(value)]


def answer_schema(operation: dict[str, Any], page: dict[str, Any], status: int) -> dict[str, Any]:
    """Find the schema of an answer."""
    response = operation["responses"][str(status)]
    if "$ref" in response:
        response = page["components"]["responses"][response["$ref"].rpartition("/")[2]]
    schema: dict[str, Any] = response["content"][JSON]["schema"]
    return schema


@pytest.mark.parametrize("model", TITLES)
def test_the_title_is_the_models(facade: Serve, model: str) -> None:
    """Title from the bundle, version of the server."""
    info = page_of(facade(model).http)["info"]
    assert (info["title"], info["version"]) == (TITLES[model], __version__)
    assert f"`{model}`, version `1.0.0`" in info["description"]


@pytest.mark.parametrize("model", TITLES)
def test_every_documented_example_works_unchanged(facade: Serve, model: str) -> None:
    """Posted back it is answered 200, and request and answer are what the document says they are."""
    http = facade(model).http
    page, sent = page_of(http), 0
    for method, path, operation in operations(page):
        for example in operation.get("requestBody", {}).get("content", {}).get(JSON, {}).get("examples", {}).values():
            response = http.request(method, address(path, page), json=example["value"])
            assert response.status_code == 200, (path, response.text)
            assert flaws(page, operation["requestBody"]["content"][JSON]["schema"], example["value"]) == []
            assert flaws(page, answer_schema(operation, page, 200), response.json()) == [], path
            sent += 1
    assert sent >= 14


@pytest.mark.parametrize("model", TITLES)
def test_what_is_asked_without_a_body_answers_as_documented(facade: Serve, model: str) -> None:
    """Health, metadata and lists keep to their schemas too."""
    http = facade(model).http
    page = page_of(http)
    paths = [path for method, path, _ in operations(page) if method == "get" and path != "/metrics"]
    for path in paths:
        response = http.get(address(path, page))
        assert response.status_code == 200
        assert flaws(page, answer_schema(page["paths"][path]["get"], page, 200), response.json()) == [], path
    assert len(paths) > 10


def test_admin_routes_answer_as_documented(tmp_path: Path) -> None:
    """They take the token of the security scheme, and refuse without it."""
    catalogue.write("echo", tmp_path / "echo")
    with serving(tmp_path / "echo", "--log_level=ERROR") as service:
        page = page_of(service.http)
        scheme = page["components"]["securitySchemes"]["adminToken"]
        paths = [path for _, path, operation in operations(page) if operation.get("security") == [{"adminToken": []}]]
        assert paths == [
            "/admin/reload",
            *(f"/v2/repository/models/{{model_name}}/{verb}" for verb in ("load", "unload")),
        ]
        for path in paths:
            operation = page["paths"][path]["post"]
            answers = [service.http.post(address(path, page), headers=h) for h in ({}, {scheme["name"]: TOKEN})]
            assert [answer.status_code for answer in answers] == [403, 200]
            for answer in answers:
                assert flaws(page, answer_schema(operation, page, answer.status_code), answer.json()) == []


REFUSALS: list[tuple[str, str, str, int]] = [
    ("post", "/predict", "{", 422),
    ("post", "/predict", '{"features": [1]}', 422),
    ("post", "/predict/batch", '{"instances": []}', 422),
    ("post", "/v1/models/{model_name}:predict", '{"instances": [[1]]}', 400),
    ("post", "/v1/models/{model_name}:predict", "", 400),
    ("post", "/v2/models/{model_name}/infer", '{"inputs": []}', 400),
]


@pytest.mark.parametrize(("method", "path", "body", "status"), REFUSALS)
def test_refusals_have_the_documented_body(facade: Serve, method: str, path: str, body: str, status: int) -> None:
    """Every route refuses in one form, so a client needs one way to read it."""
    http = facade("cells").http
    page = page_of(http)
    response = http.request(method, address(path, page), content=body)
    assert response.status_code == status
    assert flaws(page, answer_schema(page["paths"][path][method], page, status), response.json()) == []
    assert answer_schema(page["paths"][path][method], page, status) == {"$ref": "#/components/schemas/Error"}


def test_not_ready_has_the_documented_body(tmp_path: Path) -> None:
    """The same form with a detail; before a bundle is loaded the document knows no bodies of a model."""
    with serving(tmp_path, "--require_model=false", "--log_level=ERROR", ready=False) as service:
        page = page_of(service.http)
        response = service.http.get("/ready")
        assert (response.status_code, response.headers["retry-after"]) == (503, "1")
        assert flaws(page, answer_schema(page["paths"]["/ready"]["get"], page, 503), response.json()) == []
        assert page["info"]["title"] == "Model server"
        assert "examples" not in page["paths"]["/predict"]["post"]["requestBody"]["content"][JSON]


def test_every_error_is_described_under_its_status() -> None:
    """All but an unknown method, since the document describes the methods that exist."""
    responses = document(None)["components"]["responses"]
    texts = {name: response["description"] for name, response in responses.items()}
    missing = [
        (error.slug, status)
        for error in ANSWERED
        for status in {int(error.http_status), int(error.facade_status or error.http_status)}
        if f"`{error.slug}`" not in texts.get(f"Error{status}", "")
    ]

    assert missing == [("method-not-allowed", 405)]


def test_the_answers_that_pass_by_themselves_document_retry_after() -> None:
    """A generated client learns from the document that 503 says when to come again."""
    responses = document(None)["components"]["responses"]

    assert {name for name, response in responses.items() if "retry-after" in response["headers"]} == {
        "Error503",
        "NotReady503",
    }


BAD_BODIES: list[tuple[str, Any]] = [
    ("cells", {}),
    ("cells", {"features": []}),
    ("cells", {"features": MASS[:2]}),
    ("cells", {"features": [*MASS, 1.0]}),
    ("cells", {"features": [-1.0, *MASS[1:]]}),
    ("cells", {"features": ["17.99", *MASS[1:]]}),
    ("cells", {"features": [None, *MASS[1:]]}),
    ("cells", {"features": MASS, "more": 1}),
    ("cells", {"features": [1e31, *MASS[1:]]}),
    ("churn", CUSTOMER | {"tenure": 121}),
    ("churn", CUSTOMER | {"tenure": 14.5}),
    ("churn", CUSTOMER | {"tenure": "14"}),
    ("churn", CUSTOMER | {"contract_type": "weekly"}),
    ("churn", CUSTOMER | {"senior_citizen": 0}),
    ("churn", CUSTOMER | {"surprise": 0}),
    ("churn", CUSTOMER | {"explain": "yes"}),
    ("churn", CUSTOMER | {"request_id": "x" * 129}),
    ("costs", {"size": "80", "rooms": 2, "new": True}),
    ("costs", {"size": 80, "rooms": 2}),
]


@pytest.mark.parametrize(("model", "body"), BAD_BODIES)
def test_document_and_server_refuse_the_same_bodies(facade: Serve, model: str, body: Any) -> None:
    """A client that validates against the document loses no valid request, and saves each invalid one."""
    http = facade(model).http
    page = page_of(http)
    schema = page["paths"]["/predict"]["post"]["requestBody"]["content"][JSON]["schema"]
    assert flaws(page, schema, body)
    assert http.post("/predict", json=body).status_code == 422


def test_vectors_have_thirty_numbers(facade: Serve) -> None:
    """The rule stands in the schema of the request, with the names of the features."""
    schemas = page_of(facade("cells").http)["components"]["schemas"]
    assert {"$ref": "#/components/schemas/Vector"} in [
        form["properties"].get("features") for form in schemas["PredictRequest"]["anyOf"]
    ]
    assert (schemas["Vector"]["minItems"], schemas["Vector"]["maxItems"]) == (30, 30)
    assert [part["title"] for part in schemas["Vector"]["prefixItems"]] == list(
        CATALOGUE["cells"].manifest.contract.names
    )


def test_named_values_are_described(facade: Serve) -> None:
    """Description, unit, bounds, words, example; no other keys."""
    request = page_of(facade("churn").http)["components"]["schemas"]["PredictRequest"]
    assert request["properties"]["tenure"] == {
        "type": "integer",
        "minimum": 0,
        "maximum": 120,
        "description": "The customer's tenure (months)",
        "examples": [14],
    }
    assert request["properties"]["contract_type"]["enum"] == ["month-to-month", "one-year", "two-year"]
    assert request["required"] == list(CUSTOMER)
    assert request["additionalProperties"] is False


@pytest.mark.parametrize(
    ("feature", "schema"),
    [
        (Feature(name="x", dtype="bool"), {"type": "boolean"}),
        (Feature(name="x", dtype="string"), {"type": "string"}),
        (
            Feature(name="x", dtype="string", categories=("a",), nullable=True),
            {"type": ["string", "null"], "enum": ["a", None]},
        ),
        (
            Feature(name="x", dtype="int", minimum=0, out_of_bounds="warn"),
            {"type": "integer", "minimum": -(2**53) + 1, "maximum": 2**53 - 1},
        ),
        (
            Feature(name="x", dtype="float", maximum=1, unit="m", nullable=True),
            {"type": ["number", "null"], "minimum": -1e30, "maximum": 1, "description": "(m)"},
        ),
    ],
    ids=["flag", "any word", "word or null", "bounds that only warn", "number or null"],
)
def test_a_feature_is_described_as_it_is_checked(feature: Feature, schema: dict[str, Any]) -> None:
    """Only what is refused is a rule of the schema."""
    assert feature_schema(feature) == schema


def test_examples_that_break_the_contract_are_not_shown() -> None:
    """Then the first golden row is, which the model is known to take."""
    contract = CATALOGUE["costs"].manifest.contract
    assert example_row(contract, [1.0, 2, True]) == [1.0, 2, True]
    churn = CATALOGUE["churn"].manifest.contract
    assert example_row(churn, []) == list(CUSTOMER.values())


def test_options_that_are_features_are_not_documented_as_options() -> None:
    """The contract's own names come first."""
    manifest = catalogue.echo("explain", "request_id").manifest
    assert predict_examples(manifest, [0.5, 0.5, 0.5]).keys() == {"named"}
    properties = facade_schemas(manifest)["PredictRequest"]["properties"]
    assert {schema["type"] for schema in properties.values()} == {"number"}


def test_every_documented_route_exists(facade: Serve) -> None:
    """Asked with its method, each is known; unload is left out, since other tests need the model."""
    http = facade("cells").http
    page = page_of(http)
    for method, path, _ in operations(page):
        if not path.endswith("/unload"):
            assert http.request(method, address(path, page)).status_code not in (404, 405), path


def test_every_route_is_documented() -> None:
    """KServe's routes and ours are compared with the page, method by method."""
    server = BundleServer(load_settings(Path()), Metrics(CollectorRegistry()))
    app = server.app._app  # noqa: SLF001 - nothing but a test needs the app behind the gate
    assert isinstance(app, FastAPI)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # KServe's load and unload stand behind ours, under the same names
        shown = get_openapi(title="all", version="1", routes=app.routes)["paths"]
    routes = {(path, method) for path, methods in shown.items() for method in methods}
    assert ("/v2/models/{model_name}/infer", "post") in routes
    assert routes <= {(path, method) for method, path, _ in operations(document(None))}


@pytest.mark.parametrize("model", [*published.MODELS, None])
def test_the_document_is_valid(model: str | None) -> None:
    """Every reference leads somewhere, every schema is one, and operations have names of their own."""
    page = document(None if model is None else published.MODELS[model])
    names = re.findall(r"'\$ref': '#/components/(\w+)/([^']+)'", str(page))
    assert [name for kind, name in names if name not in page["components"][kind]] == []
    for schema in page["components"]["schemas"].values():
        jsonschema_rs.meta.validate(schema)
    identifiers = [operation["operationId"] for _, _, operation in operations(page)]
    assert len(set(identifiers)) == len(identifiers)
    assert {tag for _, _, operation in operations(page) for tag in operation["tags"]} == {
        tag["name"] for tag in page["tags"]
    }


def test_bare_labels_are_documented(facade: Serve, tmp_path: Path) -> None:
    """With --v1_output label, v1 predictions are what they are."""
    del facade
    catalogue.write("flowers", tmp_path / "flowers")
    with serving(tmp_path / "flowers", "--v1_output=label", "--log_level=ERROR") as service:
        page = page_of(service.http)
        path = "/v1/models/{model_name}:predict"
        operation = page["paths"][path]["post"]
        example = operation["requestBody"]["content"][JSON]["examples"]["named"]["value"]
        answer = service.http.post(address(path, page), json=example).json()
        assert answer["predictions"] == ["setosa"]
        assert flaws(page, answer_schema(operation, page, 200), answer) == []


def test_the_document_follows_a_reload(tmp_path: Path) -> None:
    """The version that is served now is the one on the pages."""
    registry = catalogue.write_two_versions(tmp_path)
    with serving(registry, "--model_name=linear", "--log_level=ERROR") as service:
        assert "version `1.0.0`" in page_of(service.http)["info"]["description"]
        catalogue.promote(registry, "2.0.0")
        assert service.http.post("/admin/reload", headers={"x-admin-token": TOKEN}).status_code == 200
        assert "version `2.0.0`" in page_of(service.http)["info"]["description"]


@pytest.mark.parametrize("path", ["/docs", "/redoc"])
def test_the_pages_load_nothing_from_elsewhere(facade: Serve, path: str) -> None:
    """Whatever a page refers to is served beside it."""
    http = facade("churn").http
    page = http.get(path)
    assert page.headers["content-type"].startswith("text/html")
    assert "StreamFlow Churn Predictor" in page.text
    assert "://" not in page.text
    links = re.findall(r'(?:src|href)="(?!data:)([^"]+)"', page.text)
    assert links
    for link in links:
        assert http.get(f"/{link}").status_code == 200, link
    assert "openapi.json" in page.text


def test_only_the_pages_own_files_are_given(facade: Serve) -> None:
    """No other name, and no way out of the folder."""
    http = facade("churn").http
    for name in ("LICENSE", "..%2f__init__.py", "%2e%2e/standalone_docs.py", ""):
        assert http.get(f"/docs/assets/{name}").status_code == 404


def test_the_pages_can_be_turned_off(tmp_path: Path) -> None:
    """KServe has a setting for it, and so do we, under the same name."""
    catalogue.write("echo", tmp_path / "echo")
    with serving(tmp_path / "echo", "--enable_docs_url=false", "--log_level=ERROR") as service:
        assert {path: service.http.get(path).status_code for path in PAGES} == dict.fromkeys(PAGES, 404)


def test_titles_are_escaped(tmp_path: Path) -> None:
    """A bundle's words are text on the pages, never markup."""
    catalogue.write("echo", tmp_path / "echo", serving=Serving(title="<script>alert(1)</script>"))
    with serving(tmp_path / "echo", "--log_level=ERROR") as service:
        assert "<script>alert" not in service.http.get("/docs").text + service.http.get("/redoc").text


def test_datatypes_are_those_of_the_protocol() -> None:
    """The documented ones are the decoded ones."""
    assert component_schemas()["InputTensor"]["properties"]["datatype"]["enum"] == list(DATATYPES)


# --- what clients were promised ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", published.MODELS)
def test_clients_of_the_published_document_keep_working(name: str) -> None:
    """A breaking change needs a new prefix; ``published`` says how to write it down."""
    assert breaks(published.published(name), published.today(name)) == []


@pytest.mark.parametrize("name", published.MODELS)
def test_the_published_document_is_todays(name: str) -> None:
    """Additions are promises too: run ``python -m tests.model_server.edge.api.published`` to write them down."""
    assert published.published(name) == published.today(name)


SCHEMAS = ("components", "schemas")
PREDICT, INFER = ("paths", "/predict", "post"), ("paths", "/v2/models/{model_name}/infer", "post")
REQUEST, ANSWER = (*SCHEMAS, "PredictRequest", "properties"), (*SCHEMAS, "PredictResponse", "properties")
FIELD, LIST = (*SCHEMAS, "InputTensor", "properties"), (*SCHEMAS, "BatchRequest", "oneOf", 0, "properties", "instances")
BODY = {"required": True, "content": {JSON: {"schema": {"type": "object"}}}}
NEEDED = {"name": "page", "in": "query", "required": True, "schema": {"type": "integer"}}

#: Where the published document is changed, what then stands there, and what oasdiff calls it.
CHANGES: dict[str, tuple[Place, Any, str]] = {
    "a route goes": (("paths", "/v1/predict"), None, "api-path-removed-without-deprecation"),
    "a method goes": (("paths", "/health", "get"), None, "api-removed-without-deprecation"),
    "a token is asked for": ((*PREDICT, "security"), [{"adminToken": []}], "api-security-anonymous-access-removed"),
    # Parameters.
    "a parameter goes": ((*PREDICT, "parameters"), [], "request-parameter-removed"),
    "a parameter becomes required": (
        ("components", "parameters", "explain", "required"),
        True,
        "request-parameter-became-required",
    ),
    "a new parameter is required": (
        ("paths", "/health", "get", "parameters"),
        [NEEDED],
        "new-required-request-parameter",
    ),
    "a parameter's type changes": (
        ("components", "parameters", "explain", "schema", "type"),
        "integer",
        "request-parameter-type-changed",
    ),
    "a parameter's bound tightens": (
        ("components", "parameters", "Inference-Header-Content-Length", "schema", "minimum"),
        1,
        "request-parameter-min-increased",
    ),
    "a parameter's word goes": (
        (*INFER, "parameters", 0, "schema", "enum"),
        ["other"],
        "request-parameter-enum-value-removed",
    ),
    # Bodies of requests.
    "a body becomes required": (("paths", "/admin/reload", "post", "requestBody"), BODY, "request-body-added-required"),
    "binary data goes": (
        (*INFER, "requestBody", "content", "application/octet-stream"),
        None,
        "request-body-media-type-removed",
    ),
    "a value becomes required": (
        (*SCHEMAS, "PredictRequest", "required"),
        [*CUSTOMER, "explain"],
        "request-property-became-required",
    ),
    "a value is no longer taken": ((*SCHEMAS, "Record", "properties", "tenure"), None, "request-property-removed"),
    "a value's type changes": ((*REQUEST, "tenure", "type"), "string", "request-property-type-changed"),
    "null is refused": ((*REQUEST, "request_id", "type"), "string", "request-property-became-not-nullable"),
    "a word goes": (
        (*REQUEST, "contract_type", "enum"),
        ["one-year"],
        "request-property-enum-value-removed",
    ),
    "words are listed": ((*FIELD, "name", "enum"), ["a"], "request-property-became-enum"),
    "one word is left": ((*FIELD, "name", "const"), "a", "request-property-const-added"),
    "an upper bound falls": ((*REQUEST, "tenure", "maximum"), 100, "request-property-max-decreased"),
    "a lower bound rises": ((*REQUEST, "tenure", "minimum"), 5, "request-property-min-increased"),
    "a bound is new": ((*FIELD, "shape", "items", "maximum"), 5, "request-property-max-set"),
    "a text must be shorter": ((*FIELD, "name", "maxLength"), 10, "request-property-max-length-decreased"),
    "a text must be longer": ((*FIELD, "name", "minLength"), 5, "request-property-min-length-increased"),
    "a list must be shorter": ((*LIST, "maxItems"), 10, "request-property-max-items-decreased"),
    "a list must be longer": ((*LIST, "minItems"), 2, "request-property-min-items-increased"),
    "an element's type changes": ((*FIELD, "shape", "items", "type"), "string", "request-property-type-changed"),
    "the first element's bound tightens": (
        (*SCHEMAS, "Vector", "prefixItems", 0, "maximum"),
        1,
        "request-property-max-decreased",
    ),
    "a form of the body goes": ((*SCHEMAS, "BatchRequest", "oneOf", 1), None, "request-body-one-of-removed"),
    "one form tightens": (
        (*SCHEMAS, "InferenceRequest", "properties", "id", "anyOf", 0, "maxLength"),
        10,
        "request-property-max-length-decreased",
    ),
    # Answers.
    "success has another status": (
        ("paths", "/ready", "get", "responses", "200"),
        None,
        "response-success-status-removed",
    ),
    "a binary answer goes": (
        (*INFER, "responses", "200", "content", "application/octet-stream"),
        None,
        "response-media-type-removed",
    ),
    "a header goes": (
        (*PREDICT, "responses", "200", "headers", "x-request-id"),
        None,
        "optional-response-header-removed",
    ),
    "an error's header goes": (
        ("components", "responses", "Error422", "headers"),
        {},
        "optional-response-header-removed",
    ),
    "a key of an answer goes": ((*ANSWER, "risk_tier"), None, "response-required-property-removed"),
    "an optional key of an answer goes": (
        (*SCHEMAS, "InferenceResponse", "properties", "parameters"),
        None,
        "response-optional-property-removed",
    ),
    "a key of the error goes": (
        (*SCHEMAS, "Error", "properties", "violations"),
        None,
        "response-optional-property-removed",
    ),
    "an answer's key may be absent": (
        (*SCHEMAS, "PredictResponse", "required"),
        [],
        "response-property-became-optional",
    ),
    "an answer's type changes": ((*ANSWER, "churn_probability", "type"), "string", "response-property-type-changed"),
    "an answer may be null": (
        (*SCHEMAS, "Health", "properties", "status", "type"),
        ["string", "null"],
        "response-property-became-nullable",
    ),
    "an answer has a new form": (
        (*SCHEMAS, "Health", "properties", "model_version", "anyOf"),
        [{"type": "string"}, {"type": "null"}, {"type": "integer"}],
        "response-property-list-of-types-widened",
    ),
    "an answer's element changes": (
        (*SCHEMAS, "ModelMetadata", "properties", "versions", "items", "type"),
        "integer",
        "response-property-type-changed",
    ),
    "an answer has new words": (
        (*ANSWER, "risk_tier", "enum"),
        ["low", "medium", "high", "extreme"],
        "response-property-enum-value-added",
    ),
    "an answer has any words": ((*ANSWER, "risk_tier", "enum"), None, "response-property-became-not-enum"),
    "an answer's only word changes": (
        (*SCHEMAS, "Alive", "properties", "status", "const"),
        "ok",
        "response-property-const-changed",
    ),
    "an answer's upper bound rises": ((*ANSWER, "churn_probability", "maximum"), 2, "response-property-max-increased"),
    "an answer's lower bound falls": (
        (*SCHEMAS, "BatchResponse", "properties", "batch_size", "minimum"),
        0,
        "response-property-min-decreased",
    ),
    "an answer has no bound": ((*ANSWER, "churn_probability", "maximum"), None, "response-property-max-unset"),
}


def changed(place: Place, value: Any) -> Any:
    """Change one thing in the published document; None takes it away."""
    page = copy.deepcopy(published.published("risk"))
    part: Any = page
    for key in place[:-1]:
        part = part[key]
    if value is None:
        del part[place[-1]]
    else:
        part[place[-1]] = value
    return page


@pytest.mark.parametrize("change", CHANGES)
def test_a_breaking_change_is_found(change: str) -> None:
    """Each of these would break a client."""
    place, value, name = CHANGES[change]
    found = breaks(published.published("risk"), changed(place, value))
    assert any(f": {name}: " in line for line in found), found


ADDITIONS: dict[str, tuple[Place, Any]] = {
    "a route": (("paths", "/api/v2/predict"), {"post": {"responses": {}}}),
    "an optional key of a request": ((*SCHEMAS, "PredictRequest", "properties", "more"), {"type": "string"}),
    "a key of an answer": ((*SCHEMAS, "PredictResponse", "properties", "more"), {"type": "string"}),
    "a wider bound": ((*SCHEMAS, "PredictRequest", "properties", "tenure", "maximum"), 200),
    "one word less in answers": ((*SCHEMAS, "PredictResponse", "properties", "risk_tier", "enum"), ["low", "high"]),
    "one form more in requests": (
        (*SCHEMAS, "InferenceRequest", "properties", "id", "anyOf"),
        [{"type": "string", "maxLength": 1024}, {"type": "null"}, {"type": "integer"}],
    ),
    "one form less in answers": ((*SCHEMAS, "Health", "properties", "model", "anyOf", 1), None),
    "an error that no longer happens": (("paths", "/predict", "post", "responses", "501"), None),
}


@pytest.mark.parametrize("addition", ADDITIONS)
def test_a_compatible_change_is_let_through(addition: str) -> None:
    """Each of these breaks nobody."""
    assert breaks(published.published("risk"), changed(*ADDITIONS[addition])) == []
