"""BundleRepository: loading, hot swap and readiness of the one bundle that is served.

The old bundle serves until the swap: a new one is built aside, and one assignment makes it the served one for every
protocol alike. A failed load leaves everything as it was.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from model_server.errors import ModelNotFound, ModelNotReady, ModelServerError, VersionNotFound
from model_server.serving.loaded import build
from model_server.telemetry.logs import logger

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from model_server.serving.loaded import LoadedBundle, Wanted
    from model_server.telemetry.metrics import Metrics


class BundleRepository:
    """The one model of this process.

    Attributes:
        loaded: The bundle that is served, or None.
        was_loaded: Whether one was served before.
        failure: Why the last attempt to load failed, or None.
        draining: Whether the process is shutting down.
    """

    def __init__(self, wanted: Wanted, executor: Executor, metrics: Metrics) -> None:
        """Prepare, without loading.

        Args:
            wanted: What to load.
            executor: Runs the loading, apart from the event loop.
            metrics: Where loads are counted.
        """
        self._wanted = wanted
        self._executor = executor
        self._metrics = metrics
        self._lock = asyncio.Lock()
        self.loaded: LoadedBundle | None = None
        self.failure: ModelServerError | None = None
        self.draining = False
        self.was_loaded = False
        self._found_name: str | None = None

    @property
    def model_name(self) -> str | None:
        """Name on the routes, as far as it is known before loading."""
        return self._wanted.name or self._found_name

    @property
    def served_version(self) -> str:
        """Version of the served bundle, or empty."""
        return self.loaded.version if self.loaded else ""

    @property
    def is_ready(self) -> bool:
        """Whether requests should be sent here."""
        return self.loaded is not None and not self.draining

    def require(self, name: str, version: str | None = None) -> LoadedBundle:
        """Give the served bundle of a request.

        Raises:
            ModelNotFound: Another name is served here.
            VersionNotFound: Another version is served here.
            ModelNotReady: Nothing is served yet.
        """
        loaded = self.loaded
        if loaded is not None and name == loaded.name and not version:
            return loaded  # nearly always
        self.check_name(name)
        if loaded is None:
            raise ModelNotReady(f"model {name!r} is not ready: {self.why_not_ready}")
        if version and version != loaded.version:
            raise VersionNotFound(f"model {name!r} is served in version {loaded.version} only")
        return loaded

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
        if self.loaded is not None:
            return "the server is shutting down"
        if self.was_loaded:
            return "the model was unloaded; load brings it back"
        return f"loading failed ({self.failure.slug})" if self.failure else "the model is still loading"

    async def load(self, name: str) -> None:
        """Fetch and build the wanted bundle anew and swap it in; the old one serves until then.

        Args:
            name: Name on the routes.

        Raises:
            ModelNotFound: Another name is served here.
            BundleError: The bundle cannot be served; what was served before still is.
        """
        self.check_name(name)
        await self.reload()

    async def reload(self) -> LoadedBundle:
        """Build the wanted bundle and swap it in.

        Raises:
            BundleError: The bundle cannot be served; what was served before still is.
        """
        async with self._lock:
            loop = asyncio.get_running_loop()
            try:
                loaded = await loop.run_in_executor(self._executor, build, self._wanted)
            except ModelServerError as error:
                self._metrics.loads.labels("failed").inc()
                self.failure = error
                raise
            self._swap(loaded)
            return loaded

    def _swap(self, loaded: LoadedBundle) -> None:
        self._metrics.loads.labels("loaded").inc()
        self._metrics.load_seconds.set(loaded.load_s)
        self._metrics.info.clear()
        run_id = loaded.manifest.lineage.run_id
        self._metrics.info.labels(loaded.name, loaded.version, loaded.digest, run_id).set(1)
        self.loaded, self.failure, self._found_name = loaded, None, loaded.name
        self.was_loaded = True
        logger.info("model loaded", extra={"fields": _identity(loaded)})

    def unload(self, name: str) -> None:
        """Stop serving; ``load`` brings the model back.

        Raises:
            ModelNotFound: Another name is served here, or nothing is loaded.
        """
        self.check_name(name)
        if self.loaded is None:
            raise ModelNotFound(f"model {name!r} is not loaded")
        self.loaded = None
        self._metrics.info.clear()
        logger.warning("model unloaded", extra={"fields": {"model_name": name}})


def _identity(loaded: LoadedBundle) -> dict[str, object]:
    lineage = loaded.manifest.lineage
    return {
        "model_name": loaded.name,
        "model_version": loaded.version,
        "digest": loaded.digest,
        "approval": loaded.approval,
        "run_id": lineage.run_id,
        "git_commit": lineage.git_commit,
        "dataset_sha256": lineage.dataset.sha256,
        "predictor": loaded.predictor.model.name,
        "predictor_reason": loaded.why,
        "load_ms": round(loaded.load_s * 1000, 1),
    }
