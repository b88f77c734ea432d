"""A server in a thread of this process, for tests and notebooks."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from model_server.edge.server import BundleServer
from model_server.errors import BugError, BundleError, ModelServerError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from model_server.serving.observers import Observer
    from model_server.settings import Settings
    from model_server.telemetry.metrics import Metrics


class RunningServer:
    """A server that this process started beside its other work; signals do not reach it."""

    def __init__(self, settings: Settings, metrics: Metrics, observers: Sequence[Observer] = ()) -> None:
        """Start it and wait until its ports are open.

        Args:
            settings: Its settings; ports of 0 are chosen by the system.
            metrics: Its metrics.
            observers: Watch its predictions.
        """
        #: Set when the first attempt to load has ended, whether it succeeded or not.
        self.loaded = threading.Event()
        self._server = BundleServer(settings, metrics, self.loaded.set, observers)
        self._thread = threading.Thread(target=self._run, name="model-server", daemon=True)
        self.failure: ModelServerError | None = None
        self._thread.start()
        while not self._server.listening.wait(0.05):
            if not self._thread.is_alive():
                raise self._ended()

    def _ended(self) -> ModelServerError:
        return self.failure or BundleError("the server ended before it listened")

    def _run(self) -> None:
        try:
            self._server.start()
        except ModelServerError as error:
            self.failure = error

    @property
    def http_port(self) -> int:
        """Port that HTTP listens on."""
        return int(self._server.http_port)

    @property
    def grpc_port(self) -> int:
        """Port that gRPC listens on."""
        return int(self._server.grpc_port)

    def stop(self, timeout_s: float = 30.0) -> None:
        """Shut it down in order and wait for its end.

        Raises:
            BugError: It did not end within ``timeout_s``.
        """
        if self._thread.is_alive():
            self._server.stop_soon()
        self._thread.join(timeout_s)
        if self._thread.is_alive():
            raise BugError(f"the server did not stop within {timeout_s:g} s")
