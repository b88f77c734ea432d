"""The batcher: what shares a model call, what never does, and that no answer is lost, swapped or given twice."""

from __future__ import annotations

import asyncio
import random
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_server.batching import Limits, MicroBatcher, Outcome, join_outcomes
from model_server.errors import BugError, Overloaded
from model_server.explain import Reason
from model_server.frame import Frame
from model_server.predictor import Prediction

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Iterator

NAMES = ("x",)
#: A row that holds this makes its model call fail.
POISON = -1.0


def frame(*values: float) -> Frame:
    """Make a frame of one column."""
    return Frame(NAMES, ("float",), len(values), matrix=np.array([values], dtype=np.float64).T)


def values(outcome: Outcome) -> list[float]:
    """Read an outcome's values."""
    assert outcome.prediction.values is not None
    return [float(value) for value in outcome.prediction.values]


@dataclass
class Model:
    """A model that multiplies by its key, and remembers what it was asked."""

    calls: list[tuple[float, list[float]]] = field(default_factory=list)
    threads: set[str] = field(default_factory=set)
    gate: threading.Event | None = None

    def __call__(self, key: float, rows: Frame) -> Outcome:
        """Answer a batch."""
        column = rows.as_matrix()[:, 0]
        self.calls.append((key, column.tolist()))
        self.threads.add(threading.current_thread().name)
        if self.gate is not None:
            assert self.gate.wait(10)
        if (column == POISON).any():
            raise BugError("poisoned")
        return Outcome(Prediction(values=column * key))

    @property
    def sizes(self) -> list[int]:
        """Rows of each call."""
        return [len(rows) for _, rows in self.calls]


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

    def made(**limits: Any) -> MicroBatcher[float]:
        return MicroBatcher(model, executor, Limits(**limits), is_quick=lambda _: request.param)

    return made


def run(main: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    """Run a coroutine function on a loop of its own, with a limit on its time."""
    return asyncio.run(asyncio.wait_for(main(), 30))


async def until(condition: Callable[[], Any]) -> None:
    """Let the loop turn until a condition holds; what it waits for may happen in a thread."""
    while not condition():  # noqa: ASYNC110 - there is no event to wait for
        await asyncio.sleep(0)


async def gathered(*waiting: Awaitable[Outcome]) -> list[Any]:
    """Wait for outcomes; of a refused one, give the error."""
    return list(await asyncio.gather(*waiting, return_exceptions=True))


# --- what shares a call -----------------------------------------------------------------------------------------------


def test_what_arrives_in_one_turn_shares_a_call(make: Make, model: Model) -> None:
    """And each gets its own rows back, in order."""

    async def main() -> list[Outcome]:
        batcher = make()
        return await gathered(
            batcher.submit(2.0, frame(1, 2)), batcher.submit(2.0, frame(3)), batcher.submit(2.0, frame(4))
        )

    assert [values(outcome) for outcome in run(main)] == [[2, 4], [6], [8]]
    assert model.calls == [(2.0, [1, 2, 3, 4])]


def test_a_lone_request_waits_for_no_company(make: Make, model: Model) -> None:
    """It runs with the next turn of the loop, whatever might come later."""

    async def main() -> None:
        batcher = make()
        for number in range(3):
            assert values(await batcher.submit(1.0, frame(number))) == [number]

    run(main)
    assert model.sizes == [1, 1, 1]


def test_what_arrives_while_a_batch_runs_is_the_next_batch(executor: ThreadPoolExecutor) -> None:
    """All of it, in one call."""
    model = Model(gate=threading.Event())

    async def main() -> None:
        batcher = MicroBatcher(model, executor, Limits())
        first = batcher.submit(1.0, frame(0))
        await until(lambda: model.calls)
        later = [batcher.submit(1.0, frame(number)) for number in (1, 2, 3)]
        await asyncio.sleep(0.01)
        assert len(model.calls) == 1
        assert model.gate is not None
        model.gate.set()
        await gathered(first, *later)

    run(main)
    assert model.calls == [(1.0, [0]), (1.0, [1, 2, 3])]


def test_different_keys_never_share_a_call(make: Make, model: Model) -> None:
    """Each request is answered by what it was checked against."""

    async def main() -> list[Outcome]:
        batcher = make()
        return await gathered(*(batcher.submit(float(key), frame(1, 1)) for key in (3, 5, 3, 5)))

    assert [values(outcome) for outcome in run(main)] == [[3, 3], [5, 5], [3, 3], [5, 5]]
    assert sorted(model.calls) == [(3.0, [1] * 4), (5.0, [1] * 4)]


def test_a_call_has_at_most_its_rows(make: Make, model: Model) -> None:
    """What does not fit waits for the next turn, in order of arrival."""

    async def main() -> list[Outcome]:
        batcher = make(batch_rows=4)
        return await gathered(*(batcher.submit(1.0, frame(*range(number, number + 3))) for number in range(5)))

    assert [values(outcome)[0] for outcome in run(main)] == [0, 1, 2, 3, 4]
    assert model.sizes == [3] * 5


def test_a_quick_model_runs_on_the_loop_and_others_do_not(executor: ThreadPoolExecutor, model: Model) -> None:
    """Handing a short call to a thread costs more than it takes; a long one would hold up the loop."""

    async def main() -> None:
        batcher = MicroBatcher(model, executor, Limits(), is_quick=lambda key: key == 1.0)
        await batcher.submit(1.0, frame(1))
        assert model.threads == {threading.current_thread().name}
        model.threads.clear()
        await batcher.submit(2.0, frame(1))

    run(main)
    assert all(name.startswith("predict") for name in model.threads)


def test_no_more_calls_run_at_once_than_threads(executor: ThreadPoolExecutor) -> None:
    """With two, the second request does not wait for the first."""
    model = Model(gate=threading.Event())

    async def main() -> None:
        batcher = MicroBatcher(model, executor, Limits(threads=2))
        waiting = []
        for number in range(4):
            waiting.append(batcher.submit(1.0, frame(number)))
            await asyncio.sleep(0.02)
        assert model.sizes == [1, 1]
        assert model.gate is not None
        model.gate.set()
        await gathered(*waiting)

    run(main)
    assert model.sizes == [1, 1, 2]


# --- large requests ---------------------------------------------------------------------------------------------------


def test_a_large_request_runs_in_slices(make: Make, model: Model) -> None:
    """And is put together again, in order."""

    async def main() -> Outcome:
        outcome: Outcome = await make(batch_rows=10).submit(2.0, frame(*range(25)))
        return outcome

    assert values(run(main)) == [2 * number for number in range(25)]
    assert model.sizes == [10, 10, 5]


def test_a_small_request_passes_a_large_one(make: Make, model: Model) -> None:
    """It waits for a slice at most, not for the whole."""

    async def main() -> None:
        batcher = make(batch_rows=10)
        large = batcher.submit(1.0, frame(*range(1000)))
        await until(lambda: model.calls)
        await batcher.submit(1.0, frame(-5))
        assert not large.done()
        assert [-5] in [rows for _, rows in model.calls[:5]]
        await large

    run(main)


def test_large_requests_take_turns(make: Make, model: Model) -> None:
    """The shorter of two is done first, whichever came first."""

    async def main() -> None:
        batcher = make(batch_rows=10)
        long, short = batcher.submit(1.0, frame(*range(200))), batcher.submit(1.0, frame(*range(20)))
        await short
        assert not long.done()
        await long

    run(main)
    assert sum(model.sizes) == 220


def test_the_loop_turns_between_slices(make: Make) -> None:
    """So a probe is answered while a large request runs."""

    async def main() -> int:
        large = make(batch_rows=1).submit(1.0, frame(*range(50)))
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
        return await gathered(*(batcher.submit(1.0, frame(value)) for value in (1, POISON, 3)))

    first, second, third = run(main)
    assert (values(first), values(third)) == ([1], [3])
    assert isinstance(second, BugError)
    assert model.calls == [(1.0, [1, POISON, 3]), (1.0, [1]), (1.0, [POISON]), (1.0, [3])]


def test_a_slice_that_fails_fails_its_request(make: Make, model: Model) -> None:
    """The slices behind it are not asked for."""

    async def main() -> list[Any]:
        return await gathered(make(batch_rows=2).submit(1.0, frame(1, 2, POISON, 4, 5, 6)))

    assert isinstance(run(main)[0], BugError)
    assert model.sizes == [2, 2]


def test_a_failure_leaves_the_queue_empty(make: Make) -> None:
    """Its rows no longer count."""

    async def main() -> None:
        batcher = make(batch_rows=2)
        await gathered(batcher.submit(1.0, frame(POISON)), batcher.submit(1.0, frame(*[POISON] * 9)))
        assert batcher.rows == 0

    run(main)


def test_an_executor_that_is_shut_down_fails_its_requests(model: Model) -> None:
    """None of them waits for ever."""
    executor = ThreadPoolExecutor(1)
    executor.shutdown()

    async def main() -> list[Any]:
        return await gathered(MicroBatcher(model, executor, Limits()).submit(1.0, frame(1)))

    assert isinstance(run(main)[0], RuntimeError)


def test_a_call_that_the_executor_drops_cancels_its_requests() -> None:
    """As at the end of a shutdown's grace."""
    executor, model = ThreadPoolExecutor(1), Model(gate=threading.Event())

    async def main() -> list[Any]:
        batcher = MicroBatcher(model, executor, Limits(threads=2))
        first = batcher.submit(1.0, frame(1))
        await until(lambda: model.calls)
        second = batcher.submit(1.0, frame(2))
        await asyncio.sleep(0.01)
        executor.shutdown(wait=False, cancel_futures=True)
        assert model.gate is not None
        model.gate.set()
        done = await gathered(first, second)
        assert batcher.rows == 0
        return done

    first, second = run(main)
    assert values(first) == [1]
    assert isinstance(second, asyncio.CancelledError)


# --- the bound, deadlines, cancelling ---------------------------------------------------------------------------------


def test_rows_beyond_the_queue_are_refused(make: Make, model: Model) -> None:
    """With 503 and RESOURCE_EXHAUSTED; those that wait are answered, and later ones again."""

    async def main() -> None:
        batcher = make(queue_rows=3)
        waiting = [batcher.submit(1.0, frame(1, 2)), batcher.submit(1.0, frame(3))]
        with pytest.raises(Overloaded, match="over 3 rows would be waiting") as caught:
            batcher.submit(1.0, frame(4))
        assert (caught.value.http_status, caught.value.grpc_code) == (503, "RESOURCE_EXHAUSTED")
        await gathered(*waiting)
        assert batcher.rows == 0
        assert values(await batcher.submit(1.0, frame(4))) == [4]

    run(main)
    assert sum(model.sizes) == 4


def test_a_request_that_is_alone_is_never_too_large(make: Make) -> None:
    """Else it could never be answered; its rows have a limit of their own."""

    async def main() -> None:
        assert len(values(await make(queue_rows=3, batch_rows=4).submit(1.0, frame(*range(9))))) == 9

    run(main)


def test_cancelled_requests_leave_the_queue(make: Make, model: Model) -> None:
    """They are not computed, and make room for others at once."""

    async def main() -> None:
        batcher = make(queue_rows=4)
        kept, gone = batcher.submit(1.0, frame(1)), batcher.submit(1.0, frame(7, 7, 7))
        gone.cancel()
        more = batcher.submit(1.0, frame(2, 3))
        assert [values(outcome) for outcome in await gathered(kept, more)] == [[1], [2, 3]]
        assert batcher.rows == 0

    run(main)
    assert model.calls == [(1.0, [1, 2, 3])]


def test_a_large_request_that_is_cancelled_stops(make: Make, model: Model) -> None:
    """Its other slices are not computed."""

    async def main() -> None:
        batcher = make(batch_rows=1)
        large = batcher.submit(1.0, frame(*range(500)))
        await until(lambda: model.calls)
        large.cancel()
        await batcher.submit(1.0, frame(1))
        await until(lambda: not batcher.rows)

    run(main)
    assert len(model.calls) < 10


def test_a_request_that_is_cancelled_while_it_runs_touches_no_neighbour(executor: ThreadPoolExecutor) -> None:
    """MLServer never answers the rest of such a batch."""
    model = Model(gate=threading.Event())

    async def main() -> None:
        batcher = MicroBatcher(model, executor, Limits())
        gone, kept = batcher.submit(1.0, frame(1)), batcher.submit(1.0, frame(2))
        await until(lambda: model.calls)
        gone.cancel()
        assert model.gate is not None
        model.gate.set()
        assert values(await kept) == [2]
        assert batcher.rows == 0

    run(main)


def test_an_expired_request_is_refused_without_being_computed(executor: ThreadPoolExecutor, model: Model) -> None:
    """After its own deadline, or the longest wait; its neighbours are answered."""
    now = [100.0]

    async def main() -> list[Any]:
        limits = Limits(wait_s=5.0)
        batcher = MicroBatcher(model, executor, limits, is_quick=lambda _: True, clock=lambda: now[0])
        waiting = [batcher.submit(1.0, frame(1), deadline_s=101.0), batcher.submit(1.0, frame(2))]
        now[0] += 3.0
        waiting.append(batcher.submit(1.0, frame(3)))
        done = await gathered(*waiting)
        waiting = [batcher.submit(1.0, frame(4)), batcher.submit(1.0, frame(*range(999)))]
        now[0] += 6.0
        assert batcher.rows == 1000
        done += await gathered(*waiting)
        assert batcher.rows == 0
        return done

    first, second, third, *late = run(main)
    assert [values(second), values(third)] == [[2], [3]]
    assert [type(error) for error in (first, *late)] == [Overloaded] * 3
    assert model.calls == [(1.0, [2, 3])]


def test_a_request_that_began_is_finished_after_its_deadline(executor: ThreadPoolExecutor, model: Model) -> None:
    """The deadline is for waiting: what is half done costs less to finish than to ask again."""
    now = [0.0]

    async def main() -> Outcome:
        batcher = MicroBatcher(model, executor, Limits(batch_rows=1), is_quick=lambda _: True, clock=lambda: now[0])
        asked = batcher.submit(1.0, frame(1, 2, 3), deadline_s=1.0)
        await until(lambda: model.calls)
        now[0] = 9.0
        return await asked

    assert values(run(main)) == [1, 2, 3]


# --- splitting and joining --------------------------------------------------------------------------------------------


def reason(name: str) -> Reason:
    """Make a reason of that feature."""
    return Reason(name, 0.5, "increases", "value", "y")


@given(cuts=st.lists(st.integers(0, 12), max_size=5), seed=st.integers(0, 99), n_classes=st.integers(0, 3))
def test_joining_undoes_taking(cuts: list[int], seed: int, n_classes: int) -> None:
    """For labels, probabilities, values and reasons, wherever the cuts are."""
    rng = np.random.default_rng(seed)
    whole = Outcome(
        Prediction(labels=rng.integers(0, 3, 12), probabilities=rng.random((12, n_classes)))
        if n_classes
        else Prediction(values=rng.random(12)),
        tuple((reason(str(row)),) for row in range(12)) if seed % 2 else (),
    )
    places = sorted({0, 12, *cuts})

    joined = join_outcomes([whole.take(start, stop) for start, stop in pairwise(places)])

    for name in ("labels", "probabilities", "values"):
        expected, actual = getattr(whole.prediction, name), getattr(joined.prediction, name)
        assert (expected is None and actual is None) or np.array_equal(expected, actual)
    assert joined.reasons == whole.reasons


# --- everything at once -----------------------------------------------------------------------------------------------


@dataclass
class Storm:
    """Random clients of one batcher: what each asked, and what became of it."""

    batcher: MicroBatcher[float]
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
            rows[self.rng.randrange(count)] = POISON
        return rows

    async def _ask(self, key: float, rows: list[float]) -> Outcome:
        return await self.batcher.submit(key, frame(*rows))

    async def _end(self, task: asyncio.Future[Outcome], key: float, rows: list[float]) -> str:
        try:
            outcome = await task
        except asyncio.CancelledError:
            return "cancelled"
        except Overloaded:
            return "refused"
        except BugError:
            assert POISON in rows, "a neighbour's failure"
            return "failed"
        assert values(outcome) == [key * row for row in rows], "lost, swapped or another version's"
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
        batcher = MicroBatcher(model, executor, limits, is_quick=lambda _: is_quick)
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
    assert min(storm.ends[end] for end in ("answered", "cancelled", "failed", "refused")) > requests // 1000
    assert max(model.sizes) <= limits.batch_rows
