"""Liveness and readiness for people and load balancers; asks the repository, never the model."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import orjson
from fastapi import APIRouter, Request
from fastapi.responses import Response

from model_server.edge.exchange import refusal_of
from model_server.errors import ModelNotReady
from model_server.wire.parts import error_document

if TYPE_CHECKING:
    from model_server.serving.loaded import LoadedBundle
    from model_server.serving.repository import BundleRepository
    from model_server.telemetry.stopwatch import Stopwatch

#: What ``/health`` says before a bundle is loaded, which may have a word of its own.
ALIVE = "ok"


def health_router(repository: BundleRepository, watch: Stopwatch) -> APIRouter:
    """Make ``/health`` and ``/ready``.

    Args:
        repository: Knows what is loaded.
        watch: Runs since the process began.

    Returns:
        The router.
    """
    router = APIRouter(include_in_schema=False)

    async def health() -> Response:
        return _json(HTTPStatus.OK, health_document(repository.loaded, watch.elapsed_s))

    async def ready(request: Request) -> Response:
        if repository.is_ready:
            return _json(HTTPStatus.OK, {"status": "ready"})
        exchange = request.scope["exchange"]
        error = refusal_of(exchange, ModelNotReady(f"not ready: {repository.why_not_ready}"))
        document = error_document(error, exchange.request_id) | {"detail": repository.why_not_ready}
        response = _json(error.http_status, document)
        response.headers["retry-after"] = str(error.retry_after_s)
        return response

    router.add_api_route("/health", health, methods=["GET"])
    router.add_api_route("/ready", ready, methods=["GET"])
    return router


def health_document(loaded: LoadedBundle | None, uptime_s: float) -> dict[str, Any]:
    """Describe the process and what it serves."""
    return {
        "status": ALIVE if loaded is None else loaded.manifest.serving.health_status,
        "model_loaded": loaded is not None,
        "model_version": None if loaded is None else loaded.version,
        "uptime_seconds": round(uptime_s, 1),
        "model": None if loaded is None else _model(loaded),
    }


def _model(loaded: LoadedBundle) -> dict[str, str]:
    lineage = loaded.manifest.lineage
    return {
        "name": loaded.name,
        "version": loaded.version,
        "digest": loaded.digest,
        "approval": loaded.approval,
        "run_id": lineage.run_id,
        "estimator": lineage.estimator,
        "dataset": lineage.dataset.name,
    }


def _json(status: int, document: dict[str, Any]) -> Response:
    return Response(orjson.dumps(document), status, media_type="application/json")
