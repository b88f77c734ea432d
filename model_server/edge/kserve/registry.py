"""Adapter of our repository to KServe's ModelRepository."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kserve import ModelRepository

from model_server.edge.kserve.model import KServeModel

if TYPE_CHECKING:
    from model_server.serving.service import Service


class KServeRegistry(ModelRepository):
    """The one model of this process, in KServe's terms."""

    def __init__(self, service: Service, *, bare: bool) -> None:
        """Bind the service.

        Args:
            service: What answers, and whose repository it is.
            bare: Whether v1 predictions are bare labels.
        """
        super().__init__()
        self._service = service
        self._repository = service.repository
        self._bare = bare
        self._made: KServeModel | None = None

    def get_model(self, name: str) -> KServeModel | None:
        """Give KServe's view of the served name, whether it is loaded or not; None before it was loaded once."""
        if name != self._repository.model_name or not self._repository.was_loaded:
            return None
        if self._made is None or self._made.name != name:
            self._made = KServeModel(name, self._service, bare=self._bare)
        return self._made

    def get_models(self) -> dict[str, KServeModel]:
        """Give the served name and its model; empty while there is none."""
        name = self._repository.model_name
        model = self.get_model(name) if name else None
        return {name: model} if name and model else {}

    async def load(self, name: str) -> bool:
        """Fetch and build the wanted bundle anew and swap it in.

        Raises:
            ModelNotFound: Another name is served here.
            BundleError: The bundle cannot be served; what was served before still is.
        """
        await self._repository.load(name)
        return True

    def unload(self, name: str) -> None:
        """Stop serving; ``load`` brings the model back.

        Raises:
            ModelNotFound: Another name is served here, or nothing is loaded.
        """
        self._repository.unload(name)
