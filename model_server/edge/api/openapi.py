"""The OpenAPI document: every route, with the bodies of the served model; a pure function of what is served."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from model_server import __version__
from model_server.edge.admin import TOKEN_HEADER
from model_server.edge.api.bodies import component_schemas
from model_server.edge.api.contract import TEXT, Schema, ref
from model_server.edge.api.facade import facade_schemas
from model_server.edge.api.operations import EXPLAIN, JSON, JSON_LENGTH, Operation, routes
from model_server.edge.api.protocols import protocol_schemas
from model_server.errors import ANSWERED, ModelNotReady, ModelServerError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from model_server.edge.api.described import Described

BINARY = "application/octet-stream"

_TAGS = {
    "facade": "Plain JSON in, plain JSON out. A request that breaks the contract answers 422.",
    "v1": "KServe's v1 protocol. A request that breaks the contract answers 400, as on v2 and gRPC.",
    "v2": "The Open Inference Protocol (v2), JSON or binary tensors; the gRPC port speaks it too.",
    "health": "For probes, load balancers and people.",
    "admin": f"Needs the token in the header {TOKEN_HEADER}.",
}
_HEADERS = {
    "x-request-id": "Identifier of the request: the caller's, if it sent a decent one in this header.",
    "x-model-version": "Version of the served model; absent before one is loaded.",
    "x-response-time-ms": "Milliseconds from the complete request to the answer, to 2 decimals.",
}
RETRY_AFTER = "retry-after"


def document(model: Described | None) -> dict[str, Any]:
    """Describe every route.

    Args:
        model: The served model, or None while there is none; then its bodies are any JSON objects.

    Returns:
        An OpenAPI 3.1 document.
    """
    paths: dict[str, Any] = {}
    for operation in routes(model):
        paths.setdefault(operation.path, {})[operation.method] = _render(operation, model)
    return {
        "openapi": "3.1.0",
        "info": _info(model),
        "tags": [{"name": name, "description": text} for name, text in _TAGS.items()],
        "paths": paths,
        "components": _components(model),
    }


def _info(model: Described | None) -> dict[str, Any]:
    about = "Models of scikit-learn behind plain JSON routes and KServe's v1 and v2 protocols. No model is loaded yet."
    if model is not None:
        manifest = model.manifest
        about = f"{manifest.description or model.name}. Model `{model.name}`, version `{manifest.version}`."
    rules = (
        "Every refused request answers one body: `error` says what is wrong and what to do, `code` is for programs, "
        "`violations` names feature, row and rule. Values are checked strictly: no string is taken for a number."
    )
    title = "Model server" if model is None else model.title
    return {"title": title, "version": __version__, "description": f"{about}\n\n{rules}"}


def _render(operation: Operation, model: Described | None) -> dict[str, Any]:
    rendered: dict[str, Any] = {
        "tags": [operation.tag],
        "summary": operation.summary,
        "operationId": _identifier(operation),
        "responses": _responses(operation),
    }
    names = [part.strip("{}") for part in operation.path.replace(":", "/").split("/") if part.startswith("{")]
    parameters = [_path_parameter(name, model) for name in names]
    parameters += [{"$ref": f"#/components/parameters/{name}"} for name in operation.parameters]
    if parameters:
        rendered["parameters"] = parameters
    if operation.body is not None:
        rendered["requestBody"] = _request_body(operation, operation.body)
    if operation.tag == "admin":
        rendered["security"] = [{"adminToken": []}]
    return rendered


def _identifier(operation: Operation) -> str:
    words = "".join(letter if letter.isalnum() else " " for letter in operation.path).split()
    return "_".join([operation.method, *words]) if words else "get_root"


def _path_parameter(name: str, model: Described | None) -> dict[str, Any]:
    values = {} if model is None else {"model_name": model.name, "model_version": model.manifest.version}
    schema = {**TEXT, "enum": [values[name]]} if name in values else TEXT
    return {"name": name, "in": "path", "required": True, "schema": schema}


def _request_body(operation: Operation, schema: Schema) -> dict[str, Any]:
    examples = {name: {"value": value} for name, value in operation.examples.items()}
    content: dict[str, Any] = {JSON: {"schema": schema, **({"examples": examples} if examples else {})}}
    if operation.binary:
        content[BINARY] = {
            "schema": {"description": f"The JSON part, {JSON_LENGTH} bytes, then the raw tensors in order."}
        }
    return {"required": True, "content": content}


def _responses(operation: Operation) -> dict[str, Any]:
    content: dict[str, Any] = {operation.media: {"schema": operation.answer}}
    if operation.binary:
        content[BINARY] = {"schema": {"description": "The JSON part, then the raw outputs that were wanted as binary."}}
    headers = _header_refs()
    if operation.binary:
        headers[JSON_LENGTH] = {"$ref": f"#/components/headers/{JSON_LENGTH}"}
    responses: dict[str, Any] = {"200": {"description": "Success.", "headers": headers, "content": content}}
    for status in sorted(operation.errors):
        name = f"{operation.unready if status == HTTPStatus.SERVICE_UNAVAILABLE else 'Error'}{status}"
        responses[str(status)] = {"$ref": f"#/components/responses/{name}"}
    return responses


def _header_refs() -> dict[str, Any]:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in _HEADERS}


def _components(model: Described | None) -> dict[str, Any]:
    return {
        "schemas": component_schemas() | (_any_bodies() if model is None else _bodies(model)),
        "responses": {
            **{f"Error{status}": _refusal(errors, "Error") for status, errors in _errors_by_status(model).items()},
            "NotReady503": _refusal([ModelNotReady], "NotReady"),
        },
        "headers": {
            **{name: {"schema": TEXT, "description": text} for name, text in _HEADERS.items()},
            RETRY_AFTER: {
                "schema": {"type": "integer"},
                "description": "Seconds to wait before the request is sent again; absent where waiting does not help.",
            },
            JSON_LENGTH: {
                "schema": {"type": "integer"},
                "description": "Size in bytes of the JSON part; absent without binary.",
            },
        },
        "parameters": _parameters(),
        "securitySchemes": {"adminToken": {"type": "apiKey", "in": "header", "name": TOKEN_HEADER}},
    }


def _bodies(model: Described) -> dict[str, Schema]:
    return facade_schemas(model.manifest) | protocol_schemas(model)


def _any_bodies() -> dict[str, Schema]:
    names = ("PredictRequest", "PredictResponse", "BatchRequest", "BatchResponse", "V1Request", "V1Response")
    return {name: {"type": "object", "description": "Known once a model is loaded."} for name in names}


def _errors_by_status(model: Described | None) -> dict[int, list[type[ModelServerError]]]:
    """Give the errors behind every status that some route documents."""
    documented = sorted({status for operation in routes(model) for status in operation.errors})
    return {
        status: [error for error in ANSWERED if status in (error.http_status, error.facade_status)]
        for status in documented
    }


def _refusal(errors: Sequence[type[ModelServerError]], schema: str) -> dict[str, Any]:
    meanings = [f"- `{error.slug}`: {(error.__doc__ or '').splitlines()[0]}" for error in errors]
    headers = _header_refs()
    if any(error.retry_after_s is not None for error in errors):
        headers[RETRY_AFTER] = {"$ref": f"#/components/headers/{RETRY_AFTER}"}
    return {"description": "\n".join(meanings), "headers": headers, "content": {JSON: {"schema": ref(schema)}}}


def _parameters() -> dict[str, Any]:
    return {
        EXPLAIN: {
            "name": EXPLAIN,
            "in": "query",
            "schema": {"type": "boolean"},
            "description": "Whether to give reasons; without it, only a model with tiers gives them.",
        },
        JSON_LENGTH: {
            "name": JSON_LENGTH,
            "in": "header",
            "schema": {"type": "integer", "minimum": 0},
            "description": "Size in bytes of the JSON part, where binary tensor data follows it.",
        },
    }
