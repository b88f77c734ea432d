"""MicroBatcher: dynamic batching of requests that arrive together, with backpressure; knows no protocol and no model.

Zero-wait batching: the requests that arrive while a batch runs, or while the event loop is busy taking requests in, are
the next batch. There is no waiting window: the first turn of the loop that brings no further request dispatches the
batch, so a lone request is answered as if there were no batching. A request with more rows than a batch may have runs
in slices, one a turn, so that it delays neither a small one nor a probe: a thread alone would not help, because
scikit-learn's tree kernels keep Python's global lock for a whole batch (docs/decisions.md, 15).
Backpressure: a request beyond ``Limits.queue_rows`` is refused at once, one beyond ``Limits.wait_s`` at its turn.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from model_server.errors import BugError, Overloaded

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from concurrent.futures import Executor

K = TypeVar("K")
K_contra = TypeVar("K_contra", contravariant=True)
I = TypeVar("I")  # noqa: E741 - an item: the rows of a request
R = TypeVar("R")


class Work(Protocol[K_contra, I, R]):
    """What a batcher runs."""

    def run(self, key: K_contra, items: Sequence[I]) -> Sequence[R | Exception]:
        """Answer the items of a batch, one result each, in order; an exception is that item's alone.

        Whatever it raises is no item's in particular: several items are then retried one by one.
        """
        ...

    def handed_on(self, key: K_contra, results: Sequence[R | Exception]) -> None:
        """Completion callback of a batch, after its results were set; called on the event loop, and must not raise."""
        ...

    def cut(self, item: I, rows: slice) -> I:
        """Slice an item that has more rows than a batch."""
        ...

    def join(self, parts: Sequence[R]) -> R:
        """Concatenate the results of slices, in order."""
        ...

    def is_quick(self, key: K_contra) -> bool:
        """Say whether a batch is known to be shorter than its dispatch to a thread."""
        ...


@dataclass(frozen=True, slots=True)
class Limits:
    """What bounds a batcher.

    Attributes:
        batch_rows: Most rows of one batch; a larger request runs in slices of as many.
        queue_rows: Most rows that wait or run; a request beyond them is refused, unless it is alone.
        threads: Batches that run at once in threads.
        wait_s: Longest time that a request waits for its turn, in seconds.
    """

    batch_rows: int = 256
    queue_rows: int = 100_000
    threads: int = 1
    wait_s: float = 30.0


# Not frozen: docs/decisions.md, 33.
@dataclass(slots=True, eq=False)
class _Job(Generic[K, I, R]):
    """A request in the queue, and the results of those of its rows that ran."""

    key: K
    item: I
    n_rows: int
    future: asyncio.Future[R]
    deadline_s: float
    ran_rows: int = 0
    parts: list[R] = field(default_factory=list)


@dataclass(slots=True, eq=False)
class _Batch(Generic[K, I, R]):
    """The items of some jobs, or some rows of one."""

    key: K
    items: Sequence[I]
    jobs: Sequence[_Job[K, I, R]]
    rows: slice | None = None


class MicroBatcher(Generic[K, I, R]):
    """One queue for every protocol; lives on one event loop at a time."""

    def __init__(
        self,
        work: Work[K, I, R],
        executor: Executor,
        limits: Limits,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Bind what answers a batch.

        Args:
            work: Runs a batch; items share one only under equal keys.
            executor: Runs what is not quick, off the event loop.
            limits: What bounds the queue.
            clock: Seconds, for deadlines.
        """
        self._work = work
        self._executor = executor
        self._limits = limits
        self._clock = clock
        self._short: deque[_Job[K, I, R]] = deque()
        self._long: deque[_Job[K, I, R]] = deque()
        self._rows = 0
        self._running = 0
        self._is_awake = False
        self._seen = 0  # small requests that were there at the last turn

    @property
    def rows(self) -> int:
        """Rows that wait or run."""
        return self._rows

    def submit(self, key: K, item: I, n_rows: int, deadline_s: float = math.inf) -> asyncio.Future[R]:
        """Put a request into the queue.

        Args:
            key: What must be equal for two requests to share a batch.
            item: Their rows, in whatever form ``Work.run`` takes.
            n_rows: How many rows that is, at least 1.
            deadline_s: When it is too late to begin, by the batcher's clock, if that comes before its longest wait.

        Returns:
            Its result; cancelling takes it out of the queue.

        Raises:
            Overloaded: The queue is full.
        """
        if self._rows and self._rows + n_rows > self._limits.queue_rows:
            self._make_room(n_rows)
        self._rows += n_rows
        loop = asyncio.get_running_loop()
        latest_s = self._clock() + self._limits.wait_s
        job = _Job(key, item, n_rows, loop.create_future(), min(deadline_s, latest_s))
        (self._short if n_rows <= self._limits.batch_rows else self._long).append(job)
        if not self._is_awake:
            self._wake(loop)
        return job.future

    def _make_room(self, n_rows: int) -> None:
        """Drop cancelled requests from the queue; they would leave at their turn anyway."""
        now_s = self._clock()
        self._short = deque(job for job in self._short if self._is_wanted(job, now_s))
        self._long = deque(job for job in self._long if self._is_wanted(job, now_s))
        if self._rows and self._rows + n_rows > self._limits.queue_rows:
            raise Overloaded(
                f"the model is busy: over {self._limits.queue_rows} rows would be waiting; send the request later"
            )

    def _wake(self, loop: asyncio.AbstractEventLoop) -> None:
        if not self._is_awake and self._running < self._limits.threads:
            self._is_awake = True
            loop.call_soon(self._turn, loop)

    def _turn(self, loop: asyncio.AbstractEventLoop) -> None:
        """Run all small requests that are there, and one slice of a large one."""
        if self._seen < len(self._short) and self._rows < self._limits.batch_rows:
            self._seen = len(self._short)  # the last turn brought some: the next may bring more, and costs 2 µs if not
            loop.call_soon(self._turn, loop)
            return
        self._is_awake, self._seen = False, 0
        now_s = self._clock()
        for batch in [*self._joined(now_s), *self._slice(now_s)]:
            self._start(batch, loop)
        if self._short or self._long:
            self._wake(loop)

    def _joined(self, now_s: float) -> list[_Batch[K, I, R]]:
        groups: dict[K, list[_Job[K, I, R]]] = {}
        left = self._limits.batch_rows
        short = self._short
        while short and short[0].n_rows <= left:
            job = short.popleft()
            if self._is_wanted(job, now_s):
                left -= job.n_rows
                groups.setdefault(job.key, []).append(job)
        return [_Batch(key, [job.item for job in jobs], jobs) for key, jobs in groups.items()]

    def _slice(self, now_s: float) -> list[_Batch[K, I, R]]:
        """Take the next slice of the request whose turn it is; each gets one before any gets its second."""
        while self._long:
            job = self._long.popleft()
            if self._is_wanted(job, now_s):
                if job.n_rows <= self._limits.batch_rows:
                    return [_Batch(job.key, [job.item], [job])]
                rows = slice(job.ran_rows, min(job.ran_rows + self._limits.batch_rows, job.n_rows))
                return [_Batch(job.key, [self._work.cut(job.item, rows)], [job], rows)]
        return []

    def _is_wanted(self, job: _Job[K, I, R], now_s: float) -> bool:
        if job.future.done():
            self._rows -= job.n_rows
            return False
        if job.deadline_s < now_s and not job.ran_rows:
            self._fail(job, Overloaded("the request waited for the model until its time was over; send it later"))
            return False
        return True

    def _start(self, batch: _Batch[K, I, R], loop: asyncio.AbstractEventLoop) -> None:
        if self._work.is_quick(batch.key):
            self._settle(batch, self._results(batch.key, batch.items))
            return
        try:
            running = loop.run_in_executor(self._executor, self._results, batch.key, batch.items)
        except RuntimeError as error:  # the executor is shut down
            self._settle(batch, error)
            return
        self._running += 1
        running.add_done_callback(partial(self._ran, batch, loop))

    def _results(self, key: K, items: Sequence[I]) -> Sequence[R | Exception] | Exception:
        # Takes no jobs: an error leads back to this frame, and their futures lead to the error.
        try:
            results = self._work.run(key, items)
            return results if len(results) == len(items) else BugError("a batch has a result for each item")
        except Exception as error:  # noqa: BLE001 - whatever it is belongs to the requests, not to the loop
            return error

    def _ran(
        self,
        batch: _Batch[K, I, R],
        loop: asyncio.AbstractEventLoop,
        running: asyncio.Future[Sequence[R | Exception] | Exception],
    ) -> None:
        self._running -= 1
        if running.cancelled():
            for job in batch.jobs:
                self._rows -= job.n_rows
                job.future.cancel()
        else:
            self._settle(batch, running.result())
        if self._short or self._long:
            self._wake(loop)

    def _settle(self, batch: _Batch[K, I, R], results: Sequence[R | Exception] | Exception) -> None:
        if isinstance(results, Exception):
            if len(batch.jobs) > 1:
                self._long.extend(batch.jobs)  # each alone: one of them may fail by itself, its neighbours must not
                return
            results = [results]
        for job, result in zip(batch.jobs, results, strict=True):
            if isinstance(result, Exception):
                self._fail(job, result)
            elif batch.rows is None:
                self._finish(job, result)
            else:
                self._collect(job, batch.rows, result)
        self._work.handed_on(batch.key, results)

    def _collect(self, job: _Job[K, I, R], rows: slice, result: R) -> None:
        job.ran_rows = rows.stop
        job.parts.append(result)
        if job.ran_rows < job.n_rows:
            self._long.append(job)
        else:
            self._finish(job, self._work.join(job.parts))

    def _finish(self, job: _Job[K, I, R], result: R) -> None:
        self._rows -= job.n_rows
        if not job.future.done():  # cancelled while it ran
            job.future.set_result(result)

    def _fail(self, job: _Job[K, I, R], error: Exception) -> None:
        self._rows -= job.n_rows
        if not job.future.done():
            job.future.set_exception(error)
