"""Serialisation of the Open Inference Protocol's tensors: bytes and JSON data, both directions.

Sources: the "Tensor Data Types" table of the protocol, and its binary tensor data extension (little-endian, row-major;
BYTES elements carry a 4-byte little-endian length).
"""

from __future__ import annotations

import math
import struct
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np

from model_server.errors import DecodeError
from model_server.serving.datatypes import DATATYPES
from model_server.serving.tensors import Tensor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from model_server.serving.tensors import Array

#: More elements than any body that the server admits can hold.
MAX_ELEMENTS = 2**31
_MAX_RANK = 8


def check_header(name: object, datatype: object, shape: object) -> tuple[str, str, tuple[int, ...]]:
    """Check the description of a tensor.

    Raises:
        DecodeError: A part is missing or of another type, the datatype is unknown or the shape impossible.
    """
    if not isinstance(name, str) or not 0 < len(name) <= 128:
        raise DecodeError("every tensor needs a 'name' of 1 to 128 characters")
    if not isinstance(datatype, str) or datatype not in DATATYPES:
        raise DecodeError(f"tensor {name!r}: 'datatype' must be one of {', '.join(DATATYPES)}")
    if not isinstance(shape, list) or not 0 < len(shape) <= _MAX_RANK or not all(type(size) is int for size in shape):
        raise DecodeError(f"tensor {name!r}: 'shape' must be a list of 1 to {_MAX_RANK} integers")
    if min(shape) < 0 or math.prod(shape) > MAX_ELEMENTS:
        raise DecodeError(f"tensor {name!r}: 'shape' must not be negative, nor hold over {MAX_ELEMENTS} elements")
    return name, datatype, tuple(shape)


def flatten(name: str, data: list[Any], shape: Sequence[int]) -> list[Any]:
    """Turn JSON data, flat or nested, into a flat list in row-major order.

    Raises:
        DecodeError: The number of elements or the nesting is not what the shape says.
    """
    size = math.prod(shape)
    if data and type(data[0]) is list:
        data = _unnest(name, data, shape)
    if len(data) != size:
        raise DecodeError(f"tensor {name!r}: 'data' has {len(data)} elements, its shape says {size}")
    return data


def _unnest(name: str, data: list[Any], shape: Sequence[int]) -> list[Any]:
    if len(data) != shape[0]:
        raise DecodeError(f"tensor {name!r}: nested 'data' has {len(data)} parts, its shape says {shape[0]}")
    for size in shape[1:]:
        if any(type(part) is not list or len(part) != size for part in data):
            raise DecodeError(f"tensor {name!r}: nested 'data' does not have the form that its shape says")
        data = list(chain.from_iterable(data))
    return data


def decode_raw(name: str, datatype: str, shape: tuple[int, ...], raw: bytes | memoryview) -> Tensor:
    """Decode binary tensor data without a Python object a number.

    Raises:
        DecodeError: There are too few or too many bytes, or a BYTES element is not UTF-8.
    """
    count = math.prod(shape)
    if datatype == "BYTES":
        return Tensor(name, datatype, shape, _decode_strings(name, bytes(raw), count))
    dtype = DATATYPES[datatype].dtype
    if len(raw) != count * dtype.itemsize:
        raise DecodeError(
            f"tensor {name!r}: {len(raw)} bytes of binary data, but shape and datatype say {count * dtype.itemsize}"
        )
    return Tensor(name, datatype, shape, _checked_bool(name, np.frombuffer(raw, dtype=dtype)))


def _checked_bool(name: str, data: Array) -> Array:
    if data.dtype.kind == "b" and (data.view(np.uint8) > 1).any():
        raise DecodeError(f"tensor {name!r}: a BOOL byte must be 0 or 1")
    return data


def _decode_strings(name: str, raw: bytes, count: int) -> list[str]:
    strings, position = [], 0
    for index in range(count):
        start = position + 4
        size = struct.unpack_from("<I", raw, position)[0] if start <= len(raw) else len(raw)
        position = start + size
        if position > len(raw):
            raise DecodeError(f"tensor {name!r}: binary data ends within element {index} of {count}")
        strings.append(utf8(name, index, raw[start:position]))
    if position != len(raw):
        raise DecodeError(f"tensor {name!r}: {len(raw) - position} bytes follow the last element")
    return strings


def utf8(name: str, index: int, raw: bytes) -> str:
    """Decode one BYTES element.

    Raises:
        DecodeError: It is not UTF-8.
    """
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise DecodeError(f"tensor {name!r}: element {index} is not UTF-8 text") from error


def encode_raw(tensor: Tensor) -> bytes:
    """Encode a tensor as binary data."""
    if tensor.datatype == "BYTES":
        encoded = [str(element).encode() for element in tensor.data]
        return b"".join(struct.pack("<I", len(element)) + element for element in encoded)
    return np.ascontiguousarray(tensor.data, dtype=DATATYPES[tensor.datatype].dtype).tobytes()


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


def json_tensor(name: str, datatype: str, shape: tuple[int, ...], data: Any) -> Tensor:
    """Make a tensor of JSON data.

    Raises:
        DecodeError: The data is missing, has another form than the shape, or the datatype has no JSON form.
    """
    if not isinstance(data, list):
        raise DecodeError(f"tensor {name!r}: 'data' must be a list")
    if not DATATYPES[datatype].has_json:
        raise DecodeError(f"tensor {name!r}: {datatype} has no JSON form; send binary data, FP32 or FP64")
    return Tensor(name, datatype, shape, flatten(name, data, shape))
