"""MicroBatcher: joins the frames of one moment into one model call and splits its answer; knows no protocol, no model.

Zero-wait batching: what arrives while a batch runs, or within one turn of the event loop, is the next batch. Nothing
ever waits for company, so a lone request is answered as if there were no batching. A request with more rows than a
batch may have runs in slices, one a turn, so that it holds up neither a small one nor a probe: a thread alone would
not help, because scikit-learn's tree kernels keep Python's global lock for a whole call (docs/decisions.md).
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Generic, TypeVar

import numpy as np

from model_server.errors import Overloaded
from model_server.frame import join_frames
from model_server.predictor import Prediction

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from concurrent.futures import Executor

    from model_server.explain import Reason
    from model_server.frame import Frame

K = TypeVar("K")


# Not frozen, as little as is made once a request: freezing a dataclass makes it five times as slow to create.
@dataclass(slots=True, eq=False)
class Outcome:
    """What a model call found for N rows.

    Attributes:
        prediction: One answer a row.
        reasons: The asked number of reasons a row; empty when none were asked for.
    """

    prediction: Prediction
    reasons: tuple[tuple[Reason, ...], ...] = ()

    def take(self, start: int, stop: int) -> Outcome:
        """Give the rows from ``start`` up to ``stop``, as views."""
        whole = self.prediction
        part = Prediction(
            None if whole.labels is None else whole.labels[start:stop],
            None if whole.probabilities is None else whole.probabilities[start:stop],
            None if whole.values is None else whole.values[start:stop],
        )
        return Outcome(part, self.reasons[start:stop])


def join_outcomes(parts: Sequence[Outcome]) -> Outcome:
    """Put the outcomes of the slices of one request together, in order."""
    if len(parts) == 1:
        return parts[0]
    predictions = [part.prediction for part in parts]
    joined = {
        name: np.concatenate([getattr(prediction, name) for prediction in predictions])
        for name in ("labels", "probabilities", "values")
        if getattr(predictions[0], name) is not None
    }
    return Outcome(Prediction(**joined), tuple(row for part in parts for row in part.reasons))


@dataclass(frozen=True, slots=True)
class Limits:
    """What bounds a batcher.

    Attributes:
        batch_rows: Most rows of one model call; a larger request runs in slices of as many.
        queue_rows: Most rows that wait or run; a request beyond them is refused, unless it is alone.
        threads: Model calls that run at once in threads.
        wait_s: Longest time that a request waits for its turn, in seconds.
    """

    batch_rows: int = 256
    queue_rows: int = 100_000
    threads: int = 1
    wait_s: float = 30.0


@dataclass(slots=True, eq=False)
class _Job(Generic[K]):
    """A request in the queue, and the outcomes of those of its rows that ran."""

    key: K
    frame: Frame
    future: asyncio.Future[Outcome]
    deadline_s: float
    ran_rows: int = 0
    parts: list[Outcome] = field(default_factory=list)


@dataclass(slots=True, eq=False)
class _Batch(Generic[K]):
    """One model call: the joined frames of some jobs, or a slice of one."""

    key: K
    frame: Frame
    jobs: Sequence[_Job[K]]


class MicroBatcher(Generic[K]):
    """One queue for every protocol; lives on one event loop at a time."""

    def __init__(
        self,
        run: Callable[[K, Frame], Outcome],
        executor: Executor,
        limits: Limits,
        *,
        is_quick: Callable[[K], bool] = lambda _: False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Bind what answers a batch.

        Args:
            run: Calls the model; frames are joined only under equal keys.
            executor: Runs it off the event loop.
            limits: What bounds the queue.
            is_quick: Whether a call under a key is known to be short, so that handing it to a thread costs more than
                it takes; it then runs right on the event loop.
            clock: Seconds, for deadlines.
        """
        self._run = run
        self._executor = executor
        self._limits = limits
        self._is_quick = is_quick
        self._clock = clock
        self._short: deque[_Job[K]] = deque()
        self._long: deque[_Job[K]] = deque()
        self._rows = 0
        self._running = 0
        self._is_awake = False

    @property
    def rows(self) -> int:
        """Rows that wait or run."""
        return self._rows

    def submit(self, key: K, frame: Frame, deadline_s: float = math.inf) -> asyncio.Future[Outcome]:
        """Put a request into the queue.

        Args:
            key: What must be equal for two requests to share a model call.
            frame: Its checked rows.
            deadline_s: When it is too late to begin, by the batcher's clock, if that comes before its longest wait.

        Returns:
            Its outcome; cancelling takes it out of the queue.

        Raises:
            Overloaded: The queue is full.
        """
        self._admit(frame.n_rows)
        loop = asyncio.get_running_loop()
        job = _Job(key, frame, loop.create_future(), min(deadline_s, self._clock() + self._limits.wait_s))
        (self._short if frame.n_rows <= self._limits.batch_rows else self._long).append(job)
        self._wake(loop)
        return job.future

    def _admit(self, n_rows: int) -> None:
        if self._rows and self._rows + n_rows > self._limits.queue_rows:
            self._sweep()
            if self._rows and self._rows + n_rows > self._limits.queue_rows:
                raise Overloaded(
                    f"the model is busy: over {self._limits.queue_rows} rows would be waiting; send the request later"
                )
        self._rows += n_rows

    def _sweep(self) -> None:
        """Let go of the requests that nobody waits for any more; they leave at their turn anyway."""
        now_s = self._clock()
        self._short = deque(job for job in self._short if self._is_wanted(job, now_s))
        self._long = deque(job for job in self._long if self._is_wanted(job, now_s))

    def _wake(self, loop: asyncio.AbstractEventLoop) -> None:
        if not self._is_awake and self._running < self._limits.threads:
            self._is_awake = True
            loop.call_soon(self._turn, loop)

    def _turn(self, loop: asyncio.AbstractEventLoop) -> None:
        """Run all small requests that are there, and one slice of a large one."""
        self._is_awake = False
        now_s = self._clock()
        for batch in [*self._joined(now_s), *self._slice(now_s)]:
            self._start(batch, loop)
        if self._short or self._long:
            self._wake(loop)

    def _joined(self, now_s: float) -> list[_Batch[K]]:
        groups: dict[K, list[_Job[K]]] = {}
        left = self._limits.batch_rows
        while self._short and self._short[0].frame.n_rows <= left:
            job = self._short.popleft()
            if self._is_wanted(job, now_s):
                left -= job.frame.n_rows
                groups.setdefault(job.key, []).append(job)
        return [_Batch(key, join_frames([job.frame for job in jobs]), jobs) for key, jobs in groups.items()]

    def _slice(self, now_s: float) -> list[_Batch[K]]:
        """Take the next slice of the request whose turn it is; each gets one before any gets its second."""
        while self._long:
            job = self._long.popleft()
            if self._is_wanted(job, now_s):
                rows = slice(job.ran_rows, job.ran_rows + self._limits.batch_rows)
                return [_Batch(job.key, job.frame.take(rows), [job])]
        return []

    def _is_wanted(self, job: _Job[K], now_s: float) -> bool:
        if job.future.done():
            self._rows -= job.frame.n_rows
            return False
        if job.deadline_s < now_s and not job.ran_rows:
            self._fail(job, Overloaded("the request waited for the model until its time was over; send it later"))
            return False
        return True

    def _start(self, batch: _Batch[K], loop: asyncio.AbstractEventLoop) -> None:
        if self._is_quick(batch.key):
            self._settle(batch, self._outcome(batch))
            return
        try:
            running = loop.run_in_executor(self._executor, self._outcome, batch)
        except RuntimeError as error:  # the executor is shut down
            self._settle(batch, error)
            return
        self._running += 1
        running.add_done_callback(partial(self._ran, batch, loop))

    def _outcome(self, batch: _Batch[K]) -> Outcome | Exception:
        try:
            return self._run(batch.key, batch.frame)
        except Exception as error:  # noqa: BLE001 - whatever it is belongs to the requests, not to the loop
            return error

    def _ran(
        self, batch: _Batch[K], loop: asyncio.AbstractEventLoop, running: asyncio.Future[Outcome | Exception]
    ) -> None:
        self._running -= 1
        if running.cancelled():
            for job in batch.jobs:
                self._rows -= job.frame.n_rows
                job.future.cancel()
        else:
            self._settle(batch, running.result())
        if self._short or self._long:
            self._wake(loop)

    def _settle(self, batch: _Batch[K], outcome: Outcome | Exception) -> None:
        if len(batch.jobs) == 1:
            self._settle_one(batch.jobs[0], batch.frame.n_rows, outcome)
        elif isinstance(outcome, Exception):
            self._long.extend(batch.jobs)  # each alone: one of them may fail by itself, its neighbours must not
        else:
            start = 0
            for job in batch.jobs:
                stop = start + job.frame.n_rows
                self._finish(job, outcome.take(start, stop))
                start = stop

    def _settle_one(self, job: _Job[K], n_rows: int, outcome: Outcome | Exception) -> None:
        if isinstance(outcome, Exception):
            self._fail(job, outcome)
            return
        job.ran_rows += n_rows
        job.parts.append(outcome)
        if job.ran_rows < job.frame.n_rows:
            self._long.append(job)
        else:
            self._finish(job, join_outcomes(job.parts))

    def _finish(self, job: _Job[K], outcome: Outcome) -> None:
        self._rows -= job.frame.n_rows
        if not job.future.done():  # cancelled while it ran
            job.future.set_result(outcome)

    def _fail(self, job: _Job[K], error: Exception) -> None:
        self._rows -= job.frame.n_rows
        if not job.future.done():
            job.future.set_exception(error)
