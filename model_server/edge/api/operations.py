"""Every HTTP route: its purpose, parameters, request body, responses and errors."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from model_server.edge.api.contract import TEXT, Schema, ref
from model_server.edge.api.facade import batch_examples, predict_examples
from model_server.edge.api.protocols import explain_examples, v1_examples, v2_examples

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from model_server.edge.api.described import Described

JSON = "application/json"
#: Name of a query parameter and of a header, among the parameters of the document.
EXPLAIN, JSON_LENGTH = "explain", "Inference-Header-Content-Length"

_BODY_ERRORS = (413, 415)


@dataclass(frozen=True, slots=True)
class Operation:
    """One route and method.

    Attributes:
        path: Route template.
        method: HTTP method in lower case.
        tag: Group on the pages.
        summary: One line.
        answer: Schema of the answer.
        errors: Error statuses.
        body: Schema of the request body, or None where there is none.
        examples: Bodies that work as they are, by name.
        parameters: Parameters beside those of the path.
        unready: Schema of the answer 503.
        media: Media type of the answer.
        binary: Whether request and answer may hold binary tensor data.
    """

    path: str
    method: str
    tag: str
    summary: str
    answer: Schema
    errors: tuple[int, ...] = ()
    body: Schema | None = None
    examples: Mapping[str, Any] = field(default_factory=dict)
    parameters: tuple[str, ...] = ()
    unready: str = "Error"
    media: str = JSON
    binary: bool = False


def routes(model: Described | None) -> list[Operation]:
    """List every route.

    Args:
        model: The served model, or None while there is none; then no route has an example.
    """
    return [*_facade(model), *_v1(model), *_v2(model), *_health(), *_admin()]


def _facade(model: Described | None) -> Iterable[Operation]:
    one = {} if model is None else predict_examples(model.manifest, model.row)
    batch = {} if model is None else batch_examples(model.manifest, model.row)
    errors = (422, 500, 501, 503, *_BODY_ERRORS)
    for prefix in ("", "/v1"):
        yield Operation(
            f"{prefix}/predict",
            "post",
            "facade",
            "Predict for one row",
            ref("PredictResponse"),
            errors,
            ref("PredictRequest"),
            one,
            (EXPLAIN,),
        )
        yield Operation(
            f"{prefix}/predict/batch",
            "post",
            "facade",
            "Predict for many rows at once",
            ref("BatchResponse"),
            errors,
            ref("BatchRequest"),
            batch,
            (EXPLAIN,),
        )


def _v1(model: Described | None) -> Iterable[Operation]:
    base = "/v1/models/{model_name}"
    errors = (400, 404, 500, 501, 503, *_BODY_ERRORS)
    predict, explain = ({}, {}) if model is None else (v1_examples(model), explain_examples(model))
    request = ref("V1Request")
    yield Operation("/v1/models", "get", "v1", "List the models", ref("ModelList"))
    yield Operation(base, "get", "v1", "Say that the model is ready", ref("ModelReady"), (404, 503))
    yield Operation(f"{base}:predict", "post", "v1", "Predict", ref("V1Response"), errors, request, predict)
    yield Operation(f"{base}:explain", "post", "v1", "Explain", ref("V1Explanations"), errors, request, explain)


def _v2(model: Described | None) -> Iterable[Operation]:
    base = "/v2/models/{model_name}"
    errors = (400, 404, 500, 501, 503, *_BODY_ERRORS)
    examples = {} if model is None else v2_examples(model)
    request, response = ref("InferenceRequest"), ref("InferenceResponse")
    yield Operation("/v2", "get", "v2", "Describe the server", ref("ServerMetadata"))
    yield Operation("/v2/health/live", "get", "v2", "Say that the process lives", ref("Live"))
    yield Operation("/v2/health/ready", "get", "v2", "Say that requests are welcome", ref("ServerReady"), (503,))
    yield Operation("/v2/models", "get", "v2", "List the models", ref("ModelList"))
    for path in (base, f"{base}/versions/{{model_version}}"):
        yield Operation(path, "get", "v2", "Describe inputs and outputs", ref("ModelMetadata"), (404, 503))
        yield Operation(f"{path}/ready", "get", "v2", "Say that the model is ready", ref("ModelReady"), (404, 503))
        yield Operation(
            f"{path}/infer",
            "post",
            "v2",
            "Infer, with tensors as JSON or binary data",
            response,
            errors,
            request,
            examples,
            (JSON_LENGTH,),
            binary=True,
        )
    index = {"type": "array", "items": ref("IndexEntry")}
    yield Operation("/v2/repository/index", "post", "v2", "List the models and their states", index, _BODY_ERRORS)


def _health() -> Iterable[Operation]:
    yield Operation("/", "get", "health", "Say that the process lives", ref("Alive"))
    yield Operation("/health", "get", "health", "Say that the process lives, and what it serves", ref("Health"))
    yield Operation(
        "/ready", "get", "health", "Say that requests are welcome", ref("Ready"), (503,), unready="NotReady"
    )
    yield Operation("/metrics", "get", "health", "Give the metrics for Prometheus", TEXT, media="text/plain")


def _admin() -> Iterable[Operation]:
    errors = (403, 404, 500, 501, 503, *_BODY_ERRORS)
    base = "/v2/repository/models/{model_name}"
    yield Operation("/admin/reload", "post", "admin", "Fetch the bundle anew and swap it in", ref("Reloaded"), errors)
    yield Operation(f"{base}/load", "post", "admin", "Fetch the bundle anew and swap it in", ref("Loaded"), errors)
    yield Operation(f"{base}/unload", "post", "admin", "Stop serving until it is loaded again", ref("Unloaded"), errors)
