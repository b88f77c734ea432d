"""Liveness and readiness for people and load balancers; asks the repository, never the model."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import orjson
from fastapi import APIRouter, Request
from fastapi.responses import Response

from model_server.edge.answers import error_document
from model_server.errors import ModelNotReady

if TYPE_CHECKING:
    from model_server.edge.repository import BundleRepository
    from model_server.edge.served import Served
    from model_server.telemetry import Stopwatch

#: What ``/health`` says before a bundle is loaded, which may have a word of its own.
ALIVE = "ok"


def health_router(repository: BundleRepository, watch: Stopwatch) -> APIRouter:
    """Make ``/health`` and ``/ready``.

    Args:
        repository: Knows what is served.
        watch: Runs since the process began.

    Returns:
        The router.
    """
    router = APIRouter(include_in_schema=False)

    async def health() -> Response:
        return _json(HTTPStatus.OK, health_document(repository.served, watch.elapsed_s))

    async def ready(request: Request) -> Response:
        if repository.is_ready:
            return _json(HTTPStatus.OK, {"status": "ready"})
        exchange = request.scope["exchange"]
        error = ModelNotReady(f"not ready: {repository.why_not_ready}")
        exchange.error_type = error.slug
        document = error_document(error, exchange.request_id) | {"detail": repository.why_not_ready}
        return _json(error.http_status, document)

    router.add_api_route("/health", health, methods=["GET"])
    router.add_api_route("/ready", ready, methods=["GET"])
    return router


def health_document(served: Served | None, uptime_s: float) -> dict[str, Any]:
    """Describe the process and what it serves."""
    return {
        "status": ALIVE if served is None else served.manifest.serving.health_status,
        "model_loaded": served is not None,
        "model_version": None if served is None else served.version,
        "uptime_seconds": round(uptime_s, 1),
        "model": None if served is None else _model(served),
    }


def _model(served: Served) -> dict[str, str]:
    lineage = served.manifest.lineage
    return {
        "name": served.name,
        "version": served.version,
        "digest": served.digest,
        "approval": served.approval,
        "run_id": lineage.run_id,
        "estimator": lineage.estimator,
        "dataset": lineage.dataset.name,
    }


def _json(status: int, document: dict[str, Any]) -> Response:
    return Response(orjson.dumps(document), status, media_type="application/json")
