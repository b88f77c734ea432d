"""The Open Inference Protocol over REST (v2), both directions: JSON and binary tensors -> Call, Answer -> the same."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson

from model_server.errors import DecodeError
from model_server.serving.call import Call, RequestedOutput
from model_server.wire.outputs import datatype_of, output_tensors
from model_server.wire.parts import (
    checked_id,
    checked_object,
    checked_parameters,
    flag,
    json_columns,
    options_of,
    parse_json,
    unique_outputs,
)
from model_server.wire.tensors import check_header, decode_raw, encode_raw, json_tensor, unique_tensors

if TYPE_CHECKING:
    from model_server.contract import Label
    from model_server.serving.call import Answer
    from model_server.serving.tensors import Array, Tensor

# KServe's own client repeats the model's name in the body (InferRequest.to_rest); the path decides.
_KEYS = ("id", "parameters", "inputs", "outputs", "model_name", "model_version")
_NOTHING = memoryview(b"")


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
    document = checked_object(document, _KEYS, "inputs")
    parameters = checked_parameters(document.get("parameters"), "the request")
    binary = flag(parameters, "binary_data_output")
    outputs = requested_outputs(document.get("outputs"), binary=binary)
    return Call(
        tensors=_inputs(document["inputs"], binary_data),
        id=checked_id(document.get("id")),
        outputs=outputs,
        binary=binary,
        options=options_of(parameters, outputs),
    )


def _json_length(header: str | None, body_size: int) -> int:
    if header is None:
        return body_size
    if not header.isascii() or not header.isdigit() or len(header) > 10 or int(header) > body_size:
        raise DecodeError("Inference-Header-Content-Length must be the size in bytes of the JSON part of the body")
    return int(header)


def requested_outputs(outputs: Any, *, binary: bool) -> tuple[RequestedOutput, ...]:
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
        parameters = checked_parameters(output.get("parameters"), "an output")
        requested.append(RequestedOutput(output["name"], flag(parameters, "binary_data", default=binary)))
    return unique_outputs(requested)


def _inputs(inputs: Any, binary: memoryview) -> tuple[Tensor, ...]:
    if not isinstance(inputs, list) or not inputs or not all(isinstance(part, dict) for part in inputs):
        raise DecodeError("'inputs' must be a list of at least one tensor")
    tensors, position = [], 0
    for part in inputs:
        tensor, used = _input(part, binary[position:])
        tensors.append(tensor)
        position += used
    if position != len(binary):
        raise DecodeError(f"{len(binary) - position} bytes of binary data belong to no tensor")
    return unique_tensors(tensors)


def _input(part: dict[str, Any], binary: memoryview) -> tuple[Tensor, int]:
    name, datatype, shape = check_header(part.get("name"), part.get("datatype"), part.get("shape"))
    size = checked_parameters(part.get("parameters"), f"tensor {name!r}").get("binary_data_size")
    if size is None:
        return json_tensor(name, datatype, shape, part.get("data")), 0
    if type(size) is not int or not 0 <= size <= len(binary):
        raise DecodeError(f"tensor {name!r}: 'binary_data_size' must be the size of its data after the JSON part")
    if "data" in part:
        raise DecodeError(f"tensor {name!r} has both 'data' and binary data")
    return decode_raw(name, datatype, shape, binary[:size]), size


def encode_v2(answer: Answer) -> tuple[bytes, int | None]:
    """Encode an answer as v2 REST.

    Returns:
        The body, and the size in bytes of its JSON part when binary data follows it, else None.
    """
    call, loaded = answer.call, answer.loaded
    if not call.outputs and not call.binary and not loaded.contract.output.tiers:
        return _plain(answer), None
    outputs, raws = [], []
    for tensor, binary in output_tensors(answer):
        part: dict[str, Any] = {"name": tensor.name, "datatype": tensor.datatype, "shape": tensor.shape}
        if binary:
            raws.append(encode_raw(tensor))
            part["parameters"] = {"binary_data_size": len(raws[-1])}
        else:
            part["data"] = _json_data(tensor.data)
        outputs.append(part)
    document = {"model_name": loaded.name, "model_version": loaded.version, "outputs": outputs}
    if call.id is not None:
        document["id"] = call.id
    head = orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)
    return (b"".join([head, *raws]), len(head)) if raws else (head, None)


def _plain(answer: Answer) -> bytes:
    """Write what nearly every request asks for, all outputs in JSON, from the numbers of the whole batch."""
    loaded, result, request_id = answer.loaded, answer.result, answer.call.id
    first, numbers = json_columns(result.batch, loaded.contract.output)
    classes = loaded.contract.output.classes
    start, n_rows, width = result.start, result.n_rows, len(classes)
    stop = start + n_rows
    begin, end = _frame(loaded.name, loaded.version, classes)
    parts = [begin, f'{n_rows}],"data":[', first[start] if n_rows == 1 else ",".join(first[start:stop])]
    if numbers:
        data = ",".join(numbers[start * width : stop * width])
        parts.append(f']}},{{"name":"probabilities","datatype":"FP64","shape":[{n_rows},{width}],"data":[{data}')
    parts.append(end if request_id is None else f'{end[:-1]},"id":{orjson.dumps(request_id).decode()}}}')
    return "".join(parts).encode()


@lru_cache(maxsize=8)
def _frame(name: str, version: str, classes: tuple[Label, ...]) -> tuple[str, str]:
    head = orjson.dumps({"model_name": name, "model_version": version}).decode()[:-1]
    first, datatype = ("label", datatype_of(classes)) if classes else ("value", "FP64")
    return f'{head},"outputs":[{{"name":"{first}","datatype":"{datatype}","shape":[', "]}]}"


def _json_data(data: list[Any] | Array) -> list[Any] | Array:
    if not isinstance(data, np.ndarray):
        return data
    # orjson writes arrays of numbers itself, when they lie in one piece.
    return data.ravel().tolist() if data.dtype.kind == "O" else np.ascontiguousarray(data.ravel())
