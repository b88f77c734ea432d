"""Calls and results: what is refused before anything is computed, and how results are cut and joined."""

from __future__ import annotations

import numpy as np

from model_server.errors import ContractError, UnknownOutput
from model_server.serving.call import Call, RequestedOutput, check_outputs, check_rows
from model_server.serving.tensors import Tensor
from tests.bundles.contracts import TWO
from tests.model_server.refusals import refusal


def test_an_unknown_output_is_refused_with_those_there_are() -> None:
    """Before anything is computed."""
    call = Call(rows=[[1.0, 2.0]], outputs=(RequestedOutput("value"), RequestedOutput("label")))

    text = refusal(UnknownOutput, check_outputs, call, TWO)

    assert text == "'outputs' names an output that this model does not have; it has value, reasons"


def test_rows_are_counted_before_they_are_read() -> None:
    """For tensors, by the first dimension of the first."""
    text = "must have at most 3 rows, got 4: split the request"
    tensor = Tensor("a", "FP64", (4, 2), np.zeros(8))

    assert refusal(ContractError, check_rows, Call(rows=[1] * 4), 3) == text
    assert refusal(ContractError, check_rows, Call(tensors=(tensor,)), 3) == text
    check_rows(Call(rows=[1] * 3), 3)
