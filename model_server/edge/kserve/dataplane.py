"""KServe's data plane with its gaps closed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kserve.constants.constants import PredictorProtocol
from kserve.protocol.dataplane import DataPlane
from kserve.protocol.model_repository_extension import ModelRepositoryExtension

from model_server import __version__
from model_server.errors import ModelNotReady
from model_server.wire.metadata import EXTENSIONS, SERVER_NAME, model_metadata

if TYPE_CHECKING:
    from kserve import ModelRepository

    from model_server.serving.repository import BundleRepository


class CheckedDataPlane(DataPlane):
    """KServe's data plane, with true readiness and without an echo of request headers."""

    def __init__(self, repository: BundleRepository, registry: ModelRepository) -> None:
        """Bind the repository, and KServe's view of it."""
        super().__init__(model_registry=registry)
        self._repository = repository

    def metadata(self) -> dict[str, Any]:
        """Describe this server, not KServe's library."""
        return {"name": SERVER_NAME, "version": __version__, "extensions": EXTENSIONS}

    async def ready(self) -> bool:
        """Say whether all models are ready (kserve#3262: KServe always says yes)."""
        return self._repository.is_ready

    async def model_ready(self, model_name: str, disable_predictor_health_check: bool = False) -> bool:  # noqa: FBT001, FBT002 - KServe's signature
        """Say whether the model is ready; while shutting down, requests are still answered.

        KServe's routes ask twice: probes without the flag, requests with it.

        Raises:
            ModelNotFound: Another name is served here.
        """
        if disable_predictor_health_check:
            self._repository.require(model_name)
            return True
        try:
            self._repository.check_name(model_name)
        except ModelNotReady:
            return False
        return self._repository.is_ready

    async def get_model(self, name: str) -> Any:
        """Give the model of a request; KServe's own would call a blocking ``load`` while the server shuts down.

        Raises:
            ModelNotFound: Another name is served here.
            ModelNotReady: No bundle is served.
        """
        self._repository.require(name)
        return self.get_model_from_registry(name)

    def decode(
        self,
        body: Any,
        headers: dict[str, str],
        protocol_version: str = PredictorProtocol.REST_V1.value,
        model_name: str | None = None,
    ) -> tuple[Any, dict[str, Any]]:
        """Leave v1 bytes to the model: its codec says what is wrong with them, and where."""
        if protocol_version == PredictorProtocol.REST_V1.value:
            return body, {}
        decoded: tuple[Any, dict[str, Any]] = super().decode(body, headers, protocol_version, model_name)
        return decoded

    async def model_metadata(self, model_name: str) -> dict[str, Any]:
        """Describe the served model, with its version."""
        loaded = self._repository.require(model_name)
        return model_metadata(loaded.name, loaded.version, loaded.contract)

    async def explain(
        self, model_name: str, request: Any, headers: dict[str, str] | None = None
    ) -> tuple[Any, dict[str, str]]:
        """Explain, without KServe's echo of the caller's request headers (Authorization included) in the answer."""
        response, _ = await super().explain(model_name, request, dict(headers or {}))
        return response, {}


class GuardedExtension(ModelRepositoryExtension):
    """KServe's load and unload with our own errors; who may call them is checked before."""

    async def load(self, model_name: str) -> None:
        """Load the wanted bundle anew and swap it in.

        Raises:
            BundleError: It cannot be served; what was served before still is.
        """
        await self._model_registry.load(model_name)
