"""Call, Result and Answer: the typed request and response that every protocol is decoded to and encoded from.

Requests share batches, so a result is a view of its batch; what encoders compute for all rows at once is cached there.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from model_server.errors import BugError, ContractError, UnknownOutput, Violation
from model_server.frame import join_frames
from model_server.predictor import Prediction
from model_server.serving.tensors import Tensor, to_frame

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from model_server.contract import Contract
    from model_server.explain import Explanation, Reason
    from model_server.frame import Frame
    from model_server.serving.loaded import LoadedBundle

    Reasons = tuple[tuple[Reason, ...], ...]


class Options(NamedTuple):
    """What a request wants beside a plain prediction; requests share a batch only under equal options.

    Attributes:
        reasons: How many reasons a row; 0 for none.
        explain: Whether all contributions are wanted in the place of predictions, as v1's ``:explain`` has it.
    """

    reasons: int = 0
    explain: bool = False


PLAIN = Options()


@dataclass(frozen=True, slots=True)
class RequestedOutput:
    """An output that the client names, and whether it wants it as binary data."""

    name: str
    binary: bool = False


# Not frozen: docs/decisions.md, 33.
@dataclass(slots=True, eq=False)
class Call:
    """A decoded request, of any protocol.

    Attributes:
        rows: v1 instances and facade rows; None for tensors.
        tensors: v2 inputs; empty for rows.
        id: What the client wants echoed, or None.
        outputs: Outputs to answer, in order; empty for all.
        binary: Whether outputs not named one by one are wanted as binary data.
        options: What is wanted beside a plain prediction.
    """

    rows: Sequence[Any] | None = None
    tensors: tuple[Tensor, ...] = ()
    id: str | None = None
    outputs: tuple[RequestedOutput, ...] = ()
    binary: bool = False
    options: Options = PLAIN

    @property
    def n_rows(self) -> int:
        """Rows in the request; for tensors, the first dimension of the first."""
        return len(self.rows) if self.rows is not None else self.tensors[0].shape[0]

    def parts(self, n_rows: int) -> Iterator[Call]:
        """Give the rows in calls of at most so many; all in one when the tensors differ in length."""
        total = self.n_rows
        if any(tensor.shape[0] != total for tensor in self.tensors):
            yield self
            return
        for start in range(0, total, n_rows):
            rows = slice(start, start + n_rows)
            if self.rows is not None:
                yield Call(self.rows[rows])
            else:
                yield Call(tensors=tuple(tensor.take(rows) for tensor in self.tensors))

    def frame(self, contract: Contract) -> Frame:
        """Check the call against a contract.

        Raises:
            ContractError: It breaks the contract.
        """
        return contract.frame(self.rows) if self.rows is not None else to_frame(self.tensors, contract)


# Not frozen: docs/decisions.md, 33.
@dataclass(slots=True, eq=False)
class BatchResult:
    """What one batch found, of one or more requests.

    Attributes:
        frame: The checked rows.
        prediction: One answer a row; None where contributions were asked for.
        reasons: The asked number of reasons a row; empty when none were asked for.
        explanation: The contributions to each row's answer, where they were asked for.
        memo: Cache of the encoders, by keys of theirs: what they made of all rows, of which each request takes a slice.
    """

    frame: Frame
    prediction: Prediction | None
    reasons: Reasons = ()
    explanation: Explanation | None = None
    memo: dict[str, Any] = field(default_factory=dict)

    @property
    def predicted(self) -> Prediction:
        """One answer a row.

        Raises:
            BugError: Contributions were asked for, not predictions.
        """
        if self.prediction is None:
            raise BugError("an explanation holds no predictions")
        return self.prediction


# Not frozen: docs/decisions.md, 33.
@dataclass(slots=True, eq=False)
class Result:
    """The slice of one request in the result of a batch.

    Attributes:
        batch: What the batch found.
        start: The first of the rows there.
        n_rows: How many they are.
    """

    batch: BatchResult
    start: int
    n_rows: int

    @property
    def stop(self) -> int:
        """The row behind the last."""
        return self.start + self.n_rows

    @property
    def frame(self) -> Frame:
        """The checked rows; views where a contract's table is one matrix."""
        return self.batch.frame.take(slice(self.start, self.stop))

    @property
    def prediction(self) -> Prediction:
        """One answer a row, as views.

        Raises:
            BugError: Contributions were asked for, not predictions.
        """
        whole, start, stop = self.batch.predicted, self.start, self.stop
        return Prediction(
            None if whole.labels is None else whole.labels[start:stop],
            None if whole.probabilities is None else whole.probabilities[start:stop],
            None if whole.values is None else whole.values[start:stop],
        )

    @property
    def reasons(self) -> Reasons:
        """The asked number of reasons a row; empty when none were asked for."""
        return self.batch.reasons[self.start : self.stop]

    @property
    def explanation(self) -> Explanation:
        """The contributions to each row's answer.

        Raises:
            BugError: They were not asked for.
        """
        if self.batch.explanation is None:
            raise BugError("contributions were not asked for")
        return self.batch.explanation.take(self.start, self.stop)

    def take(self, start: int, stop: int) -> Result:
        """Give some of the rows, counted from the first of these."""
        return Result(self.batch, self.start + start, min(stop, self.n_rows) - start)


def result_of(batch: BatchResult) -> Result:
    """Give all rows of a batch as the result of one request."""
    return Result(batch, 0, batch.frame.n_rows)


def join_results(parts: Sequence[Result]) -> Result:
    """Concatenate the results of the slices of one request, in order."""
    if len(parts) == 1:
        return parts[0]
    frame = join_frames([part.frame for part in parts])
    if parts[0].batch.explanation is not None:
        explanation = parts[0].explanation.joined([part.explanation for part in parts[1:]])
        return result_of(BatchResult(frame, None, explanation=explanation))
    predictions = [part.prediction for part in parts]
    joined = {
        name: np.concatenate([getattr(prediction, name) for prediction in predictions])
        for name in ("labels", "probabilities", "values")
        if getattr(predictions[0], name) is not None
    }
    return result_of(BatchResult(frame, Prediction(**joined), tuple(row for part in parts for row in part.reasons)))


# Not frozen: docs/decisions.md, 33.
@dataclass(slots=True, eq=False)
class Answer:
    """What the service found for a call.

    Attributes:
        call: The request.
        loaded: The bundle that answered.
        result: One answer a row, with the checked rows and what else was asked for.
    """

    call: Call
    loaded: LoadedBundle
    result: Result

    def take(self, start: int, stop: int) -> Answer:
        """Give the rows from ``start`` up to ``stop`` as an answer of their own."""
        return Answer(self.call, self.loaded, self.result.take(start, stop))


def available_outputs(contract: Contract) -> tuple[str, ...]:
    """Name what a model can answer on v2, in the order in which it does; ``reasons`` only when requested."""
    if contract.output.task == "regression":
        names: tuple[str, ...] = ("value",)
    else:
        names = ("label", "probabilities") if contract.output.probabilities else ("label",)
    return names + (("tier",) if contract.output.tiers else ())


def check_outputs(call: Call, contract: Contract) -> None:
    """Refuse unknown outputs before anything is computed.

    Raises:
        UnknownOutput: The model has no output of that name.
    """
    names = (*available_outputs(contract), "reasons")
    if any(output.name not in names for output in call.outputs):
        raise UnknownOutput(f"'outputs' names an output that this model does not have; it has {', '.join(names)}")


def check_rows(call: Call, max_rows: int) -> None:
    """Refuse more rows than the server takes.

    Raises:
        ContractError: There are more.
    """
    if call.n_rows > max_rows:
        raise ContractError([Violation(f"must have at most {max_rows} rows, got {call.n_rows}: split the request")])
