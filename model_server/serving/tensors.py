"""Tensors of the Open Inference Protocol: datatypes, shapes and bytes; knows no model, no JSON document and no message.

Sources: the "Tensor Data Types" table of the protocol, and its binary tensor data extension (little-endian, row-major;
BYTES elements carry a 4-byte little-endian length).
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np

from model_server.errors import ContractError, DecodeError, Violation

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from model_server.contract import Contract
    from model_server.frame import Frame

Array = np.ndarray[Any, Any]

DTYPES: dict[str, np.dtype[Any]] = {
    "BOOL": np.dtype(np.bool_),
    **{f"UINT{bits}": np.dtype(f"<u{bits // 8}") for bits in (8, 16, 32, 64)},
    **{f"INT{bits}": np.dtype(f"<i{bits // 8}") for bits in (8, 16, 32, 64)},
    **{f"FP{bits}": np.dtype(f"<f{bits // 8}") for bits in (16, 32, 64)},
    "BYTES": np.dtype(object),
}

#: More elements than any body that the server admits can hold.
MAX_ELEMENTS = 2**31
_MAX_RANK = 8

# JSON types by kind of numpy dtype; null is for the contract to judge.
_JSON_TYPES: dict[str, frozenset[type]] = {"b": frozenset({bool, type(None)}), "O": frozenset({str, type(None)})}
_FLOATS: frozenset[type] = frozenset({int, float})
_INTS: frozenset[type] = frozenset({int})
# How 64 bits of a kind of numpy dtype are packed.
_PACKED = {"f": "d", "i": "q", "u": "Q"}
_NUMBERS: frozenset[type] = frozenset({int, float, type(None)})


# Not frozen, as little as is made once a request: freezing a dataclass makes it five times as slow to create.
@dataclass(slots=True, eq=False)
class Tensor:
    """A decoded input or an output to encode.

    Attributes:
        name: Its name in the request.
        datatype: One of ``DTYPES``.
        shape: Sizes of its dimensions.
        data: The elements in row-major order, ``prod(shape)`` of them: JSON scalars in a list, or a flat array.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]
    data: list[Any] | Array

    def take(self, rows: slice) -> Tensor:
        """Give some of the rows, parts of the first dimension, as a tensor of their own."""
        start, stop, _ = rows.indices(self.shape[0])
        size = math.prod(self.shape[1:])
        return Tensor(self.name, self.datatype, (stop - start, *self.shape[1:]), self.data[start * size : stop * size])


def check_header(name: object, datatype: object, shape: object) -> tuple[str, str, tuple[int, ...]]:
    """Check the description of a tensor.

    Raises:
        DecodeError: A part is missing or of another type, the datatype is unknown or the shape impossible.
    """
    if not isinstance(name, str) or not 0 < len(name) <= 128:
        raise DecodeError("every tensor needs a 'name' of 1 to 128 characters")
    if not isinstance(datatype, str) or datatype not in DTYPES:
        raise DecodeError(f"tensor {name!r}: 'datatype' must be one of {', '.join(DTYPES)}")
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
    dtype = DTYPES[datatype]
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
    return np.ascontiguousarray(tensor.data, dtype=DTYPES[tensor.datatype]).tobytes()


def to_frame(tensors: Sequence[Tensor], contract: Contract) -> Frame:
    """Lay tensors out as rows and check them against a contract.

    A model without string features takes one tensor [N, F] under any name; every model takes one tensor a feature, of
    shape [N] or [N, 1], named as the feature.

    Raises:
        ContractError: A tensor has another shape, or a value is not admitted.
    """
    if _is_matrix(tensors, contract):
        return _matrix_frame(tensors[0], contract)
    flaws = [
        Violation(f"a tensor of one feature must have shape [N] or [N, 1], not {list(tensor.shape)}", tensor.name)
        for tensor in tensors
        if len(tensor.shape) != 1 and tensor.shape[1:] != (1,)
    ]
    typed = {tensor.name: _typed(tensor) for tensor in tensors}
    flaws += [_flaw(tensor, row, tensor.name) for tensor in tensors for row in typed[tensor.name][1]]
    if flaws:
        raise ContractError(flaws)
    return contract.frame_from_columns({name: values for name, (values, _) in typed.items()})


def plain_matrix(tensors: Sequence[Tensor], contract: Contract) -> Array | None:
    """Lay out what nearly every v2 request to a numeric model is: one FP64 tensor [N, F] of nothing but numbers.

    Returns:
        float64 of shape [N, F], unchecked against the contract; None for everything else, which ``to_frame`` reads.
    """
    tensor = tensors[0]
    if len(tensors) != 1 or tensor.datatype != "FP64" or tensor.shape[1:] != (len(contract.names),):
        return None
    if not contract.is_numeric or not tensor.shape[0]:
        return None
    data = tensor.data if isinstance(tensor.data, np.ndarray) else _numbers(tensor.data, tensor.datatype)
    return None if data is None else data.reshape(tensor.shape)


def _is_matrix(tensors: Sequence[Tensor], contract: Contract) -> bool:
    if not contract.is_numeric or len(tensors) != 1:
        return False
    return tensors[0].name not in contract.names or tensors[0].shape[1:] == (len(contract.names),)


def _matrix_frame(tensor: Tensor, contract: Contract) -> Frame:
    width = len(contract.names)
    if len(tensor.shape) != 2 or tensor.shape[1] != width:
        rule = f"tensor {tensor.name!r} must have shape [-1, {width}], not {list(tensor.shape)}"
        raise ContractError([Violation(rule)])
    values, bad = _typed(tensor)
    if bad:
        raise ContractError([_flaw(tensor, index // width, contract.names[index % width]) for index in bad])
    if isinstance(values, list) and tensor.datatype.startswith("FP"):
        values = np.array(values, dtype=np.float64)  # null becomes NaN, which means missing in a tensor
    if isinstance(values, list):  # some element is null: let the columns decide whether that may be
        return contract.frame_from_columns({name: values[i::width] for i, name in enumerate(contract.names)})
    return contract.frame_from_matrix(values.reshape(tensor.shape))


def _flaw(tensor: Tensor, row: int, feature: str) -> Violation:
    return Violation(f"must be {_noun(tensor.datatype)}, as its datatype {tensor.datatype} says", feature, int(row))


def _noun(datatype: str) -> str:
    if datatype.startswith("FP"):
        return "a finite number"
    if datatype in ("BOOL", "BYTES"):
        return {"BOOL": "true or false", "BYTES": "a string"}[datatype]
    limits = np.iinfo(DTYPES[datatype])
    return f"an integer within {limits.min}..{limits.max}"


def _typed(tensor: Tensor) -> tuple[list[Any] | Array, Iterable[int]]:
    """Give JSON elements the type that their datatype declares, with the indexes of those that do not have it."""
    data = tensor.data
    if isinstance(data, np.ndarray):
        return data, ()
    array = _numbers(data, tensor.datatype)
    if array is not None:
        return array, ()
    present = [element for element in data if element is not None]
    bad = _mistyped(data, tensor.datatype)
    if bad or tensor.datatype == "BYTES":
        return data, bad
    array = np.array(present, dtype=DTYPES[tensor.datatype])
    if len(present) == len(data):
        return array, ()
    values = iter(array.tolist())
    return [None if element is None else next(values) for element in data], ()


def _numbers(data: list[Any], datatype: str) -> Array | None:
    """Convert in one go what is all numbers within range; None sends it the slow way, which names what is not."""
    kinds, kind = set(map(type, data)), DTYPES[datatype].kind
    if not (kind == "f" and kinds <= _FLOATS) and not (kind in "iu" and kinds == _INTS):
        return None
    try:
        # Packing takes a third of the time of np.array, which looks at every element twice.
        wide = np.frombuffer(struct.pack(f"<{len(data)}{_PACKED[kind]}", *data), dtype=f"<{kind}8")
    except (OverflowError, struct.error):  # beyond 64 bits
        return None
    if datatype == "INT64" or (datatype == "FP64" and np.isfinite(wide).all()):
        return wide
    low, high = _range(datatype)
    return wide.astype(DTYPES[datatype]) if ((wide >= low) & (wide <= high)).all() else None


def _mistyped(data: list[Any], datatype: str) -> list[int]:
    kind = DTYPES[datatype].kind
    admitted = _JSON_TYPES.get(kind, _NUMBERS)
    if kind in "bO":
        return [] if set(map(type, data)) <= admitted else _where(type(element) not in admitted for element in data)
    if not set(map(type, data)) <= admitted:
        return _where(type(element) not in admitted for element in data)
    low, high = _range(datatype)
    inside = (
        element is None or (low <= element <= high and (kind == "f" or element == int(element))) for element in data
    )
    return _where(not good for good in inside)


def _range(datatype: str) -> tuple[float, float]:
    if datatype.startswith("FP"):
        limits = np.finfo(DTYPES[datatype])
        return float(limits.min), float(limits.max)
    integers = np.iinfo(DTYPES[datatype])
    return int(integers.min), int(integers.max)


def _where(flags: Iterable[bool]) -> list[int]:
    return [index for index, flag in enumerate(flags) if flag]
