"""Joint: the rows of several calls checked and predicted as one; knows contracts and predictors, no queue, no bytes.

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
from model_server.serving.call import Call
from model_server.serving.result import Outcome, Whole, join_outcomes
from model_server.serving.tensors import Array, plain_matrix

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from model_server.contract import Contract
    from model_server.explain import Reason
    from model_server.frame import Frame
    from model_server.predictor import Prediction
    from model_server.serving.loaded import Served
    from model_server.telemetry import Metrics

    Item = Call | Frame

#: Calls of so many seconds run on the event loop: handing one to a thread and back costs some 0.1 ms, and saves the
#: loop nothing, since kernels keep Python's global lock. Longer ones at least take turns with it.
QUICK_S = 0.005


class Asked(NamedTuple):
    """What requests must have in common to share a model call: the very same bundle, and as many reasons."""

    served: Served
    reasons: int


class Joint:
    """Answers calls together; the work of the batcher."""

    def __init__(self, metrics: Metrics) -> None:
        """Bind what counts rows, times and broken rules."""
        self._metrics = metrics
        self._pace = Pace()
        # Looking a series up takes longer than counting.
        self._series = lru_cache(maxsize=4)(
            lambda version: (metrics.inference_seconds.labels(version), metrics.rows.labels(version))
        )

    def run(self, key: Asked, items: Sequence[Item]) -> list[Outcome | Exception]:
        """Check and predict items of one bundle; a contract's error is that item's alone."""
        checked = _Checked(key.served.contract, items)
        checked.check()
        for error in checked.errors.values():
            self.count(error, checked.contract)
        if not checked.frames:
            return [checked.errors[index] for index in range(len(items))]
        whole = self._predicted(key, join_frames(checked.frames))
        return [checked.errors.get(index) or Outcome(whole, *checked.places[index]) for index in range(len(items))]

    def cut(self, item: Item, rows: slice) -> Item:
        """Give some of the rows of a large item, which is a checked frame."""
        if isinstance(item, Call):
            raise BugError("a call of more rows than a batch is checked before it is queued")
        return item.take(rows)

    def join(self, parts: Sequence[Outcome]) -> Outcome:
        """Put the outcomes of such parts together."""
        return join_outcomes(parts)

    def is_quick(self, key: Asked) -> bool:
        """Say whether a bundle's calls are short: those of kernels have been so of late."""
        # What a pipeline does in its own code can take any time, whatever the last calls took; kernels cannot.
        is_bounded = key.served.predictor.model.is_bounded
        return is_bounded and not key.reasons and self._pace.of(key.served) <= QUICK_S

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

    def _predicted(self, key: Asked, frame: Frame) -> Whole:
        served, count = key
        started_s, used_s = time.perf_counter(), self._pace.clock()
        prediction = served.predictor.predict(frame)
        elapsed_s = time.perf_counter() - started_s
        self._pace.took(served, elapsed_s, self._pace.clock() - used_s)
        seconds, rows = self._series(served.version)
        seconds.observe(elapsed_s)
        rows.inc(frame.n_rows)
        if frame.warned:
            self.count_warned(frame)
        return Whole(frame, prediction, _reasons(served, frame, prediction, count) if count else ())


class _Checked:
    """Items on their way to one frame: the frames of those that keep the contract, and the errors of the others.

    Attributes:
        contract: What they are checked against.
        frames: Checked rows, to be joined in this order.
        places: First row and number of rows of each good item.
        errors: The errors of the others.
    """

    def __init__(self, contract: Contract, items: Sequence[Item]) -> None:
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
                self.errors.update(dict.fromkeys(parts, error))
                return
            for index in parts:
                self._alone(index, self._items[index])

    def _alone(self, index: int, item: Any) -> None:
        try:
            frame = item.frame(self.contract)
        except ContractError as error:
            self.errors[index] = error
        else:
            self._add({index: frame.n_rows}, frame)

    def _add(self, counts: Mapping[int, int], frame: Frame) -> None:
        self.frames.append(frame)
        for index, count in counts.items():
            self.places[index] = (self._n_rows, count)
            self._n_rows += count


class Pace:
    """How long the calls of the served bundle take of late: an average that forgets, in seconds of processor time.

    Time on the wall is no less, and far cheaper to ask for; the processor time is asked for only while calls seem long,
    which on a busy machine they may by waiting for a processor.
    """

    _FORGETS = 0.1

    def __init__(self) -> None:
        self._now: tuple[Served | None, float] = (None, math.inf)
        self._is_in_doubt = True

    def of(self, served: Served) -> float:
        """Give the average, infinite before the first call."""
        bundle, seconds = self._now
        return seconds if bundle is served else math.inf

    def clock(self) -> float:
        """Read this thread's processor time in seconds, if it is needed; NaN if not."""
        return time.thread_time() if self._is_in_doubt else math.nan

    def took(self, served: Served, elapsed_s: float, used_s: float) -> None:
        """Note a call; threads may overwrite each other's note, which an average survives.

        Args:
            served: Which bundle was called.
            elapsed_s: Time on the wall.
            used_s: Processor time; NaN where it was not asked for.
        """
        self._is_in_doubt = elapsed_s > QUICK_S
        seconds = min(elapsed_s, used_s)  # the first of them where the second is NaN
        if self._is_in_doubt and math.isnan(used_s):
            return
        before_s = self.of(served)
        after_s = seconds if before_s == math.inf else before_s + self._FORGETS * (seconds - before_s)
        self._now = (served, after_s)


def _reasons(served: Served, frame: Frame, prediction: Prediction, count: int) -> tuple[tuple[Reason, ...], ...]:
    outputs = _explained_outputs(served.contract, prediction, frame.n_rows)
    return tuple(served.explainer().explain(frame).reasons(count, outputs))


def _explained_outputs(contract: Contract, prediction: Prediction, n_rows: int) -> list[int]:
    """Choose which output a row's reasons speak of: of several classes, the one that was answered."""
    if prediction.labels is None or len(contract.output.classes) == 2:
        return [0] * n_rows
    return [contract.output.classes.index(label) for label in prediction.labels.tolist()]
