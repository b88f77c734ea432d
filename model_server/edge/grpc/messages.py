"""gRPC messages of the Open Inference Protocol <-> Call and Answer; knows fields, not what values may be."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb

from model_server.errors import DecodeError
from model_server.serving.call import Answer, Call, RequestedOutput
from model_server.serving.tensors import DTYPES, Tensor, check_header, decode_raw, encode_raw, utf8
from model_server.wire import answers, codec

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

# Which field holds the elements of a datatype: the smaller integers share the 32-bit ones; FP16 is raw only.
_FIELDS = {
    "BOOL": "bool_contents",
    "INT8": "int_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "UINT8": "uint_contents",
    "UINT16": "uint_contents",
    "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}


def decode_request(request: Any) -> Call:
    """Decode a ``ModelInferRequest``, typed or raw.

    Raises:
        DecodeError: It is malformed.
    """
    if not request.inputs:
        raise DecodeError("'inputs' must hold at least one tensor")
    outputs = codec.unique_outputs([RequestedOutput(output.name) for output in request.outputs])
    return Call(
        tensors=codec.unique_tensors(_tensors(request)),
        id=codec.checked_id(request.id or None),
        outputs=outputs,
        reasons=codec.reasons_wanted(_reasons(request.parameters), outputs),
    )


def _reasons(parameters: Mapping[str, Any]) -> int:
    if "reasons" not in parameters:
        return 0
    count = parameters["reasons"]
    if count.WhichOneof("parameter_choice") != "int64_param" or not 0 <= count.int64_param <= codec.MAX_REASONS:
        raise DecodeError(f"parameter 'reasons' must be an integer within 0..{codec.MAX_REASONS}")
    return int(count.int64_param)


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
    name, datatype, shape = check_header(part.name, part.datatype, list(part.shape))
    if datatype not in _FIELDS:
        raise DecodeError(f"tensor {name!r}: {datatype} has no typed contents; send raw_input_contents")
    contents = part.contents
    others = [field.name for field, _ in contents.ListFields() if field.name != _FIELDS[datatype]]
    if others:
        raise DecodeError(f"tensor {name!r}: {datatype} belongs into {_FIELDS[datatype]}, not into {others[0]}")
    elements = getattr(contents, _FIELDS[datatype])
    count = math.prod(shape)
    if len(elements) != count:
        raise DecodeError(f"tensor {name!r}: contents have {len(elements)} elements, the shape says {count}")
    if datatype == "BYTES":
        return Tensor(name, datatype, shape, [utf8(name, index, raw) for index, raw in enumerate(elements)])
    return Tensor(name, datatype, shape, _narrow(name, datatype, np.array(elements, dtype=_wide(datatype))))


def _wide(datatype: str) -> np.dtype[Any]:
    # 32-bit fields carry the smaller integers: take them as sent, so that one out of range is seen, not wrapped.
    kind = DTYPES[datatype].kind
    return np.dtype(f"{kind}8") if kind in "iu" else DTYPES[datatype]


def _narrow(name: str, datatype: str, elements: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    if elements.dtype.kind in "iu" and elements.size:
        limits = np.iinfo(DTYPES[datatype])
        if elements.min() < limits.min or elements.max() > limits.max:
            raise DecodeError(f"tensor {name!r}: an element is outside {datatype}, {limits.min}..{limits.max}")
    return elements.astype(DTYPES[datatype])


def encode_answer(answer: Answer, *, raw: bool) -> Any:
    """Encode an answer as a ``ModelInferResponse``.

    Args:
        answer: The answer.
        raw: Whether outputs go into ``raw_output_contents``, as they do when the inputs came raw.
    """
    tensors = [tensor for tensor, _ in answers.output_tensors(answer)]
    return pb.ModelInferResponse(
        model_name=answer.model_name,
        model_version=answer.model_version,
        id=answer.call.id or "",
        outputs=[_output(tensor, raw=raw) for tensor in tensors],
        raw_output_contents=[encode_raw(tensor) for tensor in tensors] if raw else [],
    )


def _output(tensor: Tensor, *, raw: bool) -> Any:
    output = pb.ModelInferResponse.InferOutputTensor(
        name=tensor.name, datatype=tensor.datatype, shape=list(tensor.shape)
    )
    if not raw:
        flat = np.ravel(np.asarray(tensor.data, dtype=DTYPES[tensor.datatype])).tolist()
        elements = [element.encode() for element in flat] if tensor.datatype == "BYTES" else flat
        getattr(output.contents, _FIELDS[tensor.datatype]).extend(elements)
    return output
