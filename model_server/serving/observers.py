"""Observers of predictions, such as drift counts and shadow models: the one hook for them, outside the latency.

An observer is called once for each batch of predictions, in a background thread, after the answers were sent on. It
may fail or be slow: no request waits for it. Its queue is bounded; batches beyond it are dropped, and counted.
"""

from __future__ import annotations

import asyncio
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple, Protocol

from model_server.telemetry.logs import logger

if TYPE_CHECKING:
    from collections.abc import Sequence

    from model_server.frame import Frame
    from model_server.predictor import Prediction
    from model_server.serving.loaded import LoadedBundle

#: Rows that wait to be observed; those of a batch beyond them are dropped, unless it is alone.
MOST_ROWS = 20_000
#: Seconds that batches are gathered before the thread is woken: waking it for each would cost a lone request more.
GATHER_S = 0.02


class Observer(Protocol):
    """Watches predictions."""

    def observe(self, loaded: LoadedBundle, frame: Frame, prediction: Prediction) -> None:
        """Look at one batch.

        Args:
            loaded: The bundle that predicted.
            frame: The checked rows; read only, since answers may share them.
            prediction: One answer a row; read only as well.
        """
        ...


class _Batch(NamedTuple):
    loaded: LoadedBundle
    frame: Frame
    prediction: Prediction


class Observers:
    """Calls the observers; everything but ``_deliver`` runs on the event loop.

    Attributes:
        dropped_rows: Rows that nobody observed, because too many were waiting.
        failures: Calls of an observer that raised.
    """

    def __init__(self, observers: Sequence[Observer] = (), *, most_rows: int = MOST_ROWS) -> None:
        """Bind the observers.

        Args:
            observers: Called in this order.
            most_rows: Rows that may wait.
        """
        self.dropped_rows = 0
        self.failures = 0
        self._observers = tuple(observers)
        self._most_rows = most_rows
        self._waiting: deque[_Batch] = deque()
        self._waiting_rows = 0
        self._is_scheduled = False
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="observe")  # starts its thread with the first batch

    def __bool__(self) -> bool:
        return bool(self._observers)

    def note(self, loaded: LoadedBundle, frame: Frame, prediction: Prediction) -> None:
        """Enqueue a batch for the observers; called on the event loop, after its answers were sent on."""
        # One that is alone is let in whatever its size: ``batch_rows`` may be more than the bound.
        if self._waiting_rows and self._waiting_rows + frame.n_rows > self._most_rows:
            self.dropped_rows += frame.n_rows
            return
        self._waiting.append(_Batch(loaded, frame, prediction))
        self._waiting_rows += frame.n_rows
        if not self._is_scheduled:
            self._is_scheduled = True
            asyncio.get_running_loop().call_later(GATHER_S, self._hand_over, asyncio.get_running_loop())

    def close(self) -> None:
        """Shut the thread down; batches that still wait are dropped."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _hand_over(self, loop: asyncio.AbstractEventLoop) -> None:
        try:
            delivered = loop.run_in_executor(self._thread, self._deliver)
        except RuntimeError:  # closed
            return
        delivered.add_done_callback(lambda _: self._delivered(loop))

    def _delivered(self, loop: asyncio.AbstractEventLoop) -> None:
        self._waiting_rows = sum(batch.frame.n_rows for batch in self._waiting)
        self._is_scheduled = bool(self._waiting)
        if self._is_scheduled:
            loop.call_later(GATHER_S, self._hand_over, loop)

    def _deliver(self) -> None:
        for _ in range(len(self._waiting)):
            batch = self._waiting.popleft()
            for observer in self._observers:
                self._observe(observer, batch)

    def _observe(self, observer: Observer, batch: _Batch) -> None:
        try:
            observer.observe(*batch)
        except Exception:  # noqa: BLE001 - an observer is somebody else's code, and no answer depends on it
            self.failures += 1
            if self.failures.bit_count() == 1:  # the first, second, fourth …: a broken one must not fill the log
                logger.exception("an observer failed", extra={"fields": {"observer": type(observer).__name__}})
