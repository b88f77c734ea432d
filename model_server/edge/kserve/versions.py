"""KServe's v2 routes for ``versions/{v}``, where KServe itself answers 501 (kserve#4655)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastapi import Request  # noqa: TC002 - FastAPI reads the annotation when the route is added
from fastapi.responses import Response
from kserve.protocol.rest.v2_datamodels import InferenceRequest
from kserve.protocol.rest.v2_endpoints import V2Endpoints
from pydantic import ValidationError

from model_server.errors import DecodeError, ModelNotReady, describe

if TYPE_CHECKING:
    from model_server.edge.kserve.dataplane import CheckedDataPlane
    from model_server.serving.repository import BundleRepository


class VersionedEndpoints(V2Endpoints):
    """Adds the version to KServe's own endpoints."""

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


def _inference_request(body: bytes) -> InferenceRequest:
    try:
        return InferenceRequest.model_validate_json(body)
    except ValidationError as error:
        raise DecodeError(describe(error)) from error
