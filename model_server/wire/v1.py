"""KServe's v1 protocol: ``{"instances": [row, …]}`` -> Call, and Answer -> ``{"predictions": [row, …]}``."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import orjson

from model_server.errors import DecodeError
from model_server.serving.call import Call
from model_server.wire.outputs import reason_document, tiers
from model_server.wire.parts import checked_object, checked_parameters, json_columns, options_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from model_server.contract import Label
    from model_server.explain import Explanation
    from model_server.output import Output
    from model_server.serving.call import Answer, BatchResult


def call_of_v1(document: Any) -> Call:
    """Read a parsed v1 document: ``{"instances": [row, …], "parameters": {"reasons": n}}``.

    Raises:
        DecodeError: It is not one.
    """
    if type(document) is dict and len(document) == 1 and type(document.get("instances")) is list:
        return Call(document["instances"])  # nearly all requests are this
    document = checked_object(document, ("instances", "parameters"), "instances")
    instances = document["instances"]
    if not isinstance(instances, list):
        raise DecodeError("'instances' must be a list of rows")
    return Call(instances, options=options_of(checked_parameters(document.get("parameters"), "the request")))


def encode_v1(answer: Answer, *, bare: bool) -> bytes:
    """Encode an answer as v1; ``bare`` gives labels or values alone, as KServe's sklearnserver does.

    Rows are written from a template a model, three times as fast as building their objects and serializing those; and
    all rows of a batch at once, whose requests are mostly of one kind.
    """
    if bare or answer.call.options.reasons:
        return orjson.dumps(v1_document(answer, bare=bare))
    loaded, result = answer.loaded, answer.result
    texts: list[str] | None = result.batch.memo.get("v1")
    if texts is None:
        texts = result.batch.memo["v1"] = _v1_rows(result.batch, loaded.contract.output)
    rows = texts[result.start] if result.n_rows == 1 else ",".join(texts[result.start : result.start + result.n_rows])
    return f'{{"predictions":[{rows}{_v1_end(loaded.name, loaded.version)}'.encode()


def v1_parts(answer: Answer, n_rows: int, *, bare: bool) -> Iterator[bytes]:
    """Encode an answer as v1 in chunks of rows; joined, they are ``encode_v1``'s bytes."""
    end = _v1_end(answer.loaded.name, answer.loaded.version).encode()
    for start in range(0, answer.result.n_rows, n_rows):
        part = encode_v1(answer.take(start, start + n_rows), bare=bare).removesuffix(end)
        yield part if not start else b"," + part.removeprefix(b'{"predictions":[')
    yield end


@lru_cache(maxsize=8)
def _v1_end(name: str, version: str) -> str:
    return "]," + orjson.dumps({"model_name": name, "model_version": version}).decode()[1:]


def _v1_rows(batch: BatchResult, output: Output) -> list[str]:
    """Write the objects of ``v1_predictions``, reasons aside."""
    first, numbers = json_columns(batch, output)
    classes = output.classes if numbers else ()
    columns = [first, *(numbers[index :: len(classes)] for index in range(len(classes)))]
    if output.tiers:
        columns.append([orjson.dumps(tier).decode() for tier in tiers(batch.predicted, output)])
    name = "value" if batch.predicted.labels is None else "label"
    template = _row_template(classes, name, has_tier=bool(output.tiers))
    return [template % row for row in zip(*columns, strict=True)]


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
        "model_name": answer.loaded.name,
        "model_version": answer.loaded.version,
    }


def _bare(answer: Answer) -> list[Any]:
    prediction = answer.result.prediction
    part = prediction.values if prediction.labels is None else prediction.labels
    return [] if part is None else part.tolist()


def v1_predictions(answer: Answer) -> list[dict[str, Any]]:
    """Give one object a row: label and probabilities by class, or value; tier and reasons where there are any."""
    prediction, output = answer.result.prediction, answer.loaded.contract.output
    name = "value" if prediction.labels is None else "label"
    rows: list[dict[str, Any]] = [{name: scalar} for scalar in _bare(answer)]
    if prediction.probabilities is not None:
        keys = [str(label) for label in output.classes]
        for row, numbers in zip(rows, prediction.probabilities.tolist(), strict=True):
            row["probabilities"] = dict(zip(keys, numbers, strict=True))
    if output.tiers:
        for row, tier in zip(rows, tiers(prediction, output), strict=True):
            row["tier"] = tier
    if answer.result.reasons:
        for row, reasons in zip(rows, answer.result.reasons, strict=True):
            row["reasons"] = [reason_document(reason) for reason in reasons]
    return rows


def explanations_document(answer: Answer) -> dict[str, Any]:
    """Lay the answer of ``:explain`` out as a v1 document."""
    return {
        "explanations": v1_explanations(answer.result.explanation),
        "model_name": answer.loaded.name,
        "model_version": answer.loaded.version,
    }


def v1_explanations(explanation: Explanation) -> list[dict[str, Any]]:
    """Give one object a row: base plus all contributions is the model's margin in the named space.

    With one explained output, ``base`` is a number and ``contributions`` maps features to numbers; with several, both
    are keyed by output first.
    """
    names = [str(name) for name in explanation.output_names]
    base = explanation.base.tolist()
    return [_explained(explanation, names, base, row) for row in explanation.contributions.tolist()]


def _explained(explanation: Explanation, names: list[str], base: list[float], row: list[list[float]]) -> dict[str, Any]:
    columns = [dict(zip(explanation.features, (feature[k] for feature in row), strict=True)) for k in range(len(names))]
    single = len(names) == 1
    return {
        "space": explanation.space,
        "output": names[0] if single else names,
        "base": base[0] if single else dict(zip(names, base, strict=True)),
        "contributions": columns[0] if single else dict(zip(names, columns, strict=True)),
    }
