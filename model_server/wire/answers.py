"""Answer -> documents and bytes of KServe's v1 and v2 REST protocols, and errors -> the one error body."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson

from model_server.errors import ContractError
from model_server.serving.call import RequestedOutput, available_outputs
from model_server.serving.tensors import Array, Tensor, encode_raw

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from model_server.contract import Contract, Label
    from model_server.errors import ModelServerError
    from model_server.explain import Reason
    from model_server.output import Output
    from model_server.predictor import Prediction
    from model_server.serving.call import Answer
    from model_server.serving.result import Whole


def label_datatype(contract: Contract) -> str:
    """Datatype of the ``label`` output: INT64 for integer classes, else BYTES."""
    return _datatype(contract.output.classes)


@lru_cache(maxsize=8)
def _datatype(classes: tuple[Label, ...]) -> str:
    return "INT64" if all(isinstance(label, int) for label in classes) else "BYTES"


def output_tensors(answer: Answer) -> list[tuple[Tensor, bool]]:
    """Lay an answer out as the tensors that were asked for, each with whether it is wanted as binary data."""
    wanted = answer.call.outputs or tuple(
        RequestedOutput(name, answer.call.binary) for name in available_outputs(answer.contract)
    )
    return [(_output_tensor(output.name, answer), output.binary) for output in wanted]


def _output_tensor(name: str, answer: Answer) -> Tensor:
    datatype, data = _OUTPUTS[name](answer)
    return Tensor(name, datatype, tuple(np.shape(data)), data)


def _label(answer: Answer) -> tuple[str, Any]:
    return label_datatype(answer.contract), answer.prediction.labels


def _tier(answer: Answer) -> tuple[str, Any]:
    return "BYTES", tiers(answer.prediction, answer.contract.output)


def tiers(prediction: Prediction, output: Output) -> list[str]:
    """Name the tier of each row, from the unrounded number."""
    if prediction.values is not None:
        return [output.tier(value) for value in prediction.values.tolist()]
    probabilities = np.empty((0, 0)) if prediction.probabilities is None else prediction.probabilities
    return [output.tier(number) for number in probabilities[:, output.positive_index].tolist()]


_OUTPUTS: dict[str, Callable[[Answer], tuple[str, Any]]] = {
    "label": _label,
    "probabilities": lambda answer: ("FP64", answer.prediction.probabilities),
    "value": lambda answer: ("FP64", answer.prediction.values),
    "tier": _tier,
    "reasons": lambda answer: ("BYTES", [reasons_json(reasons).decode() for reasons in answer.reasons]),
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


def encode_v1(answer: Answer, *, bare: bool) -> bytes:
    """Encode an answer as v1; ``bare`` gives labels or values alone, as KServe's sklearnserver does.

    Rows are written from a template a model, three times as fast as building their objects and serializing those; and
    all rows of a model call at once, whose requests are mostly of one kind.
    """
    if bare or answer.call.reasons:
        return orjson.dumps(v1_document(answer, bare=bare))
    outcome = answer.outcome
    texts = outcome.whole.texts
    if texts is None:
        texts = outcome.whole.texts = _v1_rows(outcome.whole, answer.contract.output)
    rows = texts[outcome.start] if outcome.n_rows == 1 else ",".join(texts[outcome.start : outcome.stop])
    return f'{{"predictions":[{rows}{_v1_end(answer.model_name, answer.model_version)}'.encode()


def v1_parts(answer: Answer, n_rows: int, *, bare: bool) -> Iterator[bytes]:
    """Encode an answer as v1 some rows at a time; the parts put together are ``encode_v1``'s bytes."""
    end = _v1_end(answer.model_name, answer.model_version).encode()
    total = answer.n_rows
    for start in range(0, total, n_rows):
        part = encode_v1(answer.take(start, start + n_rows), bare=bare).removesuffix(end)
        yield part if not start else b"," + part.removeprefix(b'{"predictions":[')
    yield end


@lru_cache(maxsize=8)
def _v1_end(name: str, version: str) -> str:
    return "]," + orjson.dumps({"model_name": name, "model_version": version}).decode()[1:]


def _v1_rows(whole: Whole, output: Output) -> list[str]:
    """Write the objects of ``v1_predictions``, reasons aside."""
    first, numbers = _columns(whole, output)
    classes = output.classes if numbers else ()
    columns = [first, *(numbers[index :: len(classes)] for index in range(len(classes)))]
    if output.tiers:
        columns.append([orjson.dumps(tier).decode() for tier in tiers(whole.prediction, output)])
    name = "value" if whole.prediction.labels is None else "label"
    template = _row_template(classes, name, has_tier=bool(output.tiers))
    return [template % row for row in zip(*columns, strict=True)]


def _columns(whole: Whole, output: Output) -> tuple[list[str], list[str]]:
    """Write labels or values, and probabilities, of all requests of a model call, once."""
    if whole.columns is None:
        prediction = whole.prediction
        if prediction.labels is None:
            first = _numbers(prediction.values)
        else:
            names = _label_texts(output.classes)
            first = [names[label] for label in prediction.labels.tolist()]
        whole.columns = (first, [] if prediction.probabilities is None else _numbers(prediction.probabilities))
    return whole.columns


def _numbers(array: Array | None) -> list[str]:
    """Write every number of an array as JSON has it: the shortest digits that read back as the same float64."""
    flat = np.empty(0) if array is None else np.ascontiguousarray(array).reshape(-1)
    return orjson.dumps(flat, option=orjson.OPT_SERIALIZE_NUMPY).decode()[1:-1].split(",")


@lru_cache(maxsize=8)
def _label_texts(classes: tuple[Label, ...]) -> dict[Label, str]:
    return {label: orjson.dumps(label).decode() for label in classes}


@lru_cache(maxsize=8)
def _row_template(classes: tuple[Label, ...], name: str, *, has_tier: bool) -> str:
    keys = [orjson.dumps(str(label)).decode().replace("%", "%%") for label in classes]
    inner = ",".join(f"{key}:%s" for key in keys)
    probabilities = f',"probabilities":{{{inner}}}' if keys else ""
    return f'{{"{name}":%s{probabilities}' + (',"tier":%s' if has_tier else "") + "}"


def v1_document(answer: Answer, *, bare: bool) -> dict[str, Any]:
    """Lay an answer out as a v1 document."""
    return {
        "predictions": _bare(answer) if bare else v1_predictions(answer),
        "model_name": answer.model_name,
        "model_version": answer.model_version,
    }


def _bare(answer: Answer) -> list[Any]:
    part = answer.prediction.values if answer.prediction.labels is None else answer.prediction.labels
    return [] if part is None else part.tolist()


def v1_predictions(answer: Answer) -> list[dict[str, Any]]:
    """Give one object a row: label and probabilities by class, or value; tier and reasons where there are any."""
    prediction = answer.prediction
    name = "value" if prediction.labels is None else "label"
    rows: list[dict[str, Any]] = [{name: scalar} for scalar in _bare(answer)]
    if prediction.probabilities is not None:
        keys = [str(label) for label in answer.contract.output.classes]
        for row, numbers in zip(rows, prediction.probabilities.tolist(), strict=True):
            row["probabilities"] = dict(zip(keys, numbers, strict=True))
    if answer.contract.output.tiers:
        for row, tier in zip(rows, tiers(prediction, answer.contract.output), strict=True):
            row["tier"] = tier
    if answer.reasons:
        for row, reasons in zip(rows, answer.reasons, strict=True):
            row["reasons"] = [reason_document(reason) for reason in reasons]
    return rows


def encode_v2(answer: Answer) -> tuple[bytes, int | None]:
    """Encode an answer as v2 REST.

    Returns:
        The body, and the size in bytes of its JSON part when binary data follows it, else None.
    """
    if not answer.call.outputs and not answer.call.binary and not answer.contract.output.tiers:
        return _v2_plain(answer), None
    outputs, raws = [], []
    for tensor, binary in output_tensors(answer):
        part: dict[str, Any] = {"name": tensor.name, "datatype": tensor.datatype, "shape": tensor.shape}
        if binary:
            raws.append(encode_raw(tensor))
            part["parameters"] = {"binary_data_size": len(raws[-1])}
        else:
            part["data"] = _json_data(tensor.data)
        outputs.append(part)
    document = {"model_name": answer.model_name, "model_version": answer.model_version, "outputs": outputs}
    if answer.call.id is not None:
        document["id"] = answer.call.id
    head = orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)
    return (b"".join([head, *raws]), len(head)) if raws else (head, None)


def _v2_plain(answer: Answer) -> bytes:
    """Write what nearly every request asks for, all outputs in JSON, from the numbers of the whole model call."""
    output, outcome = answer.contract.output, answer.outcome
    first, numbers = _columns(outcome.whole, output)
    start, stop, n_rows, width = outcome.start, outcome.stop, outcome.n_rows, len(output.classes)
    begin, end = _v2_frame(answer.model_name, answer.model_version, output.classes)
    parts = [begin, f'{n_rows}],"data":[', first[start] if n_rows == 1 else ",".join(first[start:stop])]
    if numbers:
        data = ",".join(numbers[start * width : stop * width])
        parts.append(f']}},{{"name":"probabilities","datatype":"FP64","shape":[{n_rows},{width}],"data":[{data}')
    parts.append(end if answer.call.id is None else f'{end[:-1]},"id":{orjson.dumps(answer.call.id).decode()}}}')
    return "".join(parts).encode()


@lru_cache(maxsize=8)
def _v2_frame(name: str, version: str, classes: tuple[Label, ...]) -> tuple[str, str]:
    head = orjson.dumps({"model_name": name, "model_version": version}).decode()[:-1]
    first, datatype = ("label", _datatype(classes)) if classes else ("value", "FP64")
    return f'{head},"outputs":[{{"name":"{first}","datatype":"{datatype}","shape":[', "]}]}"


def _json_data(data: list[Any] | Array) -> list[Any] | Array:
    if not isinstance(data, np.ndarray):
        return data
    # orjson writes arrays of numbers itself, when they lie in one piece.
    return data.ravel().tolist() if data.dtype.kind == "O" else np.ascontiguousarray(data.ravel())


def error_document(error: ModelServerError, request_id: str) -> dict[str, Any]:
    """Lay an error out as the one body that every route answers."""
    document: dict[str, Any] = {"error": str(error), "code": error.slug, "request_id": request_id}
    if isinstance(error, ContractError):
        shown = error.violations[: 10 * error.shown]
        document["violations"] = [{"feature": v.feature, "row": v.row, "rule": v.rule} for v in shown]
    return document
