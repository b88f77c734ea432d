"""Service: validation, queueing and prediction of a call, the same for every protocol.

Rows are checked before anything else sees them; the requests of all protocols meet in one batcher. A model runs in our
own executor unless its batches are known to be short: KServe runs a plain ``predict`` on the loop, however long it
takes, where it stalls probes and gRPC (kserve#3950), and the executor that its ``--max_asyncio_workers`` sizes never
reaches the loop that serves.
"""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING

from model_server.errors import ContractError
from model_server.frame import join_frames
from model_server.serving.batching import Limits, MicroBatcher
from model_server.serving.call import Call, Result, check_outputs, check_rows
from model_server.serving.observers import Observers
from model_server.serving.runner import BatchKey, BatchRunner

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from model_server.contract import Contract
    from model_server.frame import Frame
    from model_server.serving.loaded import LoadedBundle
    from model_server.serving.repository import BundleRepository
    from model_server.telemetry.metrics import Metrics

#: Rows that are checked in one turn of the loop, in half a millisecond or a little more.
TURN_ROWS = 512
_FREED_VALUES = 8192


class Service:
    """Answers calls with whatever bundle is served at that moment."""

    def __init__(  # noqa: PLR0913, PLR0917 - the composition root names each part once
        self,
        repository: BundleRepository,
        executor: Executor,
        metrics: Metrics,
        max_rows: int,
        limits: Limits = Limits(),  # noqa: B008 - frozen
        observers: Observers | None = None,
    ) -> None:
        """Bind the parts.

        Args:
            repository: Gives the served bundle.
            executor: Runs the model.
            metrics: Counts rows, times and broken rules.
            max_rows: Most rows of one request.
            limits: What bounds the batcher.
            observers: Watch predictions; None for nobody.
        """
        self.repository = repository
        self._executor = executor
        self._max_rows = max_rows
        self._batch_rows = limits.batch_rows
        self._small_rows = min(limits.batch_rows, max_rows)
        self._runner = BatchRunner(metrics, Observers() if observers is None else observers)
        self._last_key: BatchKey | None = None
        self._batcher: MicroBatcher[BatchKey, Call | Frame, Result] = MicroBatcher(self._runner, executor, limits)

    def submit(self, loaded: LoadedBundle, call: Call, deadline_s: float = math.inf) -> asyncio.Future[Result]:
        """Put a call into the queue of the model.

        The values of a large call are freed as soon as they are checked: 15,000 of them in each waiting request would
        fill the processor's cache.

        Args:
            loaded: The bundle that was required for it; it answers, whatever is served when its turn comes.
            call: The decoded request.
            deadline_s: When it is too late to begin, by the monotonic clock.

        Returns:
            Its result; cancelling takes the call out of the queue. It fails with a ContractError when a row breaks the
            contract, with NotSupported when reasons or contributions were asked for and the estimator cannot be
            explained, and with Overloaded when the deadline passed in the queue.

        Raises:
            UnknownOutput: A requested output is none of the model's.
            Overloaded: The queue of the model is full.
        """
        if call.outputs:
            check_outputs(call, loaded.contract)
        n_rows = call.n_rows
        # A small call is checked with those that it is predicted with; a large one is not to keep them waiting.
        if 0 < n_rows <= self._small_rows:
            return self._queue(loaded, call, call, n_rows, deadline_s)
        return asyncio.get_running_loop().create_task(self._large(loaded, call, deadline_s))

    async def _large(self, loaded: LoadedBundle, call: Call, deadline_s: float) -> Result:
        frame = await self._checked(call, loaded.contract)
        await _free(call)
        return await self._queue(loaded, call, frame, frame.n_rows, deadline_s)

    def _queue(
        self, loaded: LoadedBundle, call: Call, item: Call | Frame, n_rows: int, deadline_s: float
    ) -> asyncio.Future[Result]:
        key = self._last_key
        if key is None or key.loaded is not loaded or (key.options is not call.options and key.options != call.options):
            key = self._last_key = BatchKey(loaded, call.options)
        return self._batcher.submit(key, item, n_rows, deadline_s)

    async def _checked(self, call: Call, contract: Contract) -> Frame:
        if self._batch_rows < call.n_rows <= self._max_rows:
            frame = await self._checked_in_parts(call, contract)
            if frame is not None:
                return frame
            # Saying what is wrong with a large request takes long; a thread at least takes turns with the loop.
            return await asyncio.get_running_loop().run_in_executor(self._executor, self._frame, call, contract)
        return self._frame(call, contract)

    async def _checked_in_parts(self, call: Call, contract: Contract) -> Frame | None:
        """Check a large request, a very large one some rows a turn; None when it breaks the contract somewhere."""
        frames: list[Frame] = []
        try:
            for part in call.parts(max(self._batch_rows, TURN_ROWS)):
                if frames:
                    await asyncio.sleep(0)
                frames.append(part.frame(contract))
        except ContractError:
            return None
        for frame in frames:
            self._runner.count_warned(frame)
        return join_frames(frames)

    def _frame(self, call: Call, contract: Contract) -> Frame:
        try:
            check_rows(call, self._max_rows)
            frame = call.frame(contract)
        except ContractError as error:
            self._runner.count(error, contract)
            raise
        self._runner.count_warned(frame)
        return frame


async def _free(call: Call) -> None:
    """Free the values of a large call some at a time: freeing 300,000 of them takes milliseconds too."""
    for values in [call.rows, *(tensor.data for tensor in call.tensors)]:
        while isinstance(values, list) and values:
            del values[-_FREED_VALUES if not isinstance(values[-1], list | dict) else -_FREED_VALUES // 16 :]
            if values:
                await asyncio.sleep(0)
