"""Core: Call -> Answer, the one path that every protocol shares; knows no bytes and no framework.

Rows are checked before anything else sees them; the requests of all protocols meet in one batcher. A model runs in our
own executor unless its calls are known to be short: KServe runs a plain ``predict`` on the loop, however long it takes,
where it stalls probes and gRPC (kserve#3950), and the executor that its ``--max_asyncio_workers`` sizes never reaches
the loop that serves.
"""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING

from model_server.errors import ContractError
from model_server.frame import join_frames
from model_server.serving.batching import Limits, MicroBatcher
from model_server.serving.call import Answer, Call, check_outputs, check_rows
from model_server.serving.runner import Asked, Joint
from model_server.wire import documents as large

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from model_server.contract import Contract
    from model_server.explain import Explanation
    from model_server.frame import Frame
    from model_server.serving.loaded import Served
    from model_server.serving.repository import BundleRepository
    from model_server.serving.result import Outcome
    from model_server.telemetry import Metrics

#: Rows that are checked in one turn of the loop, in half a millisecond or a little more.
TURN_ROWS = 512


class Core:
    """Answers calls with whatever bundle is served at that moment."""

    def __init__(
        self,
        repository: BundleRepository,
        executor: Executor,
        metrics: Metrics,
        max_rows: int,
        limits: Limits = Limits(),  # noqa: B008 - frozen
    ) -> None:
        """Bind the parts.

        Args:
            repository: Gives the served bundle.
            executor: Runs the model.
            metrics: Counts rows, times and broken rules.
            max_rows: Most rows of one request.
            limits: What bounds the batcher.
        """
        self.repository = repository
        self._executor = executor
        self._metrics = metrics
        self._max_rows = max_rows
        self._batch_rows = limits.batch_rows
        self._small_rows = min(limits.batch_rows, max_rows)
        self._joint = Joint(metrics)
        self._last_key: Asked | None = None
        self._batcher: MicroBatcher[Asked, Call | Frame, Outcome] = MicroBatcher(self._joint, executor, limits)

    async def answer(self, call: Call, name: str, version: str | None = None, deadline_s: float = math.inf) -> Answer:
        """Predict for a call.

        Args:
            call: The decoded request.
            name: Model name of the route.
            version: Version of the route, or None.
            deadline_s: When it is too late to begin, by the monotonic clock.

        Returns:
            The answer, of one bundle throughout.

        Raises:
            NotFound: Another model or version is served.
            ModelNotReady: No bundle is served yet.
            UnknownOutput: A requested output is none of the model's.
            ContractError: A row breaks the contract.
            NotSupported: Reasons were asked for, and the estimator cannot be explained.
            Overloaded: The queue of the model is full, or the deadline passed within it.
        """
        return await self.answer_by(self.repository.require(name, version), call, deadline_s)

    async def answer_by(
        self, served: Served, call: Call, deadline_s: float = math.inf, *, keeps_rows: bool = True
    ) -> Answer:
        """Predict for a call with a bundle that was just required, whatever is served when its turn comes.

        ``keeps_rows`` says whether the call must still have its values when it is answered. If not, those of a large
        one are let go as soon as they are checked: 15,000 of them in each waiting request would fill the cache.

        Raises:
            ClientError: As ``answer``.
            Overloaded: As ``answer``.
        """
        outcome = await self.begin(served, call, deadline_s, keeps_rows=keeps_rows)
        return Answer(call, served.name, served.version, served.contract, outcome)

    def begin(
        self, served: Served, call: Call, deadline_s: float = math.inf, *, keeps_rows: bool = False
    ) -> asyncio.Future[Outcome]:
        """Put a call into the queue: ``answer_by`` for those who have no task of their own to wait in.

        Returns:
            What the model finds; cancelling takes the call out of the queue.

        Raises:
            UnknownOutput: A requested output is none of the model's.
            Overloaded: The queue of the model is full.
        """
        if call.outputs:
            check_outputs(call, served.contract)
        n_rows = call.n_rows
        # A small call is checked with those that it is predicted with; a large one is not to keep them waiting.
        if 0 < n_rows <= self._small_rows:
            return self._submit(served, call, call, n_rows, deadline_s)
        return asyncio.get_running_loop().create_task(self._large(served, call, deadline_s, keeps_rows=keeps_rows))

    async def _large(self, served: Served, call: Call, deadline_s: float, *, keeps_rows: bool) -> Outcome:
        frame = await self._checked(call, served.contract)
        if not keeps_rows:
            await large.let_go(call)
        return await self._submit(served, call, frame, frame.n_rows, deadline_s)

    def _submit(
        self, served: Served, call: Call, item: Call | Frame, n_rows: int, deadline_s: float
    ) -> asyncio.Future[Outcome]:
        key = self._last_key
        if key is None or key.served is not served or key.reasons != call.reasons:
            key = self._last_key = Asked(served, call.reasons)
        return self._batcher.submit(key, item, n_rows, deadline_s)

    async def explain(self, call: Call, name: str) -> tuple[Served, Explanation]:
        """Explain the rows of a call.

        Raises:
            NotFound: Another model is served.
            ModelNotReady: No bundle is served yet.
            ContractError: A row breaks the contract.
            NotSupported: The estimator cannot be explained exactly.
        """
        served = self.repository.require(name)
        frame = self._frame(call, served.contract)
        explanation = await asyncio.get_running_loop().run_in_executor(self._executor, _explain, served, frame)
        return served, explanation

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
            self._joint.count_warned(frame)
        return join_frames(frames)

    def _frame(self, call: Call, contract: Contract) -> Frame:
        try:
            check_rows(call, self._max_rows)
            frame = call.frame(contract)
        except ContractError as error:
            self._joint.count(error, contract)
            raise
        self._joint.count_warned(frame)
        return frame


def _explain(served: Served, frame: Frame) -> Explanation:
    return served.explainer().explain(frame)
