"""Call and Answer: what every protocol is decoded to and encoded from; knows the contract, no bytes and no protocol."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from model_server.errors import ContractError, UnknownOutput, Violation
from model_server.serving.tensors import Tensor, to_frame

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from model_server.contract import Contract
    from model_server.explain import Reason
    from model_server.frame import Frame
    from model_server.predictor import Prediction
    from model_server.serving.result import Outcome


@dataclass(frozen=True, slots=True)
class RequestedOutput:
    """An output that the client names, and whether it wants it as binary data."""

    name: str
    binary: bool = False


# Not frozen, as little as is made once a request: freezing a dataclass makes it five times as slow to create.
@dataclass(slots=True, eq=False)
class Call:
    """A decoded request, of any protocol.

    Attributes:
        rows: v1 instances and facade rows; None for tensors.
        tensors: v2 inputs; empty for rows.
        id: What the client wants echoed, or None.
        outputs: Outputs to answer, in order; empty for all.
        binary: Whether outputs not named one by one are wanted as binary data.
        reasons: How many reasons a row are asked for; 0 for none.
    """

    rows: Sequence[Any] | None = None
    tensors: tuple[Tensor, ...] = ()
    id: str | None = None
    outputs: tuple[RequestedOutput, ...] = ()
    binary: bool = False
    reasons: int = 0

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


@dataclass(slots=True, eq=False)
class Answer:
    """What the core found for a call.

    Attributes:
        call: The request.
        model_name: Name under which the model is served.
        model_version: Version of the bundle that answered.
        contract: Its contract.
        outcome: The checked rows, one answer a row, and the reasons that were asked for.
    """

    call: Call
    model_name: str
    model_version: str
    contract: Contract
    outcome: Outcome

    @property
    def n_rows(self) -> int:
        """How many rows were answered."""
        return self.outcome.n_rows

    @property
    def frame(self) -> Frame:
        """The checked rows."""
        return self.outcome.frame

    @property
    def prediction(self) -> Prediction:
        """One answer a row."""
        return self.outcome.prediction

    @property
    def reasons(self) -> tuple[tuple[Reason, ...], ...]:
        """The asked number of reasons a row; empty when none were asked for."""
        return self.outcome.reasons

    def take(self, start: int, stop: int) -> Answer:
        """Give the rows from ``start`` up to ``stop`` as an answer of their own."""
        return Answer(self.call, self.model_name, self.model_version, self.contract, self.outcome.take(start, stop))


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
