"""Parsing and serialisation that several protocols share: JSON, identifiers, options, requested outputs, errors."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson

from model_server.errors import ContractError, DecodeError
from model_server.serving.call import PLAIN, Options

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from model_server.contract import Label
    from model_server.errors import ModelServerError
    from model_server.output import Output
    from model_server.serving.call import BatchResult, RequestedOutput
    from model_server.serving.tensors import Array


#: Most reasons that may be asked for a row.
MAX_REASONS = 1000
#: Reasons a row where the output is requested without a count.
DEFAULT_REASONS = 3
_MAX_ID = 1024
_SCALARS = (str, int, float, bool)


def parse_json(body: bytes) -> Any:
    """Parse a JSON document.

    Raises:
        DecodeError: It is not one; NaN, Infinity, numbers beyond float64 and deep nesting are none either.
    """
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        # Of orjson's text only the position is passed on: no byte of the document belongs into an answer.
        raise DecodeError(f"the body is not valid JSON (line {error.lineno}, column {error.colno})") from error


def checked_object(document: Any, allowed: Sequence[str], required: str) -> dict[str, Any]:
    """Refuse a document that is no object of known keys.

    Raises:
        DecodeError: It is not.
    """
    if not isinstance(document, dict):
        raise DecodeError(f"the body must be a JSON object with {required!r}")
    unknown = [key[:64] for key in document if key not in allowed]
    if unknown:
        raise DecodeError(f"unknown key {unknown[0]!r}; this route takes {', '.join(map(repr, allowed))}")
    if required not in document:
        raise DecodeError(f"{required!r} is missing")
    return document


def checked_parameters(parameters: Any, owner: str) -> Mapping[str, Any]:
    """Refuse parameters that are no object of scalars.

    Args:
        parameters: The value of the key, or None without it.
        owner: Whose parameters they are, for the text of the error.

    Raises:
        DecodeError: They are not.
    """
    if parameters is None:
        return {}
    if not isinstance(parameters, dict) or not all(isinstance(value, _SCALARS) for value in parameters.values()):
        raise DecodeError(f"'parameters' of {owner} must be an object of strings, numbers and booleans")
    return parameters


def flag(parameters: Mapping[str, Any], name: str, *, default: bool = False) -> bool:
    """Read a parameter that is true or false.

    Raises:
        DecodeError: It is neither.
    """
    value = parameters.get(name, default)
    if not isinstance(value, bool):
        raise DecodeError(f"parameter {name!r} must be true or false")
    return value


def options_of(parameters: Mapping[str, Any], outputs: Sequence[RequestedOutput] = ()) -> Options:
    """Read what a request wants beside a plain prediction; every protocol's parameters come here.

    Args:
        parameters: The parameters of the request.
        outputs: Its requested outputs: naming ``reasons`` asks for some without a count.

    Raises:
        DecodeError: A parameter has a value that it cannot have.
    """
    count = parameters.get("reasons", 0)
    if type(count) is not int or not 0 <= count <= MAX_REASONS:
        raise DecodeError(f"parameter 'reasons' must be an integer within 0..{MAX_REASONS}")
    if not count and any(output.name == "reasons" for output in outputs):
        count = DEFAULT_REASONS
    return Options(count) if count else PLAIN


def checked_id(value: Any) -> str | None:
    """Refuse an identifier that is no string, or too long to echo.

    Raises:
        DecodeError: It is.
    """
    if value is not None and (not isinstance(value, str) or len(value) > _MAX_ID):
        raise DecodeError(f"'id' must be a string of at most {_MAX_ID} characters")
    return value


def unique_outputs(requested: Sequence[RequestedOutput]) -> tuple[RequestedOutput, ...]:
    """Refuse an output that is requested twice.

    Raises:
        DecodeError: One is.
    """
    if len({output.name for output in requested}) != len(requested):
        raise DecodeError("an output is requested twice")
    return tuple(requested)


def json_columns(batch: BatchResult, output: Output) -> tuple[list[str], list[str]]:
    """Write the numbers of all requests of a batch as JSON has them, once.

    Returns:
        Labels or values, N of them, and the probabilities row by row, N times K of them or none.
    """
    columns: tuple[list[str], list[str]] | None = batch.memo.get("columns")
    if columns is None:
        prediction = batch.predicted
        if prediction.labels is None:
            first = _json_numbers(prediction.values)
        else:
            texts = _label_texts(output.classes)
            first = [texts[label] for label in prediction.labels.tolist()]
        numbers = [] if prediction.probabilities is None else _json_numbers(prediction.probabilities)
        columns = batch.memo["columns"] = (first, numbers)
    return columns


def _json_numbers(array: Array | None) -> list[str]:
    """Write every number of an array as JSON has it: the shortest digits that read back as the same float64."""
    flat = np.empty(0) if array is None else np.ascontiguousarray(array).reshape(-1)
    return orjson.dumps(flat, option=orjson.OPT_SERIALIZE_NUMPY).decode()[1:-1].split(",")


@lru_cache(maxsize=8)
def _label_texts(classes: tuple[Label, ...]) -> dict[Label, str]:
    return {label: orjson.dumps(label).decode() for label in classes}


def error_document(error: ModelServerError, request_id: str) -> dict[str, Any]:
    """Lay an error out as the one body that every route answers."""
    document: dict[str, Any] = {"error": str(error), "code": error.slug, "request_id": request_id}
    if isinstance(error, ContractError):
        shown = error.violations[: 10 * error.shown]
        document["violations"] = [{"feature": v.feature, "row": v.row, "rule": v.rule} for v in shown]
    return document
