"""gRPC messages of the Open Inference Protocol <-> Call and Answer."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb

from model_server.errors import DecodeError
from model_server.serving.call import Call, RequestedOutput
from model_server.serving.datatypes import DATATYPES
from model_server.serving.tensors import Tensor
from model_server.wire.outputs import output_tensors
from model_server.wire.parts import checked_id, options_of, unique_outputs
from model_server.wire.tensors import check_header, decode_raw, encode_raw, unique_tensors, utf8

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from model_server.serving.call import Answer
    from model_server.serving.datatypes import Datatype


def decode_request(request: Any) -> Call:
    """Decode a ``ModelInferRequest``, typed or raw.

    Raises:
        DecodeError: It is malformed.
    """
    if not request.inputs:
        raise DecodeError("'inputs' must hold at least one tensor")
    outputs = unique_outputs([RequestedOutput(output.name) for output in request.outputs])
    return Call(
        tensors=unique_tensors(_tensors(request)),
        id=checked_id(request.id or None),
        outputs=outputs,
        options=options_of(_values(request.parameters), outputs),
    )


def _values(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Take the parameters out of their messages; one without a value is none."""
    chosen = {name: parameter.WhichOneof("parameter_choice") for name, parameter in parameters.items()}
    return {name: getattr(parameters[name], field) if field else None for name, field in chosen.items()}


def _tensors(request: Any) -> list[Tensor]:
    raws: Sequence[bytes] = request.raw_input_contents
    if raws and len(raws) != len(request.inputs):
        raise DecodeError(f"there are {len(request.inputs)} inputs, but {len(raws)} raw_input_contents")
    if not raws:
        return [_typed_tensor(part) for part in request.inputs]
    return [_raw_tensor(part, raw) for part, raw in zip(request.inputs, raws, strict=True)]


def _raw_tensor(part: Any, raw: bytes) -> Tensor:
    name, datatype, shape = check_header(part.name, part.datatype, list(part.shape))
    if part.HasField("contents"):
        raise DecodeError(f"tensor {name!r} has both contents and raw_input_contents")
    return decode_raw(name, datatype, shape, raw)


def _typed_tensor(part: Any) -> Tensor:
    name, declared, shape = check_header(part.name, part.datatype, list(part.shape))
    datatype = DATATYPES[declared]
    if datatype.typed_field is None:
        raise DecodeError(f"tensor {name!r}: {declared} has no typed contents; send raw_input_contents")
    contents = part.contents
    others = [field.name for field, _ in contents.ListFields() if field.name != datatype.typed_field]
    if others:
        raise DecodeError(f"tensor {name!r}: {declared} belongs into {datatype.typed_field}, not into {others[0]}")
    elements = getattr(contents, datatype.typed_field)
    count = math.prod(shape)
    if len(elements) != count:
        raise DecodeError(f"tensor {name!r}: contents have {len(elements)} elements, the shape says {count}")
    if datatype.kind == "O":
        return Tensor(name, declared, shape, [utf8(name, index, raw) for index, raw in enumerate(elements)])
    return Tensor(name, declared, shape, _narrow(name, datatype, elements))


def _narrow(name: str, datatype: Datatype, elements: Sequence[Any]) -> np.ndarray[Any, Any]:
    if datatype.kind not in "iu":
        return np.array(elements, dtype=datatype.dtype)
    # 32-bit fields carry the smaller integers: take them as sent, so that one out of range is seen, not wrapped.
    wide = np.array(elements, dtype=f"{datatype.kind}8")
    if wide.size and (wide.min() < datatype.low or wide.max() > datatype.high):
        limits = f"{datatype.low}..{datatype.high}"
        raise DecodeError(f"tensor {name!r}: an element is outside {datatype.name}, {limits}")
    return wide.astype(datatype.dtype)


def encode_answer(answer: Answer, *, raw: bool) -> Any:
    """Encode an answer as a ``ModelInferResponse``.

    Args:
        answer: The answer.
        raw: Whether outputs go into ``raw_output_contents``, as they do when the inputs came raw.
    """
    tensors = [tensor for tensor, _ in output_tensors(answer)]
    return pb.ModelInferResponse(
        model_name=answer.loaded.name,
        model_version=answer.loaded.version,
        id=answer.call.id or "",
        outputs=[_output(tensor, raw=raw) for tensor in tensors],
        raw_output_contents=[encode_raw(tensor) for tensor in tensors] if raw else [],
    )


def _output(tensor: Tensor, *, raw: bool) -> Any:
    output = pb.ModelInferResponse.InferOutputTensor(
        name=tensor.name, datatype=tensor.datatype, shape=list(tensor.shape)
    )
    datatype = DATATYPES[tensor.datatype]
    if not raw and datatype.typed_field is not None:
        flat = np.ravel(np.asarray(tensor.data, dtype=datatype.dtype)).tolist()
        elements = [element.encode() for element in flat] if datatype.kind == "O" else flat
        getattr(output.contents, datatype.typed_field).extend(elements)
    return output
