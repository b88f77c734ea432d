"""Composition of the HTTP side: KServe's routes, our additions, error handlers, and the gate in front.

The whole stack is the list in ``create_app``; what it is composed of knows nothing of the composition.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastapi import FastAPI, Request
from fastapi.responses import Response
from kserve.protocol.rest.v1_endpoints import register_v1_endpoints
from kserve.protocol.rest.v2_endpoints import register_v2_endpoints
from prometheus_client import exposition

from model_server.edge.admin import Guard, admin_router
from model_server.edge.api.pages import pages_router
from model_server.edge.exchange import Accounting
from model_server.edge.http.failures import add_error_handlers
from model_server.edge.http.gate import Gate
from model_server.edge.http.health import health_router
from model_server.edge.http.inference import Inference
from model_server.edge.kserve.dataplane import CheckedDataPlane, GuardedExtension
from model_server.edge.kserve.registry import KServeRegistry
from model_server.edge.kserve.versions import VersionedEndpoints
from model_server.telemetry.stopwatch import Stopwatch

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

    from model_server.serving.repository import BundleRepository
    from model_server.serving.service import Service
    from model_server.settings import Settings
    from model_server.telemetry.requests import Telemetry


class KServeParts:
    """KServe's own classes with their gaps closed, which HTTP and gRPC share.

    Attributes:
        registry: KServe's view of our repository.
        dataplane: Answers everything but inference.
        extension: Loads and unloads.
        guard: Says who may.
    """

    def __init__(self, service: Service, settings: Settings) -> None:
        """Build them around a service."""
        self.registry = KServeRegistry(service, bare=settings.v1_output == "label")
        self.dataplane = CheckedDataPlane(service.repository, self.registry)
        self.extension = GuardedExtension(self.registry)
        local = settings.app_env == "local"
        self.guard = Guard(settings.api_admin_token, is_local=local, workers=settings.workers)


def create_app(service: Service, telemetry: Telemetry, settings: Settings, parts: KServeParts | None = None) -> Gate:
    """Build the ASGI application that is served, in tests and in production alike.

    Args:
        service: What answers.
        telemetry: Counts and logs.
        settings: The process's settings.
        parts: KServe's classes, where gRPC shares them; None to build them.

    Returns:
        The gate; what it does not answer itself, KServe's app behind it does.
    """
    repository, parts = service.repository, parts or KServeParts(service, settings)
    bare = settings.v1_output == "label"
    # KServe's routes come without descriptions worth showing, so the pages are ours.
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False)
    add_error_handlers(app)
    # Of two routes for one path the first counts: ours stand before KServe's.
    _add_own_routes(app, repository, parts.dataplane, telemetry.metrics.registry)
    app.include_router(health_router(repository, Stopwatch()))
    if settings.enable_docs_url:
        app.include_router(pages_router(repository, bare=bare))
    app.include_router(admin_router(repository, parts.guard))
    register_v1_endpoints(app, parts.dataplane, parts.extension)
    register_v2_endpoints(app, parts.dataplane, parts.extension)
    inference = Inference(service, bare=bare, is_lean=settings.hot_path)
    return Gate(app, inference, Accounting(repository, telemetry), max_body_bytes=settings.max_body_bytes)


def _add_own_routes(
    app: FastAPI, repository: BundleRepository, dataplane: CheckedDataPlane, registry: CollectorRegistry
) -> None:
    own = VersionedEndpoints(dataplane, repository)
    model = "/v2/models/{model_name}"
    version = model + "/versions/{model_version}"
    app.add_api_route("/", dataplane.live, methods=["GET"])
    app.add_api_route("/metrics", _metrics_of(registry), methods=["GET"])
    app.add_api_route("/v2/health/ready", own.server_ready, methods=["GET"])
    app.add_api_route(model, dataplane.model_metadata, methods=["GET"])
    app.add_api_route(version, own.version_metadata, methods=["GET"])
    app.add_api_route(version + "/ready", own.version_ready, methods=["GET"])
    app.add_api_route(version + "/infer", own.version_infer, methods=["POST"], response_model=None)
    app.add_api_route("/v2/repository/index", _index(repository), methods=["POST"])


def _index(repository: BundleRepository) -> Any:
    async def index() -> list[dict[str, str]]:
        """List the model and its state."""
        name = repository.model_name
        if name is None:
            return []
        version = {"version": repository.loaded.version} if repository.loaded else {}
        state = {"state": "READY"} if repository.is_ready else {"state": "UNAVAILABLE", "reason": "not loaded"}
        return [{"name": name, **version, **state}]

    return index


def _metrics_of(registry: CollectorRegistry) -> Any:
    async def metrics(request: Request) -> Response:
        encoder, content_type = exposition.choose_encoder(request.headers.get("accept", ""))
        return Response(encoder(registry), headers={"content-type": content_type})

    return metrics
