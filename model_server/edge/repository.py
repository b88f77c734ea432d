"""BundleRepository: load and swap; knows which bundle is served and why not, not how it is built or requests look.

The old bundle serves until the swap: a new one is built aside, and one assignment makes it the served one for every
protocol alike. A failed load leaves everything as it was.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from kserve import ModelRepository

from model_server.edge.served import build
from model_server.errors import ModelNotFound, ModelNotReady, ModelServerError, VersionNotFound
from model_server.telemetry import logger

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Executor

    from kserve import Model

    from model_server.edge.served import Served, Wanted
    from model_server.telemetry import Metrics


class BundleRepository(ModelRepository):
    """The one model of this process, in KServe's terms."""

    def __init__(self, wanted: Wanted, executor: Executor, metrics: Metrics) -> None:
        """Prepare, without loading.

        Args:
            wanted: What to load.
            executor: Runs the loading, apart from the event loop.
            metrics: Where loads are counted.
        """
        super().__init__()
        self.make_model: Callable[[str], Model] | None = None
        self._wanted = wanted
        self._executor = executor
        self._metrics = metrics
        self._lock = asyncio.Lock()
        self.served: Served | None = None
        self.failure: ModelServerError | None = None
        self.draining = False
        self.model: Model | None = None
        self._found_name: str | None = None

    @property
    def model_name(self) -> str | None:
        """Name on the routes, as far as it is known before loading."""
        return self._wanted.name or self._found_name

    @property
    def served_version(self) -> str:
        """Version of the served bundle, or empty."""
        return self.served.version if self.served else ""

    @property
    def is_ready(self) -> bool:
        """Whether requests should be sent here."""
        return self.served is not None and not self.draining

    def get_model(self, name: str) -> Model | None:
        """Give KServe's view of the served name, whether it is loaded or not."""
        return self.model if name == self.model_name else None

    def get_models(self) -> dict[str, Model]:
        """Give the served name and its model; empty while the name is not known."""
        return {self.model_name: self.model} if self.model_name and self.model else {}

    def require(self, name: str, version: str | None = None) -> Served:
        """Give the served bundle of a request.

        Raises:
            ModelNotFound: Another name is served here.
            VersionNotFound: Another version is served here.
            ModelNotReady: Nothing is served yet.
        """
        served = self.served
        if served is not None and name == served.name and not version:
            return served  # nearly always
        self.check_name(name)
        if served is None:
            raise ModelNotReady(f"model {name!r} is not ready: {self.why_not_ready}")
        if version and version != served.version:
            raise VersionNotFound(f"model {name!r} is served in version {served.version} only")
        return served

    def check_name(self, name: str) -> None:
        """Refuse a name that is not served here.

        Raises:
            ModelNotFound: It is not.
        """
        known = self.model_name
        if known is None:
            raise ModelNotReady(f"the model is not ready: {self.why_not_ready}")
        if name != known:
            raise ModelNotFound(f"there is no such model here; the served model is {known!r}")

    @property
    def why_not_ready(self) -> str:
        """What keeps requests away, in words."""
        if self.served is not None:
            return "the server is shutting down"
        if self.model is not None:
            return "the model was unloaded; load brings it back"
        return f"loading failed ({self.failure.slug})" if self.failure else "the model is still loading"

    async def load(self, name: str) -> bool:
        """Fetch and build the wanted bundle anew and swap it in; the old one serves until then.

        Args:
            name: Name on the routes.

        Returns:
            True.

        Raises:
            ModelNotFound: Another name is served here.
            BundleError: The bundle cannot be served; what was served before still is.
        """
        self.check_name(name)
        await self.reload()
        return True

    async def reload(self) -> Served:
        """Build the wanted bundle and swap it in.

        Raises:
            BundleError: The bundle cannot be served; what was served before still is.
        """
        async with self._lock:
            loop = asyncio.get_running_loop()
            try:
                served = await loop.run_in_executor(self._executor, build, self._wanted)
            except ModelServerError as error:
                self._metrics.loads.labels("failed").inc()
                self.failure = error
                raise
            self._swap(served)
            return served

    def _swap(self, served: Served) -> None:
        self._metrics.loads.labels("loaded").inc()
        self._metrics.load_seconds.set(served.load_s)
        self._metrics.info.clear()
        run_id = served.manifest.lineage.run_id
        self._metrics.info.labels(served.name, served.version, served.digest, run_id).set(1)
        self.served, self.failure, self._found_name = served, None, served.name
        self.model = self.make_model(served.name) if self.make_model else None
        logger.info("model loaded", extra={"fields": _identity(served)})

    def unload(self, name: str) -> None:
        """Stop serving; ``load`` brings the model back.

        Raises:
            ModelNotFound: Another name is served here, or nothing is loaded.
        """
        self.check_name(name)
        if self.served is None:
            raise ModelNotFound(f"model {name!r} is not loaded")
        self.served = None
        self._metrics.info.clear()
        logger.warning("model unloaded", extra={"fields": {"model_name": name}})


def _identity(served: Served) -> dict[str, object]:
    lineage = served.manifest.lineage
    return {
        "model_name": served.name,
        "model_version": served.version,
        "digest": served.digest,
        "approval": served.approval,
        "run_id": lineage.run_id,
        "git_commit": lineage.git_commit,
        "dataset_sha256": lineage.dataset.sha256,
        "predictor": served.predictor.model.name,
        "predictor_reason": served.why,
        "load_ms": round(served.load_s * 1000, 1),
    }
