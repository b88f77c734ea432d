"""Composition of the HTTP side: KServe's routes, our additions, error handlers, and the lean door in front.

The whole stack is the list in ``create_app``; what it is composed of knows nothing of the composition.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from kserve import errors as kserve_errors
from kserve.protocol.rest.v1_endpoints import register_v1_endpoints
from kserve.protocol.rest.v2_endpoints import V2Endpoints, register_v2_endpoints
from prometheus_client import exposition
from pydantic import ValidationError
from starlette.exceptions import HTTPException

from model_server.edge import door
from model_server.edge.admin import Guard, admin_router
from model_server.edge.dataplane import CheckedDataPlane, GuardedExtension
from model_server.edge.door import Door
from model_server.edge.facade import FACADE_PATHS, facade_router
from model_server.edge.health import health_router
from model_server.edge.hotpath import HotPath
from model_server.edge.pages import pages_router
from model_server.errors import (
    BugError,
    DecodeError,
    MethodNotAllowed,
    ModelNotFound,
    ModelNotReady,
    ModelServerError,
    NotSupported,
    RouteNotFound,
    describe,
)
from model_server.telemetry import Stopwatch

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

    from model_server.edge.core import Core
    from model_server.edge.repository import BundleRepository
    from model_server.settings import Settings
    from model_server.telemetry import Telemetry

# KServe's exceptions, told apart by class, as the errors that they mean here. Their texts are KServe's and name only
# the model, except InvalidInput's, which may quote what the client sent.
_KSERVE_ERRORS: dict[type[Exception], type[ModelServerError]] = {
    kserve_errors.ModelNotFound: ModelNotFound,
    kserve_errors.ModelNotReady: ModelNotReady,
    kserve_errors.ServerNotReady: ModelNotReady,
    kserve_errors.InvalidInput: DecodeError,
    NotImplementedError: NotSupported,
}
_TEXTS: dict[type[ModelServerError], str] = {
    ModelNotFound: "there is no such model here",
    ModelNotReady: "the model is not ready",
    DecodeError: "the request is not valid for this route",
    NotSupported: "this call is not supported",
}


def create_app(core: Core, telemetry: Telemetry, settings: Settings) -> Door:
    """Build the ASGI application that is served, in tests and in production alike.

    Args:
        core: What answers.
        telemetry: Counts and logs.
        settings: The process's settings.

    Returns:
        The door; what it does not answer itself, KServe's app behind it does.
    """
    repository = core.repository
    bare = settings.v1_output == "label"
    # KServe's routes come without descriptions worth showing, so the pages are ours.
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False)
    guard = Guard(settings.api_admin_token, is_local=settings.app_env == "local", workers=settings.workers)
    dataplane, extension = CheckedDataPlane(repository), GuardedExtension(repository)
    _add_error_handlers(app)
    # Of two routes for one path the first counts: ours stand before KServe's.
    _add_own_routes(app, core, dataplane, telemetry.metrics.registry)
    app.include_router(health_router(repository, Stopwatch()))
    app.include_router(facade_router(core))
    if settings.enable_docs_url:
        app.include_router(pages_router(repository, bare=bare))
    app.include_router(admin_router(repository, guard))
    register_v1_endpoints(app, dataplane, extension)
    register_v2_endpoints(app, dataplane, extension)
    hot = HotPath(core, bare=bare, answers=settings.hot_path)
    return Door(app, hot, repository, telemetry, max_body_bytes=settings.max_body_bytes)


class VersionedEndpoints(V2Endpoints):
    """KServe's v2 routes for ``versions/{v}``, where KServe itself answers 501 (kserve#4655)."""

    def __init__(self, dataplane: CheckedDataPlane, repository: BundleRepository) -> None:
        """Bind the repository, which knows the served version."""
        super().__init__(dataplane)
        self._repository = repository

    async def version_metadata(self, model_name: str, model_version: str) -> dict[str, Any]:
        """Describe the model, if it is served in that version."""
        self._repository.require(model_name, model_version)
        description: dict[str, Any] = await self.dataplane.model_metadata(model_name)
        return description

    async def version_ready(self, model_name: str, model_version: str) -> dict[str, Any]:
        """Say that the model is ready, if it is served in that version."""
        self._repository.require(model_name, model_version)
        answer: dict[str, Any] = (await self.model_ready(model_name)).model_dump()
        return answer

    async def version_infer(self, raw_request: Request, model_name: str, model_version: str) -> Any:
        """Infer by KServe's own route, if the model is served in that version."""
        self._repository.require(model_name, model_version)
        response = Response()
        del response.headers["content-length"]  # of the empty body; KServe puts the binary one in later
        body = await raw_request.body()
        request = body if "inference-header-content-length" in raw_request.headers else _inference_request(body)
        return await self.infer(raw_request, response, model_name, request)

    async def server_ready(self) -> dict[str, bool]:
        """Say whether all models are ready."""
        if not await self.dataplane.ready():
            raise ModelNotReady("the model is not ready")
        return {"ready": True}


def _inference_request(body: bytes) -> Any:
    from kserve.protocol.rest.v2_datamodels import InferenceRequest

    try:
        return InferenceRequest.model_validate_json(body)
    except ValidationError as error:
        raise DecodeError(describe(error)) from error


def _add_own_routes(app: FastAPI, core: Core, dataplane: CheckedDataPlane, registry: CollectorRegistry) -> None:
    own = VersionedEndpoints(dataplane, core.repository)
    model = "/v2/models/{model_name}"
    version = model + "/versions/{model_version}"
    app.add_api_route("/", dataplane.live, methods=["GET"], tags=["health"])
    app.add_api_route("/metrics", _metrics_of(registry), methods=["GET"], include_in_schema=False)
    app.add_api_route("/v2/health/ready", own.server_ready, methods=["GET"], tags=["V2"])
    # KServe's route of the same path and operation describes it on the OpenAPI page.
    app.add_api_route(model, dataplane.model_metadata, methods=["GET"], include_in_schema=False)
    app.add_api_route(version, own.version_metadata, methods=["GET"], tags=["V2"])
    app.add_api_route(version + "/ready", own.version_ready, methods=["GET"], tags=["V2"])
    app.add_api_route(
        version + "/infer",
        own.version_infer,
        methods=["POST"],
        response_model=None,
        tags=["V2"],
        include_in_schema=False,
    )
    app.add_api_route("/v2/repository/index", _index(core.repository), methods=["POST"], tags=["V2"])


def _index(repository: BundleRepository) -> Any:
    async def index() -> list[dict[str, str]]:
        """List the model and its state."""
        name = repository.model_name
        if name is None:
            return []
        version = {"version": repository.served.version} if repository.served else {}
        state = {"state": "READY"} if repository.is_ready else {"state": "UNAVAILABLE", "reason": "not loaded"}
        return [{"name": name, **version, **state}]

    return index


def _metrics_of(registry: CollectorRegistry) -> Any:
    async def metrics(request: Request) -> Response:
        encoder, content_type = exposition.choose_encoder(request.headers.get("accept", ""))
        return Response(encoder(registry), headers={"content-type": content_type})

    return metrics


def _add_error_handlers(app: FastAPI) -> None:
    app.add_exception_handler(ModelServerError, _own_error)
    app.add_exception_handler(RequestValidationError, _validation_error)
    app.add_exception_handler(HTTPException, _http_error)
    for error_class in _KSERVE_ERRORS:
        app.add_exception_handler(error_class, _kserve_error)
    app.add_exception_handler(Exception, _unknown_error)


def _render(request: Request, error: ModelServerError, status: int | None = None) -> Response:
    on_facade = request.url.path in FACADE_PATHS
    response = door.error_response(
        request.scope["exchange"], error, status or (error.facade_status if on_facade else None)
    )
    return Response(
        response.body, response.status, headers={name.decode(): value.decode() for name, value in response.headers}
    )


async def _own_error(request: Request, error: Exception) -> Response:
    if isinstance(error, BugError) or not isinstance(error, ModelServerError):
        raise error
    return _render(request, error)


async def _kserve_error(request: Request, error: Exception) -> Response:
    meant = next(ours for theirs, ours in _KSERVE_ERRORS.items() if isinstance(error, theirs))
    return _render(request, meant(_TEXTS[meant]))


async def _validation_error(request: Request, error: Exception) -> Response:
    flaws = error.errors() if isinstance(error, RequestValidationError) else []
    # A pydantic error quotes its input, and a NaN in it cannot even be rendered (500): only place and rule go out.
    places = "; ".join(f"{'.'.join(map(str, flaw['loc'][1:])) or 'body'}: {flaw['msg']}" for flaw in flaws[:10])
    return _render(request, DecodeError(places or "the request is not valid for this route"))


async def _http_error(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else HTTPStatus.INTERNAL_SERVER_ERROR
    if status == HTTPStatus.NOT_FOUND:
        return _render(request, RouteNotFound("there is no such path; /docs lists the routes"))
    if status == HTTPStatus.METHOD_NOT_ALLOWED:
        response = _render(request, MethodNotAllowed("this path does not take that HTTP method"))
        response.headers.update(getattr(error, "headers", None) or {})
        return response
    return _render(request, DecodeError("the request is not valid for this route"), status)


async def _unknown_error(request: Request, _error: Exception) -> Response:
    # Starlette raises it again behind this answer, and the door, which catches it, writes the log line.
    return _render(request, BugError(door.INTERNAL))
