"""Calls and results: what is refused before anything is computed, and how results are cut and joined."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pytest

from model_server.errors import BugError, ContractError, UnknownOutput
from model_server.serving.call import (
    BatchResult,
    Call,
    RequestedOutput,
    Result,
    check_outputs,
    check_rows,
    join_results,
    result_of,
)
from model_server.serving.tensors import Tensor
from tests.bundles.catalogue import NUMBERS
from tests.bundles.contracts import TWO
from tests.model_server.refusals import refusal

if TYPE_CHECKING:
    from model_server.serving.loaded import LoadedBundle


def test_an_unknown_output_is_refused_with_those_there_are() -> None:
    """It is refused before anything is computed, and the text lists what may be asked for."""
    call = Call(rows=[[1.0, 2.0]], outputs=(RequestedOutput("value"), RequestedOutput("label")))

    text = refusal(UnknownOutput, check_outputs, call, TWO)

    assert text == "'outputs' names an output that this model does not have; it has value, reasons"


def test_rows_are_counted_before_they_are_read() -> None:
    """Tensors are counted by the first dimension of the first."""
    text = "must have at most 3 rows, got 4: split the request"
    tensor = Tensor("a", "FP64", (4, 2), np.zeros(8))

    assert refusal(ContractError, check_rows, Call(rows=[1] * 4), 3) == text
    assert refusal(ContractError, check_rows, Call(tensors=(tensor,)), 3) == text
    check_rows(Call(rows=[1] * 3), 3)


def explained(linear: LoadedBundle, n_rows: int) -> Result:
    """Explain rows as the runner does."""
    frame = linear.contract.frame([[float(number), 0.5, -number / 3] for number in range(n_rows)])
    return result_of(BatchResult(frame, None, explanation=linear.explainer().explain(frame)))


@pytest.mark.parametrize("cuts", [[0, 9], [0, 4, 9], [0, 1, 2, 8, 9]])
def test_explained_slices_are_joined_in_order(cuts: list[int], linear: LoadedBundle) -> None:
    """Rows and contributions stay together, and no prediction is made up for them."""
    whole = explained(linear, 9)

    joined = join_results([whole.take(*pair) for pair in pairwise(cuts)])

    assert joined.explanation.contributions.tobytes() == whole.explanation.contributions.tobytes()
    assert joined.frame.to_rows() == whole.frame.to_rows()
    assert (joined.n_rows, joined.batch.prediction) == (9, None)


def test_what_was_not_asked_for_is_not_there(linear: LoadedBundle) -> None:
    """Whoever reads it all the same has a fault, which must not be answered as an empty explanation."""
    frame = linear.contract.frame(NUMBERS)
    predicted = result_of(BatchResult(frame, linear.predictor.predict(frame)))

    assert refusal(BugError, lambda: explained(linear, 2).prediction) == "an explanation holds no predictions"
    assert refusal(BugError, lambda: predicted.explanation) == "contributions were not asked for"
