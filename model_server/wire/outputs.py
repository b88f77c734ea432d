"""Answer -> named output tensors, for v2 and gRPC; tiers and reasons, for every protocol."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson

from model_server.serving.call import RequestedOutput, available_outputs
from model_server.serving.tensors import Tensor

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from model_server.contract import Contract, Label
    from model_server.explain import Reason
    from model_server.output import Output
    from model_server.predictor import Prediction
    from model_server.serving.call import Answer


def label_datatype(contract: Contract) -> str:
    """Datatype of the ``label`` output: INT64 for integer classes, else BYTES."""
    return datatype_of(contract.output.classes)


@lru_cache(maxsize=8)
def datatype_of(classes: tuple[Label, ...]) -> str:
    """Datatype that holds the labels of some classes."""
    return "INT64" if all(isinstance(label, int) for label in classes) else "BYTES"


def output_tensors(answer: Answer) -> list[tuple[Tensor, bool]]:
    """Lay an answer out as the tensors that were asked for, each with whether it is wanted as binary data."""
    wanted = answer.call.outputs or tuple(
        RequestedOutput(name, answer.call.binary) for name in available_outputs(answer.loaded.contract)
    )
    return [(_output_tensor(output.name, answer), output.binary) for output in wanted]


def _output_tensor(name: str, answer: Answer) -> Tensor:
    datatype, data = _OUTPUTS[name](answer)
    return Tensor(name, datatype, tuple(np.shape(data)), data)


def _label(answer: Answer) -> tuple[str, Any]:
    return label_datatype(answer.loaded.contract), answer.result.prediction.labels


def _tier(answer: Answer) -> tuple[str, Any]:
    return "BYTES", tiers(answer.result.prediction, answer.loaded.contract.output)


def tiers(prediction: Prediction, output: Output) -> list[str]:
    """Name the tier of each row, from the unrounded number."""
    if prediction.values is not None:
        return [output.tier(value) for value in prediction.values.tolist()]
    probabilities = np.empty((0, 0)) if prediction.probabilities is None else prediction.probabilities
    return [output.tier(number) for number in probabilities[:, output.positive_index].tolist()]


_OUTPUTS: dict[str, Callable[[Answer], tuple[str, Any]]] = {
    "label": _label,
    "probabilities": lambda answer: ("FP64", answer.result.prediction.probabilities),
    "value": lambda answer: ("FP64", answer.result.prediction.values),
    "tier": _tier,
    "reasons": lambda answer: ("BYTES", [reasons_json(reasons).decode() for reasons in answer.result.reasons]),
}


def reasons_json(reasons: Sequence[Reason]) -> bytes:
    """Serialize the reasons of one row."""
    return orjson.dumps([reason_document(reason) for reason in reasons])


def reason_document(reason: Reason) -> dict[str, str | float]:
    """Lay a reason out as JSON values."""
    return {
        "feature": reason.feature,
        "contribution": reason.contribution,
        "direction": reason.direction,
        "space": reason.space,
        "output": reason.output,
    }
