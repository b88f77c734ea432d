"""The batcher: what shares a batch, what never does, and that no answer is lost, swapped or given twice."""

from __future__ import annotations

import asyncio
import gc
import math
import random
import threading
import weakref
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from model_server.errors import BugError, ContractError, Overloaded, Violation
from model_server.serving.batching import Limits, MicroBatcher

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence

NAMES = ("x",)
#: A row that holds this makes its model call fail.
POISON = -1.0
#: A row that holds this is refused, and its neighbours are not.
BAD = -2.0


Rows = list[float]


@dataclass
class Model:
    """A model that multiplies by its key, and remembers what it was asked.

    Attributes:
        handed: Of each batch that was handed on, its key, its results, and which of ``asked`` were answered by then.
        asked: Requests whose answers the test wants to see among ``handed``.
    """

    calls: list[tuple[float, Rows]] = field(default_factory=list)
    threads: set[str] = field(default_factory=set)
    gate: threading.Event | None = None
    quick: frozenset[float] = frozenset()
    handed: list[tuple[float, int, list[bool]]] = field(default_factory=list)
    asked: list[asyncio.Future[Rows]] = field(default_factory=list)

    def run(self, key: float, items: Sequence[Rows]) -> list[Rows | Exception]:
        """Answer a batch."""
        rows = [row for item in items for row in item]
        self.calls.append((key, rows))
        self.threads.add(threading.current_thread().name)
        if self.gate is not None:
            assert self.gate.wait(10)
        if POISON in rows:
            raise BugError("poisoned")
        return [ContractError([Violation("bad")]) if BAD in item else [key * row for row in item] for item in items]

    def cut(self, item: Rows, rows: slice) -> Rows:
        """Give some rows."""
        return item[rows]

    def join(self, parts: Sequence[Rows]) -> Rows:
        """Put rows together."""
        return [row for part in parts for row in part]

    def handed_on(self, key: float, results: Sequence[Rows | Exception]) -> None:
        """Note it, and who has its answer already."""
        self.handed.append((key, len(results), [future.done() for future in self.asked]))

    def is_quick(self, key: float) -> bool:
        """As the test says."""
        return key in self.quick

    @property
    def sizes(self) -> list[int]:
        """Rows of each call."""
        return [len(rows) for _, rows in self.calls]


Batcher = MicroBatcher[float, Rows, Rows]
EVERY = frozenset(map(float, range(10)))


def ask(batcher: Batcher, key: float, *rows: float, deadline_s: float = math.inf) -> asyncio.Future[Rows]:
    """Submit rows."""
    return batcher.submit(key, list(rows), len(rows), deadline_s)


@pytest.fixture
def executor() -> Iterator[ThreadPoolExecutor]:
    """Two threads."""
    with ThreadPoolExecutor(2, thread_name_prefix="predict") as pool:
        yield pool


@pytest.fixture
def model() -> Model:
    """A model that was not asked yet."""
    return Model()


Make = Any


@pytest.fixture(params=[True, False], ids=["on the loop", "in a thread"])
def make(request: pytest.FixtureRequest, executor: ThreadPoolExecutor, model: Model) -> Make:
    """Give a function that makes a batcher of the model; tests that take it hold wherever the model runs."""

    def made(**limits: Any) -> Batcher:
        model.quick = EVERY if request.param else frozenset()
        return MicroBatcher(model, executor, Limits(**limits))

    return made


def run(main: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    """Run a coroutine function on a loop of its own, with a limit on its time."""
    return asyncio.run(asyncio.wait_for(main(), 30))


async def until(condition: Callable[[], Any]) -> None:
    """Let the loop turn until a condition holds; what it waits for may happen in a thread."""
    while not condition():  # noqa: ASYNC110 - there is no event to wait for
        await asyncio.sleep(0)


async def gathered(*waiting: Awaitable[Rows]) -> list[Any]:
    """Wait for outcomes; of a refused one, give the error."""
    return list(await asyncio.gather(*waiting, return_exceptions=True))


# --- what shares a call -----------------------------------------------------------------------------------------------


def test_what_arrives_in_one_turn_shares_a_call(make: Make, model: Model) -> None:
    """Each gets its own rows back, in order."""

    async def main() -> list[Rows]:
        batcher = make()
        return await gathered(ask(batcher, 2.0, 1, 2), ask(batcher, 2.0, 3), ask(batcher, 2.0, 4))

    assert list(run(main)) == [[2, 4], [6], [8]]
    assert model.calls == [(2.0, [1, 2, 3, 4])]


def test_requests_are_collected_while_turns_bring_more(make: Make, model: Model) -> None:
    """Each turn of the loop may read requests that came while the last ones were taken in; a full batch is enough."""

    async def main() -> list[Rows]:
        batcher = make(batch_rows=4)
        asked = []
        for number in range(6):
            asked.append(ask(batcher, 1.0, number))
            await asyncio.sleep(0)
        return await gathered(*asked)

    assert run(main) == [[number] for number in range(6)]
    assert model.sizes[0] == 4


def test_a_lone_request_waits_for_no_company(make: Make, model: Model) -> None:
    """It runs with the next turn of the loop, whatever might come later."""

    async def main() -> None:
        batcher = make()
        for number in range(3):
            assert await ask(batcher, 1.0, number) == [number]

    run(main)
    assert model.sizes == [1, 1, 1]


def test_what_arrives_while_a_batch_runs_is_the_next_batch(executor: ThreadPoolExecutor) -> None:
    """All of it shares one call, whoever sent it."""
    model = Model(gate=threading.Event())

    async def main() -> None:
        batcher = MicroBatcher(model, executor, Limits())
        first = ask(batcher, 1.0, 0)
        await until(lambda: model.calls)
        later = [ask(batcher, 1.0, number) for number in (1, 2, 3)]
        await asyncio.sleep(0.01)
        assert len(model.calls) == 1
        assert model.gate is not None
        model.gate.set()
        await gathered(first, *later)

    run(main)
    assert model.calls == [(1.0, [0]), (1.0, [1, 2, 3])]


def test_different_keys_never_share_a_call(make: Make, model: Model) -> None:
    """Each request is answered by what it was checked against."""

    async def main() -> list[Rows]:
        batcher = make()
        return await gathered(*(ask(batcher, float(key), 1, 1) for key in (3, 5, 3, 5)))

    assert list(run(main)) == [[3, 3], [5, 5], [3, 3], [5, 5]]
    assert sorted(model.calls) == [(3.0, [1] * 4), (5.0, [1] * 4)]


def test_a_call_has_at_most_its_rows(make: Make, model: Model) -> None:
    """What does not fit waits for the next turn, in order of arrival."""

    async def main() -> list[Rows]:
        batcher = make(batch_rows=4)
        return await gathered(*(ask(batcher, 1.0, *range(number, number + 3)) for number in range(5)))

    assert [outcome[0] for outcome in run(main)] == [0, 1, 2, 3, 4]
    assert model.sizes == [3] * 5


def test_a_quick_model_runs_on_the_loop_and_others_do_not(executor: ThreadPoolExecutor, model: Model) -> None:
    """Handing a short call to a thread costs more than it takes; a long one would hold up the loop."""

    async def main() -> None:
        model.quick = frozenset({1.0})
        batcher = MicroBatcher(model, executor, Limits())
        await ask(batcher, 1.0, 1)
        assert model.threads == {threading.current_thread().name}
        model.threads.clear()
        await ask(batcher, 2.0, 1)

    run(main)
    assert all(name.startswith("predict") for name in model.threads)


def test_no_more_calls_run_at_once_than_threads(executor: ThreadPoolExecutor) -> None:
    """With two, the second request does not wait for the first."""
    model = Model(gate=threading.Event())

    async def main() -> None:
        batcher = MicroBatcher(model, executor, Limits(threads=2))
        waiting = []
        for number in range(4):
            waiting.append(ask(batcher, 1.0, number))
            await asyncio.sleep(0.02)
        assert model.sizes == [1, 1]
        assert model.gate is not None
        model.gate.set()
        await gathered(*waiting)

    run(main)
    assert model.sizes == [1, 1, 2]


# --- what is handed on ------------------------------------------------------------------------------------------------


def test_a_batch_is_handed_on_once_after_its_answers(make: Make, model: Model) -> None:
    """What watches batches must not be able to keep an answer back."""

    async def main() -> None:
        batcher = make()
        model.asked = [ask(batcher, 1.0, 1, 2), ask(batcher, 1.0, 3), ask(batcher, 1.0, 4)]
        await gathered(*model.asked)

    run(main)
    assert model.handed == [(1.0, 3, [True, True, True])]


def test_each_slice_is_handed_on(make: Make, model: Model) -> None:
    """A slice is a batch; with the last of them the request has its answer."""

    async def main() -> None:
        model.asked = [ask(make(batch_rows=10), 1.0, *range(25))]
        await model.asked[0]

    run(main)
    assert model.handed == [(1.0, 1, [False]), (1.0, 1, [False]), (1.0, 1, [True])]


def test_a_batch_that_failed_is_not_handed_on(make: Make, model: Model) -> None:
    """Its requests run again one by one, and each of those is handed on, with its answer or its error."""

    async def main() -> None:
        batcher = make()
        await gathered(*(ask(batcher, 1.0, value) for value in (1, POISON, 3)))

    run(main)
    assert model.sizes == [3, 1, 1, 1]
    assert [(key, n_results) for key, n_results, _ in model.handed] == [(1.0, 1)] * 3


# --- large requests ---------------------------------------------------------------------------------------------------


def test_a_large_request_runs_in_slices(make: Make, model: Model) -> None:
    """The slices are put together again, in order."""

    async def main() -> Rows:
        outcome: Rows = await ask(make(batch_rows=10), 2.0, *range(25))
        return outcome

    assert run(main) == [2 * number for number in range(25)]
    assert model.sizes == [10, 10, 5]


def test_a_small_request_passes_a_large_one(make: Make, model: Model) -> None:
    """It waits for a slice at most, not for the whole."""

    async def main() -> None:
        batcher = make(batch_rows=10)
        large = ask(batcher, 1.0, *range(1000))
        await until(lambda: model.calls)
        await ask(batcher, 1.0, -5)
        assert not large.done()
        assert [-5] in [rows for _, rows in model.calls[:5]]
        await large

    run(main)


def test_large_requests_take_turns(make: Make, model: Model) -> None:
    """The shorter of two is done first, whichever came first."""

    async def main() -> None:
        batcher = make(batch_rows=10)
        long, short = ask(batcher, 1.0, *range(200)), ask(batcher, 1.0, *range(20))
        await short
        assert not long.done()
        await long

    run(main)
    assert sum(model.sizes) == 220


def test_the_loop_turns_between_slices(make: Make) -> None:
    """So a probe is answered while a large request runs."""

    async def main() -> int:
        large = ask(make(batch_rows=1), 1.0, *range(50))
        turns = 0
        while not large.done():
            await asyncio.sleep(0)
            turns += 1
        return turns

    assert run(main) >= 50


# --- failures ---------------------------------------------------------------------------------------------------------


def test_a_failing_batch_is_tried_again_one_by_one(make: Make, model: Model) -> None:
    """Only the request that fails by itself fails."""

    async def main() -> list[Any]:
        batcher = make()
        return await gathered(*(ask(batcher, 1.0, value) for value in (1, POISON, 3)))

    first, second, third = run(main)
    assert (first, third) == ([1], [3])
    assert isinstance(second, BugError)
    assert model.calls == [(1.0, [1, POISON, 3]), (1.0, [1]), (1.0, [POISON]), (1.0, [3])]


def test_an_item_that_is_refused_leaves_its_neighbours(make: Make, model: Model) -> None:
    """The model says itself which of them it is; nothing is asked again."""

    async def main() -> list[Any]:
        batcher = make()
        return await gathered(*(ask(batcher, 1.0, value) for value in (1, BAD, 3)))

    first, second, third = run(main)
    assert (first, third) == ([1], [3])
    assert isinstance(second, ContractError)
    assert len(model.calls) == 1


def test_a_missing_result_fails_the_batch(executor: ThreadPoolExecutor) -> None:
    """Otherwise one request would get the answer of another."""

    class Short(Model):
        def run(self, key: float, items: Sequence[Rows]) -> list[Rows | Exception]:
            return super().run(key, items)[1:]

    async def main() -> list[Any]:
        batcher = MicroBatcher(Short(), executor, Limits())
        return await gathered(ask(batcher, 1.0, 1), ask(batcher, 1.0, 2))

    assert [type(error) for error in run(main)] == [BugError, BugError]


def test_a_slice_that_fails_fails_its_request(make: Make, model: Model) -> None:
    """The slices behind it are not asked for."""

    async def main() -> list[Any]:
        return await gathered(ask(make(batch_rows=2), 1.0, 1, 2, POISON, 4, 5, 6))

    assert isinstance(run(main)[0], BugError)
    assert model.sizes == [2, 2]


def test_a_failure_leaves_the_queue_empty(make: Make) -> None:
    """Its rows no longer count."""

    async def main() -> None:
        batcher = make(batch_rows=2)
        await gathered(ask(batcher, 1.0, POISON), ask(batcher, 1.0, *[POISON] * 9))
        assert batcher.rows == 0

    run(main)


def test_a_failure_in_a_thread_is_freed_at_once(executor: ThreadPoolExecutor, model: Model) -> None:
    """An error that leads back to its own future would keep the request until the garbage collector runs."""

    async def main() -> None:
        future = ask(MicroBatcher(model, executor, Limits()), 1.0, POISON)
        kept = weakref.ref(future)
        await asyncio.wait([future])
        assert isinstance(future.exception(), BugError)
        del future
        await until(lambda: kept() is None)

    gc.disable()
    try:
        run(main)
    finally:
        gc.enable()


def test_an_executor_that_is_shut_down_fails_its_requests(model: Model) -> None:
    """None of them waits for ever."""
    executor = ThreadPoolExecutor(1)
    executor.shutdown()

    async def main() -> list[Any]:
        return await gathered(ask(MicroBatcher(model, executor, Limits()), 1.0, 1))

    assert isinstance(run(main)[0], RuntimeError)


def test_a_call_that_the_executor_drops_cancels_its_requests() -> None:
    """It does so at the end of a shutdown's grace."""
    executor, model = ThreadPoolExecutor(1), Model(gate=threading.Event())

    async def main() -> list[Any]:
        batcher = MicroBatcher(model, executor, Limits(threads=2))
        first = ask(batcher, 1.0, 1)
        await until(lambda: model.calls)
        second = ask(batcher, 1.0, 2)
        await asyncio.sleep(0.01)
        executor.shutdown(wait=False, cancel_futures=True)
        assert model.gate is not None
        model.gate.set()
        done = await gathered(first, second)
        assert batcher.rows == 0
        return done

    first, second = run(main)
    assert first == [1]
    assert isinstance(second, asyncio.CancelledError)


# --- the bound, deadlines, cancelling ---------------------------------------------------------------------------------


def test_rows_beyond_the_queue_are_refused(make: Make, model: Model) -> None:
    """With 503 and RESOURCE_EXHAUSTED; those that wait are answered, and later ones again."""

    async def main() -> None:
        batcher = make(queue_rows=3)
        waiting = [ask(batcher, 1.0, 1, 2), ask(batcher, 1.0, 3)]
        with pytest.raises(Overloaded, match="over 3 rows would be waiting") as caught:
            ask(batcher, 1.0, 4)
        assert (caught.value.http_status, caught.value.grpc_code) == (503, "RESOURCE_EXHAUSTED")
        await gathered(*waiting)
        assert batcher.rows == 0
        assert await ask(batcher, 1.0, 4) == [4]

    run(main)
    assert sum(model.sizes) == 4


def test_a_request_that_is_alone_is_never_too_large(make: Make) -> None:
    """Else it could never be answered; its rows have a limit of their own."""

    async def main() -> None:
        assert len(await ask(make(queue_rows=3, batch_rows=4), 1.0, *range(9))) == 9

    run(main)


def test_cancelled_requests_leave_the_queue(make: Make, model: Model) -> None:
    """They are not computed, and make room for others at once."""

    async def main() -> None:
        batcher = make(queue_rows=4)
        kept, gone = ask(batcher, 1.0, 1), ask(batcher, 1.0, 7, 7, 7)
        gone.cancel()
        more = ask(batcher, 1.0, 2, 3)
        assert list(await gathered(kept, more)) == [[1], [2, 3]]
        assert batcher.rows == 0

    run(main)
    assert model.calls == [(1.0, [1, 2, 3])]


def test_a_large_request_that_is_cancelled_stops(make: Make, model: Model) -> None:
    """Its other slices are not computed."""

    async def main() -> None:
        batcher = make(batch_rows=1)
        large = ask(batcher, 1.0, *range(500))
        await until(lambda: model.calls)
        large.cancel()
        await ask(batcher, 1.0, 1)
        await until(lambda: not batcher.rows)

    run(main)
    assert len(model.calls) < 10


def test_a_request_that_is_cancelled_while_it_runs_touches_no_neighbour(executor: ThreadPoolExecutor) -> None:
    """MLServer never answers the rest of such a batch."""
    model = Model(gate=threading.Event())

    async def main() -> None:
        batcher = MicroBatcher(model, executor, Limits())
        gone, kept = ask(batcher, 1.0, 1), ask(batcher, 1.0, 2)
        await until(lambda: model.calls)
        gone.cancel()
        assert model.gate is not None
        model.gate.set()
        assert await kept == [2]
        assert batcher.rows == 0

    run(main)


def test_an_expired_request_is_refused_without_being_computed(executor: ThreadPoolExecutor, model: Model) -> None:
    """After its own deadline, or the longest wait; its neighbours are answered."""
    now = [100.0]

    async def main() -> list[Any]:
        limits = Limits(wait_s=5.0)
        batcher = MicroBatcher(model, executor, limits, clock=lambda: now[0])
        waiting = [ask(batcher, 1.0, 1, deadline_s=101.0), ask(batcher, 1.0, 2)]
        now[0] += 3.0
        waiting.append(ask(batcher, 1.0, 3))
        done = await gathered(*waiting)
        waiting = [ask(batcher, 1.0, 4), ask(batcher, 1.0, *range(999))]
        now[0] += 6.0
        assert batcher.rows == 1000
        done += await gathered(*waiting)
        assert batcher.rows == 0
        return done

    first, second, third, *late = run(main)
    assert [second, third] == [[2], [3]]
    assert [type(error) for error in (first, *late)] == [Overloaded] * 3
    assert model.calls == [(1.0, [2, 3])]


def test_a_request_that_began_is_finished_after_its_deadline(executor: ThreadPoolExecutor, model: Model) -> None:
    """The deadline is for waiting: what is half done costs less to finish than to ask again."""
    now = [0.0]

    async def main() -> Rows:
        batcher = MicroBatcher(model, executor, Limits(batch_rows=1), clock=lambda: now[0])
        asked = ask(batcher, 1.0, 1, 2, 3, deadline_s=1.0)
        await until(lambda: model.calls)
        now[0] = 9.0
        return await asked

    assert run(main) == [1, 2, 3]


# --- everything at once -----------------------------------------------------------------------------------------------


@dataclass
class Storm:
    """Random clients of one batcher: what each asked, and what became of it."""

    batcher: Batcher
    rng: random.Random
    ends: Counter[str] = field(default_factory=Counter)
    next_row: int = 0

    async def client(self, version: list[float], requests: int) -> None:
        """Send requests one after the other, and check each answer against what was asked."""
        for _ in range(requests):
            rows = self._rows()
            key = version[0]
            task = asyncio.ensure_future(self._ask(key, rows))
            if self.rng.random() < 0.05:
                await asyncio.sleep(0)
                task.cancel()
            self.ends[await self._end(task, key, rows)] += 1
            if self.rng.random() < 0.3:
                await asyncio.sleep(self.rng.choice([0, 0, 0.0005]))

    def _rows(self) -> list[float]:
        count = self.rng.choice([1, 1, 1, 1, 2, 5, 40])
        rows = [float(self.next_row + index) for index in range(count)]
        self.next_row += count
        if self.rng.random() < 0.02:
            rows[self.rng.randrange(count)] = self.rng.choice([POISON, BAD])
        return rows

    async def _ask(self, key: float, rows: list[float]) -> Rows:
        return await ask(self.batcher, key, *rows)

    async def _end(self, task: asyncio.Future[Rows], key: float, rows: list[float]) -> str:
        try:
            outcome = await task
        except asyncio.CancelledError:
            return "cancelled"
        except Overloaded:
            return "refused"
        except BugError:
            assert POISON in rows, "a neighbour's failure"
            return "failed"
        except ContractError:
            assert BAD in rows, "a neighbour's refusal"
            return "bad"
        assert outcome == [key * row for row in rows], "lost, swapped or another version's"
        return "answered"


@pytest.mark.parametrize(("is_quick", "requests"), [(True, 70_000), (False, 30_000)], ids=["on the loop", "in threads"])
def test_no_answer_is_lost_swapped_or_given_twice(
    is_quick: bool,  # noqa: FBT001 - of the table
    requests: int,
    executor: ThreadPoolExecutor,
    model: Model,
) -> None:
    """Through random arrivals, cancellations, failures, overload and reloads: 100,000 requests of both kinds."""
    clients = 100
    limits = Limits(batch_rows=16, queue_rows=150, threads=2)

    async def main() -> Storm:
        model.quick = EVERY if is_quick else frozenset()
        batcher = MicroBatcher(model, executor, limits)
        storm = Storm(batcher, random.Random(6))
        version = [1.0]
        sending = asyncio.gather(*(storm.client(version, requests // clients) for _ in range(clients)))
        while not sending.done():
            await asyncio.sleep(0.002)
            version[0] = version[0] % 7 + 1
        await sending
        assert batcher.rows == 0
        return storm

    storm = asyncio.run(asyncio.wait_for(main(), 300))

    assert storm.ends.total() == requests
    assert min(storm.ends[end] for end in ("answered", "bad", "cancelled", "failed", "refused")) > requests // 2000
    assert max(model.sizes) <= limits.batch_rows
