"""Observers: they see each batch once, after its answers, and whatever they do changes and delays no answer."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from model_server.serving.observers import GATHER_S, Observers
from tests.bundles.catalogue import NUMBERS
from tests.bundles.live_server import serving, wait_for
from tests.model_server.waiting import Blocked, ask, call

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from concurrent.futures import ThreadPoolExecutor
    from pathlib import Path

    import pytest

    from model_server.frame import Frame
    from model_server.predictor import Prediction
    from model_server.serving.loaded import LoadedBundle
    from tests.bundles.live_server import LiveServer

PREDICT = "/v1/models/linear:predict"


@dataclass
class Recording:
    """Keeps the rows and values of every batch that it sees; with a gate closed, each is seen when the gate opens."""

    gate: threading.Event | None = None
    entered: threading.Event = field(default_factory=threading.Event)
    rows: list[list[list[Any]]] = field(default_factory=list)
    values: list[list[float]] = field(default_factory=list)
    threads: set[str] = field(default_factory=set)
    calls: int = 0

    def observe(self, loaded: LoadedBundle, frame: Frame, prediction: Prediction) -> None:
        """Wait for the gate, then keep what there is."""
        del loaded
        self.calls += 1
        self.threads.add(threading.current_thread().name)
        self.entered.set()
        if self.gate is not None:
            assert self.gate.wait(20), "the test never opened the gate"
        assert prediction.values is not None
        self.rows.append(frame.to_rows())
        self.values.append(prediction.values.tolist())


class Raising:
    """Fails with every batch."""

    def observe(self, loaded: LoadedBundle, frame: Frame, prediction: Prediction) -> None:
        """Raise what no handler of errors of ours would expect."""
        del loaded, frame, prediction
        raise ZeroDivisionError("an observer of a test")


def row(number: int) -> list[float]:
    """Write a row that no other request has."""
    return [float(number), 0.5, -1.0]


def predict(service: LiveServer, *rows: list[float]) -> Any:
    """Ask the linear model."""
    return service.http.post(PREDICT, json={"instances": list(rows)})


# --- over a real server -----------------------------------------------------------------------------------------------


def test_a_blocked_observer_delays_no_answer(written: Path) -> None:
    """All protocols are answered while it is stuck in the first batch; afterwards it sees each of them once."""
    gate = threading.Event()
    recording = Recording(gate)
    with serving(written / "linear" / "1.0.0", observers=[recording]) as service:
        answers = [predict(service, row(0))]
        wait_for(recording.entered.is_set)
        answers += [predict(service, row(number)) for number in range(1, 9)]
        tensor = {"name": "features", "datatype": "FP64", "shape": [1, 3], "data": row(9)}
        answers.append(service.http.post("/v2/models/linear/infer", json={"inputs": [tensor]}))
        answers.append(service.http.post("/predict", json=dict(zip(("x0", "x1", "x2"), row(10), strict=True))))
        assert service.http.get("/ready").status_code == 200
        seen_meanwhile = len(recording.rows)
        gate.set()
        wait_for(lambda: len(recording.rows) == 11)

    assert [answer.status_code for answer in answers] == [200] * 11
    assert seen_meanwhile == 0
    assert recording.rows == [[row(number)] for number in range(11)]
    assert recording.threads == {"observe_0"}


def test_a_raising_observer_changes_no_answer(written: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The bytes are those of a server that nobody watches, and the observers behind it see every batch."""
    directory, rows = written / "linear" / "1.0.0", [row(number) for number in range(5)]
    recording = Recording()
    with serving(directory) as service:
        expected = [predict(service, one).content for one in rows]
    with serving(directory, observers=[Raising(), recording]) as service:
        found = [predict(service, one).content for one in rows]
        wait_for(lambda: len(recording.rows) == len(rows))

    assert found == expected
    assert recording.rows == [[one] for one in rows]
    failures = [record for record in caplog.records if record.getMessage() == "an observer failed"]
    assert failures[0].__dict__["fields"] == {"observer": "Raising"}
    assert failures[0].exc_info is not None


def test_each_batch_is_observed_once_with_its_answers(written: Path, pool: ThreadPoolExecutor) -> None:
    """Requests that shared a model call are one batch, in the order in which they came."""
    recording = Recording()
    with serving(written / "waiting" / "1.0.0", observers=[recording]) as service:
        blocked = Blocked(service, pool, 1.0)
        before = blocked.calls
        asked = [pool.submit(ask, service, [float(number), 0.0]) for number in range(4)]
        asked.append(pool.submit(call, service, [4.0, 0.0]))
        for waiting in asked:
            waiting.result()
        wait_for(lambda: len(recording.values) >= 2)

        assert blocked.calls == before + len(recording.values)
    assert recording.values[0] == [9.0]
    assert sorted(value for values in recording.values[1:] for value in values) == [0.0, 1.0, 2.0, 3.0, 4.0]
    assert [[first for first, _ in rows] for rows in recording.rows] == recording.values


def test_a_large_request_is_observed_slice_by_slice(written: Path) -> None:
    """Every row once, in order: a slice is a batch."""
    recording, rows = Recording(), [row(number) for number in range(25)]
    with serving(written / "linear" / "1.0.0", "--batch_rows=10", observers=[recording]) as service:
        assert predict(service, *rows).status_code == 200
        wait_for(lambda: sum(map(len, recording.rows)) == len(rows))

    assert recording.rows == [rows[:10], rows[10:20], rows[20:]]


def test_explanations_and_refusals_are_not_observed(written: Path) -> None:
    """An observer watches predictions: a request without one is none of its business."""
    recording = Recording()
    with serving(written / "linear" / "1.0.0", observers=[recording]) as service:
        explained = service.http.post("/v1/models/linear:explain", json={"instances": NUMBERS})
        refused = predict(service, [1.0, 1e31, 1.0])
        predicted = predict(service, row(1))
        wait_for(lambda: len(recording.rows) > 0)

    assert [answer.status_code for answer in (explained, refused, predicted)] == [200, 400, 200]
    assert recording.rows == [[row(1)]]
    assert recording.calls == 1


# --- the bound, failures and the end ----------------------------------------------------------------------------------


def on_a_loop(steps: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run a coroutine function on a loop of its own, whose handler of lost errors must stay silent."""

    async def main() -> None:
        lost: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: lost.append(context))
        await asyncio.wait_for(steps(), 30)
        assert lost == []

    asyncio.run(main())


async def until(condition: Callable[[], Any]) -> None:
    """Let the loop turn until a condition holds; what it waits for happens in a thread."""
    while not condition():  # noqa: ASYNC110 - there is no event to wait for
        await asyncio.sleep(0.001)


def note(observers: Observers, linear: LoadedBundle, n_rows: int) -> None:
    """Let a batch of so many rows be observed."""
    frame = linear.contract.frame([row(number) for number in range(n_rows)])
    observers.note(linear, frame, linear.predictor.predict(frame))


def test_rows_beyond_the_bound_are_dropped_and_counted(linear: LoadedBundle) -> None:
    """A whole batch or nothing of it; once those that wait are observed, there is room again."""
    gate = threading.Event()
    recording = Recording(gate)
    observers = Observers([recording], most_rows=5)

    async def steps() -> None:
        note(observers, linear, 3)
        note(observers, linear, 2)
        note(observers, linear, 1)
        await until(recording.entered.is_set)
        note(observers, linear, 4)  # what is being observed still counts: its rows are held until then
        assert observers.dropped_rows == 5
        gate.set()
        await until(lambda: len(recording.rows) == 2)
        await until(lambda: observers._waiting_rows == 0)  # noqa: SLF001 - what the bound is compared with
        note(observers, linear, 5)
        await until(lambda: len(recording.rows) == 3)

    on_a_loop(steps)
    observers.close()

    assert [len(rows) for rows in recording.rows] == [3, 2, 5]
    assert observers.dropped_rows == 5


def test_a_batch_that_is_alone_is_never_too_large(linear: LoadedBundle) -> None:
    """Batches may be set to more rows than the bound, and would all go unobserved."""
    recording = Recording()
    observers = Observers([recording], most_rows=5)

    async def steps() -> None:
        note(observers, linear, 6)
        await until(lambda: len(recording.rows) == 1)

    on_a_loop(steps)
    observers.close()

    assert observers.dropped_rows == 0


def test_what_comes_while_observers_are_busy_is_observed_next(linear: LoadedBundle) -> None:
    """No batch has to wait for a further one to wake the thread."""
    gate = threading.Event()
    recording = Recording(gate)
    observers = Observers([recording])

    async def steps() -> None:
        note(observers, linear, 1)
        await until(recording.entered.is_set)
        note(observers, linear, 2)
        gate.set()
        await until(lambda: len(recording.rows) == 2)

    on_a_loop(steps)
    observers.close()

    assert [len(rows) for rows in recording.rows] == [1, 2]


def test_a_broken_observer_does_not_fill_the_log(linear: LoadedBundle, caplog: pytest.LogCaptureFixture) -> None:
    """All failures are counted; the first, second, fourth and eighth are logged."""
    observers = Observers([Raising()])

    async def steps() -> None:
        for _ in range(9):
            note(observers, linear, 1)
        await until(lambda: observers.failures == 9)

    on_a_loop(steps)
    observers.close()

    assert [record.getMessage() for record in caplog.records] == ["an observer failed"] * 4


def test_nothing_is_observed_after_the_end(linear: LoadedBundle) -> None:
    """A server that stops does not wait for those that watch it, nor fails over them."""
    recording = Recording()
    observers = Observers([recording])

    async def steps() -> None:
        note(observers, linear, 1)
        observers.close()
        await asyncio.sleep(GATHER_S * 3)

    on_a_loop(steps)

    assert recording.rows == []
    assert not recording.entered.is_set()


def test_only_observers_make_a_server_watched() -> None:
    """Without any, a batch costs nothing more; and no thread is started before there is a batch to observe."""
    before = set(threading.enumerate())
    observers = Observers([Recording()])

    assert not Observers()
    assert observers
    assert set(threading.enumerate()) == before
