"""Bytes of KServe's v1 and v2 REST protocols -> Call; knows no model, no metrics and no HTTP framework.

Raw documents end here: after decoding, only typed values travel. What a request may hold is checked against the
protocol; what its values may be is the contract's business.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from model_server.errors import DecodeError
from model_server.serving.call import Call, RequestedOutput
from model_server.serving.tensors import Tensor, check_header, decode_raw, flatten

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


#: Most reasons that may be asked for a row.
MAX_REASONS = 1000
#: Reasons a row where the output is requested without a count.
DEFAULT_REASONS = 3
_MAX_ID = 1024
_NOTHING = memoryview(b"")
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


# KServe's own client repeats the model's name in the body (InferRequest.to_rest); the path decides.
_V2_KEYS = ("id", "parameters", "inputs", "outputs", "model_name", "model_version")


def _object(document: Any, allowed: Sequence[str], required: str) -> dict[str, Any]:
    if not isinstance(document, dict):
        raise DecodeError(f"the body must be a JSON object with {required!r}")
    unknown = [key[:64] for key in document if key not in allowed]
    if unknown:
        raise DecodeError(f"unknown key {unknown[0]!r}; this route takes {', '.join(map(repr, allowed))}")
    if required not in document:
        raise DecodeError(f"{required!r} is missing")
    return document


def decode_v1(body: bytes) -> Call:
    """Decode a v1 request: ``{"instances": [row, …], "parameters": {"reasons": n}}``.

    Raises:
        DecodeError: It is not one.
    """
    return call_of_v1(parse_json(body))


def call_of_v1(document: Any) -> Call:
    """Read a parsed v1 document, as KServe's own v1 route hands it over."""
    if type(document) is dict and len(document) == 1 and type(document.get("instances")) is list:
        return Call(document["instances"])  # nearly all requests are this
    document = _object(document, ("instances", "parameters"), "instances")
    instances = document["instances"]
    if not isinstance(instances, list):
        raise DecodeError("'instances' must be a list of rows")
    parameters = _parameters(document.get("parameters"), "the request")
    return Call(rows=instances, reasons=reasons_of(parameters))


def _parameters(parameters: Any, owner: str) -> Mapping[str, Any]:
    if parameters is None:
        return {}
    if not isinstance(parameters, dict) or not all(isinstance(value, _SCALARS) for value in parameters.values()):
        raise DecodeError(f"'parameters' of {owner} must be an object of strings, numbers and booleans")
    return parameters


def reasons_of(parameters: Mapping[str, Any]) -> int:
    """Read how many reasons a row are asked for.

    Raises:
        DecodeError: It is no count.
    """
    count = parameters.get("reasons", 0)
    if type(count) is not int or not 0 <= count <= MAX_REASONS:
        raise DecodeError(f"parameter 'reasons' must be an integer within 0..{MAX_REASONS}")
    return count


def reasons_wanted(count: int, outputs: Sequence[RequestedOutput]) -> int:
    """Settle how many reasons a row to give: the count that was asked for, or some when just the output is named."""
    return count or (DEFAULT_REASONS if any(output.name == "reasons" for output in outputs) else 0)


def decode_v2(body: bytes, json_length: str | None) -> Call:
    """Decode a v2 REST request, JSON alone or JSON followed by binary tensor data.

    Args:
        body: The whole body.
        json_length: Value of the header Inference-Header-Content-Length, or None without it.

    Raises:
        DecodeError: It is not one.
    """
    header_size = _json_length(json_length, len(body))
    return call_of_v2(parse_json(body[:header_size]), memoryview(body)[header_size:])


def call_of_v2(document: Any, binary_data: memoryview = _NOTHING) -> Call:
    """Read a parsed v2 document, and the tensor data behind it.

    Raises:
        DecodeError: It is not a request.
    """
    document = _object(document, _V2_KEYS, "inputs")
    parameters = _parameters(document.get("parameters"), "the request")
    binary = _flag(parameters, "binary_data_output")
    outputs = decode_outputs(document.get("outputs"), binary=binary)
    return Call(
        tensors=_decode_inputs(document["inputs"], binary_data),
        id=checked_id(document.get("id")),
        outputs=outputs,
        binary=binary,
        reasons=reasons_wanted(reasons_of(parameters), outputs),
    )


def _json_length(header: str | None, body_size: int) -> int:
    if header is None:
        return body_size
    if not header.isascii() or not header.isdigit() or len(header) > 10 or int(header) > body_size:
        raise DecodeError("Inference-Header-Content-Length must be the size in bytes of the JSON part of the body")
    return int(header)


def checked_id(value: Any) -> str | None:
    """Refuse an identifier that is no string, or too long to echo.

    Raises:
        DecodeError: It is.
    """
    if value is not None and (not isinstance(value, str) or len(value) > _MAX_ID):
        raise DecodeError(f"'id' must be a string of at most {_MAX_ID} characters")
    return value


def _flag(parameters: Mapping[str, Any], name: str, *, default: bool = False) -> bool:
    value = parameters.get(name, default)
    if not isinstance(value, bool):
        raise DecodeError(f"parameter {name!r} must be true or false")
    return value


def decode_outputs(outputs: Any, *, binary: bool) -> tuple[RequestedOutput, ...]:
    """Read the requested outputs of a v2 document; ``binary`` holds for each that does not say otherwise.

    Raises:
        DecodeError: They are malformed, or one is named twice.
    """
    if outputs is None:
        return ()
    if not isinstance(outputs, list) or not all(isinstance(output, dict) for output in outputs):
        raise DecodeError("'outputs' must be a list of objects with a 'name'")
    requested = []
    for output in outputs:
        if not isinstance(output.get("name"), str):
            raise DecodeError("every requested output needs a 'name'")
        parameters = _parameters(output.get("parameters"), "an output")
        requested.append(RequestedOutput(output["name"], _flag(parameters, "binary_data", default=binary)))
    return unique_outputs(requested)


def unique_outputs(requested: Sequence[RequestedOutput]) -> tuple[RequestedOutput, ...]:
    """Refuse an output that is requested twice.

    Raises:
        DecodeError: One is.
    """
    if len({output.name for output in requested}) != len(requested):
        raise DecodeError("an output is requested twice")
    return tuple(requested)


def _decode_inputs(inputs: Any, binary: memoryview) -> tuple[Tensor, ...]:
    if not isinstance(inputs, list) or not inputs or not all(isinstance(part, dict) for part in inputs):
        raise DecodeError("'inputs' must be a list of at least one tensor")
    tensors, position = [], 0
    for part in inputs:
        tensor, used = _decode_input(part, binary[position:])
        tensors.append(tensor)
        position += used
    if position != len(binary):
        raise DecodeError(f"{len(binary) - position} bytes of binary data belong to no tensor")
    return unique_tensors(tensors)


def unique_tensors(tensors: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Refuse a tensor name that occurs twice.

    Raises:
        DecodeError: One does; it is named.
    """
    seen: set[str] = set()
    for tensor in tensors:
        if tensor.name in seen:
            raise DecodeError(f"tensor {tensor.name!r} is sent twice")
        seen.add(tensor.name)
    return tuple(tensors)


def _decode_input(part: dict[str, Any], binary: memoryview) -> tuple[Tensor, int]:
    name, datatype, shape = check_header(part.get("name"), part.get("datatype"), part.get("shape"))
    size = _parameters(part.get("parameters"), f"tensor {name!r}").get("binary_data_size")
    if size is None:
        return json_tensor(name, datatype, shape, part.get("data")), 0
    if type(size) is not int or not 0 <= size <= len(binary):
        raise DecodeError(f"tensor {name!r}: 'binary_data_size' must be the size of its data after the JSON part")
    if "data" in part:
        raise DecodeError(f"tensor {name!r} has both 'data' and binary data")
    return decode_raw(name, datatype, shape, binary[:size]), size


def json_tensor(name: str, datatype: str, shape: tuple[int, ...], data: Any) -> Tensor:
    """Make a tensor of JSON data.

    Raises:
        DecodeError: The data is missing, has another form than the shape, or the datatype has no JSON form.
    """
    if not isinstance(data, list):
        raise DecodeError(f"tensor {name!r}: 'data' must be a list")
    if datatype == "FP16":
        raise DecodeError(f"tensor {name!r}: FP16 has no JSON form; send binary data, FP32 or FP64")
    return Tensor(name, datatype, shape, flatten(name, data, shape))
