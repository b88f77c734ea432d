"""BatchRunner: validation and prediction of several calls as one batch.

Checking 32 rows together takes hardly longer than checking one. If something in them breaks the contract, each call is
checked by itself, so that a bad one fails alone, with the places of its own rows.
"""

from __future__ import annotations

import math
import time
from functools import lru_cache
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from model_server.errors import BugError, ContractError
from model_server.frame import join_frames
from model_server.serving.call import PLAIN, BatchResult, Call, Options, Result, join_results
from model_server.serving.tensors import Array, plain_matrix

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from model_server.contract import Contract
    from model_server.frame import Frame
    from model_server.predictor import Prediction
    from model_server.serving.call import Reasons
    from model_server.serving.loaded import LoadedBundle
    from model_server.serving.observers import Observers
    from model_server.telemetry.metrics import Metrics

    Item = Call | Frame

#: Batches of so many seconds run on the event loop: handing one to a thread and back costs some 0.1 ms, and saves the
#: loop nothing, since kernels keep Python's global lock. Longer ones at least take turns with it.
QUICK_S = 0.005


class BatchKey(NamedTuple):
    """What requests must have in common to share a batch: the very same bundle, and equal options."""

    loaded: LoadedBundle
    options: Options


class BatchRunner:
    """Validates and predicts the batches of the queue."""

    def __init__(self, metrics: Metrics, observers: Observers) -> None:
        """Bind what counts and what watches.

        Args:
            metrics: Counts rows, times and broken rules.
            observers: Told of each batch of predictions.
        """
        self._metrics = metrics
        self._observers = observers
        self._is_watched = bool(observers)
        self._pace = Pace()
        # Looking a series up takes longer than counting.
        self._series = lru_cache(maxsize=4)(
            lambda version: (metrics.inference_seconds.labels(version), metrics.rows.labels(version))
        )

    def run(self, key: BatchKey, items: Sequence[Item]) -> list[Result | Exception]:
        """Check and predict items of one bundle; a contract's error is that item's alone."""
        checking = Checking(key.loaded.contract, items)
        checking.check()
        for error in checking.errors.values():
            self.count(error, checking.contract)
        if not checking.frames:
            return [checking.errors[index] for index in range(len(items))]
        batch = self._answered(key, join_frames(checking.frames))
        return [checking.errors.get(index) or Result(batch, *checking.places[index]) for index in range(len(items))]

    def handed_on(self, key: BatchKey, results: Sequence[Result | Exception]) -> None:
        """Notify the observers of a batch."""
        if not self._is_watched:
            return
        batch = next((result.batch for result in results if isinstance(result, Result)), None)
        if batch is not None and batch.prediction is not None:
            self._observers.note(key.loaded, batch.frame, batch.prediction)

    def cut(self, item: Item, rows: slice) -> Item:
        """Slice a large item, which is a checked frame."""
        if isinstance(item, Call):
            raise BugError("a call of more rows than a batch is checked before it is queued")
        return item.take(rows)

    def join(self, parts: Sequence[Result]) -> Result:
        """Concatenate the results of slices."""
        return join_results(parts)

    def is_quick(self, key: BatchKey) -> bool:
        """Say whether a bundle's batches are short: those of kernels have been so of late."""
        # What a pipeline does in its own code can take any time, whatever the last batches took; kernels cannot.
        is_bounded = key.loaded.predictor.model.is_bounded and key.options == PLAIN
        return is_bounded and self._pace.of(key.loaded) <= QUICK_S

    def count(self, error: ContractError, contract: Contract) -> None:
        """Count the rules that a call broke."""
        names = frozenset(contract.names)  # an unknown feature is the client's word: it must not become a label
        for violation in error.violations:
            known = violation.feature if violation.feature in names else ""
            self._metrics.violations.labels(known).inc()

    def count_warned(self, frame: Frame) -> None:
        """Count the values of a frame that lie outside bounds which only warn."""
        for feature, count in frame.warned.items():
            self._metrics.out_of_bounds.labels(feature).inc(count)

    def _answered(self, key: BatchKey, frame: Frame) -> BatchResult:
        loaded, options = key
        if frame.warned:
            self.count_warned(frame)
        seconds, rows = self._series(loaded.version)
        if options.explain:
            batch = BatchResult(frame, None, explanation=loaded.explainer().explain(frame))
            rows.inc(frame.n_rows)
            return batch
        started_s, used_s = time.perf_counter(), self._pace.clock()
        prediction = loaded.predictor.predict(frame)
        elapsed_s = time.perf_counter() - started_s
        self._pace.took(loaded, elapsed_s, self._pace.clock() - used_s)
        seconds.observe(elapsed_s)
        rows.inc(frame.n_rows)
        return BatchResult(frame, prediction, _reasons(key, frame, prediction) if options.reasons else ())


def _reasons(key: BatchKey, frame: Frame, prediction: Prediction) -> Reasons:
    outputs = _explained_outputs(key.loaded.contract, prediction, frame.n_rows)
    return tuple(key.loaded.explainer().explain(frame).reasons(key.options.reasons, outputs))


def _explained_outputs(contract: Contract, prediction: Prediction, n_rows: int) -> list[int]:
    """Choose which output a row's reasons speak of: of several classes, the one that was answered."""
    if prediction.labels is None or len(contract.output.classes) == 2:
        return [0] * n_rows
    return [contract.output.classes.index(label) for label in prediction.labels.tolist()]


class Checking:
    """Items on their way to one frame: the frames of those that keep the contract, and the errors of the others.

    Attributes:
        contract: What they are checked against.
        frames: Checked rows, to be joined in this order.
        places: First row and number of rows of each good item.
        errors: The errors of the others.
    """

    def __init__(self, contract: Contract, items: Sequence[Item]) -> None:
        """Bind the items; none of them is looked at yet."""
        self.contract = contract
        self.frames: list[Frame] = []
        self.places: dict[int, tuple[int, int]] = {}
        self.errors: dict[int, ContractError] = {}
        self._items = items
        self._n_rows = 0

    def check(self) -> None:
        """Check rows together, matrices together, and everything else by itself."""
        rows: dict[int, Sequence[Any]] = {}
        matrices: dict[int, Array] = {}
        for index, item in enumerate(self._items):
            if not isinstance(item, Call):
                self._add({index: item.n_rows}, item)
            elif item.rows is not None:
                rows[index] = item.rows
            else:
                matrix = plain_matrix(item.tensors, self.contract)
                if matrix is None:
                    self._alone(index, item)
                else:
                    matrices[index] = matrix
        if rows:
            self._together(rows, lambda: self.contract.frame(list(chain.from_iterable(rows.values()))))
        if matrices:
            self._together(matrices, lambda: self.contract.frame_from_matrix(np.concatenate(list(matrices.values()))))

    def _together(self, parts: Mapping[int, Sequence[Any] | Array], frame: Callable[[], Frame]) -> None:
        try:
            self._add({index: len(part) for index, part in parts.items()}, frame())
        except ContractError as error:
            if len(parts) == 1:
                self.errors.update(dict.fromkeys(parts, _bare(error)))
                return
            for index in parts:
                self._alone(index, self._items[index])

    def _alone(self, index: int, item: Any) -> None:
        try:
            frame = item.frame(self.contract)
        except ContractError as error:
            self.errors[index] = _bare(error)
        else:
            self._add({index: frame.n_rows}, frame)

    def _add(self, counts: Mapping[int, int], frame: Frame) -> None:
        self.frames.append(frame)
        for index, count in counts.items():
            self.places[index] = (self._n_rows, count)
            self._n_rows += count


def _bare(error: ContractError) -> ContractError:
    """Take the stack away: it leads back to the items, which would stay until the garbage collector runs."""
    return error.with_traceback(None)


class Pace:
    """Exponential moving average of the duration of a bundle's batches, in seconds of processor time.

    Time on the wall is no less, and far cheaper to ask for; the processor time is asked for only while batches seem
    long, which on a busy machine they may by waiting for a processor.
    """

    _WEIGHT = 0.1  # of the newest batch

    def __init__(self) -> None:
        """Begin without any batch."""
        self._now: tuple[LoadedBundle | None, float] = (None, math.inf)
        self._is_in_doubt = True

    def of(self, loaded: LoadedBundle) -> float:
        """Give the average, infinite before the first batch."""
        bundle, seconds = self._now
        return seconds if bundle is loaded else math.inf

    def clock(self) -> float:
        """Read this thread's processor time in seconds, if it is needed; NaN if not."""
        return time.thread_time() if self._is_in_doubt else math.nan

    def took(self, loaded: LoadedBundle, elapsed_s: float, used_s: float) -> None:
        """Note a batch; threads may overwrite each other's note, which an average survives.

        Args:
            loaded: Which bundle predicted.
            elapsed_s: Time on the wall.
            used_s: Processor time; NaN where it was not asked for.
        """
        self._is_in_doubt = elapsed_s > QUICK_S
        seconds = min(elapsed_s, used_s)  # the first of them where the second is NaN
        if self._is_in_doubt and math.isnan(used_s):
            return
        before_s = self.of(loaded)
        after_s = seconds if before_s == math.inf else before_s + self._WEIGHT * (seconds - before_s)
        self._now = (loaded, after_s)
