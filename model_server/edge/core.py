"""Core: Call -> Answer, the one path that every protocol shares; knows no bytes and no framework.

Rows are checked before anything else sees them; the requests of all protocols meet in one batcher. A model runs in our
own executor unless its calls are known to be short: KServe runs a plain ``predict`` on the loop, however long it takes,
where it stalls probes and gRPC (kserve#3950), and the executor that its ``--max_asyncio_workers`` sizes never reaches
the loop that serves.
"""

from __future__ import annotations

import asyncio
import math
import time
from typing import TYPE_CHECKING, NamedTuple

from model_server.batching import Limits, MicroBatcher, Outcome
from model_server.edge.call import Answer, Call, check_outputs, check_rows
from model_server.errors import ContractError
from model_server.frame import join_frames
from model_server.telemetry import Stopwatch

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from model_server.contract import Contract
    from model_server.edge.repository import BundleRepository
    from model_server.edge.served import Served
    from model_server.explain import Explanation, Reason
    from model_server.frame import Frame
    from model_server.predictor import Prediction
    from model_server.telemetry import Metrics


#: Calls of so many seconds run on the event loop: handing one to a thread and back costs some 0.1 ms, and saves the
#: loop nothing, since kernels keep Python's global lock. Longer ones at least take turns with it.
QUICK_S = 0.005


class Asked(NamedTuple):
    """What requests must have in common to share a model call: the very same bundle, and as many reasons."""

    served: Served
    reasons: int


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
        self._batcher = MicroBatcher(self._predict, executor, limits, is_quick=self._is_quick)
        self._pace = _Pace()

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

    async def answer_by(self, served: Served, call: Call, deadline_s: float = math.inf) -> Answer:
        """Predict for a call with a bundle that was just required, whatever is served when its turn comes.

        Raises:
            ClientError: As ``answer``.
            Overloaded: As ``answer``.
        """
        if call.outputs:
            check_outputs(call, served.contract)
        frame = await self._checked(call, served.contract)
        outcome = await self._batcher.submit(Asked(served, call.reasons), frame, deadline_s)
        return Answer(call, served.name, served.version, served.contract, frame, outcome.prediction, outcome.reasons)

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
        """Check a large request some rows a turn of the loop; None when it breaks the contract somewhere."""
        frames = []
        try:
            for part in call.parts(self._batch_rows):
                frames.append(part.frame(contract))
                await asyncio.sleep(0)
        except ContractError:
            return None
        for frame in frames:
            self._count_warned(frame)
        return join_frames(frames)

    def _frame(self, call: Call, contract: Contract) -> Frame:
        try:
            check_rows(call, self._max_rows)
            frame = call.frame(contract)
        except ContractError as error:
            self._count(error, contract)
            raise
        self._count_warned(frame)
        return frame

    def _count_warned(self, frame: Frame) -> None:
        for feature, count in frame.warned.items():
            self._metrics.out_of_bounds.labels(feature).inc(count)

    def _count(self, error: ContractError, contract: Contract) -> None:
        names = frozenset(contract.names)  # an unknown feature is the client's word: it must not become a label
        for violation in error.violations:
            known = violation.feature if violation.feature in names else ""
            self._metrics.violations.labels(known).inc()

    def _predict(self, asked: Asked, frame: Frame) -> Outcome:
        served, count = asked
        watch, before_s = Stopwatch(), time.thread_time()
        prediction = served.predictor.predict(frame)
        self._pace.took(served, time.thread_time() - before_s)
        self._metrics.inference_seconds.labels(served.version).observe(watch.elapsed_s)
        self._metrics.rows.labels(served.version).inc(frame.n_rows)
        return Outcome(prediction, _reasons(served, frame, prediction, count) if count else ())

    def _is_quick(self, asked: Asked) -> bool:
        # What a pipeline does in its own code can take any time, whatever the last calls took; kernels cannot.
        predictor = asked.served.predictor
        is_compiled = getattr(predictor, "model", None) is not getattr(predictor, "fitted", None)
        return is_compiled and not asked.reasons and self._pace.of(asked.served) <= QUICK_S


class _Pace:
    """How long the calls of the served bundle take of late: an average that forgets, in seconds of processor time."""

    _FORGETS = 0.1

    def __init__(self) -> None:
        self._now: tuple[Served | None, float] = (None, math.inf)

    def of(self, served: Served) -> float:
        """Give the average, infinite before the first call."""
        bundle, seconds = self._now
        return seconds if bundle is served else math.inf

    def took(self, served: Served, seconds: float) -> None:
        """Note a call; threads may overwrite each other's note, which an average survives."""
        before_s = self.of(served)
        after_s = seconds if before_s == math.inf else before_s + self._FORGETS * (seconds - before_s)
        self._now = (served, after_s)


def _explain(served: Served, frame: Frame) -> Explanation:
    return served.explainer().explain(frame)


def _reasons(served: Served, frame: Frame, prediction: Prediction, count: int) -> tuple[tuple[Reason, ...], ...]:
    outputs = _explained_outputs(served.contract, prediction, frame.n_rows)
    return tuple(_explain(served, frame).reasons(count, outputs))


def _explained_outputs(contract: Contract, prediction: Prediction, n_rows: int) -> list[int]:
    """Choose which output a row's reasons speak of: of several classes, the one that was answered."""
    if prediction.labels is None or len(contract.output.classes) == 2:
        return [0] * n_rows
    return [contract.output.classes.index(label) for label in prediction.labels.tolist()]
