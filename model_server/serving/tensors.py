"""Tensors of a request, and their conversion to a checked frame."""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from model_server.errors import ContractError, Violation
from model_server.serving.datatypes import DATATYPES

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from model_server.contract import Contract
    from model_server.frame import Frame
    from model_server.serving.datatypes import Datatype

Array = np.ndarray[Any, Any]

# JSON types by kind of numpy dtype; null is for the contract to judge.
_JSON_TYPES: dict[str, frozenset[type]] = {"b": frozenset({bool, type(None)}), "O": frozenset({str, type(None)})}
_FLOATS: frozenset[type] = frozenset({int, float})
_INTS: frozenset[type] = frozenset({int})
# How 64 bits of a kind of numpy dtype are packed.
_PACKED = {"f": "d", "i": "q", "u": "Q"}
_NUMBERS: frozenset[type] = frozenset({int, float, type(None)})


# Not frozen: docs/decisions.md, 33.
@dataclass(slots=True, eq=False)
class Tensor:
    """A decoded input or an output to encode.

    Attributes:
        name: Its name in the request.
        datatype: A name of ``DATATYPES``.
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
    """Take the fast path of numeric models: one FP64 tensor [N, F] of nothing but numbers.

    Returns:
        float64 of shape [N, F], unchecked against the contract; None for everything else, which ``to_frame`` reads.
    """
    tensor = tensors[0]
    if len(tensors) != 1 or tensor.datatype != "FP64" or tensor.shape[1:] != (len(contract.names),):
        return None
    if not contract.is_numeric or not tensor.shape[0]:
        return None
    data = tensor.data if isinstance(tensor.data, np.ndarray) else _numbers(tensor.data, DATATYPES["FP64"])
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
    if isinstance(values, list) and DATATYPES[tensor.datatype].is_float:
        values = np.array(values, dtype=np.float64)  # null becomes NaN, which means missing in a tensor
    if isinstance(values, list):  # some element is null: let the columns decide whether that may be
        return contract.frame_from_columns({name: values[i::width] for i, name in enumerate(contract.names)})
    return contract.frame_from_matrix(values.reshape(tensor.shape))


def _flaw(tensor: Tensor, row: int, feature: str) -> Violation:
    noun = DATATYPES[tensor.datatype].noun
    return Violation(f"must be {noun}, as its datatype {tensor.datatype} says", feature, int(row))


def _typed(tensor: Tensor) -> tuple[list[Any] | Array, Iterable[int]]:
    """Give JSON elements the type that their datatype declares, with the indexes of those that do not have it."""
    data, datatype = tensor.data, DATATYPES[tensor.datatype]
    if isinstance(data, np.ndarray):
        return data, ()
    array = _numbers(data, datatype)
    if array is not None:
        return array, ()
    bad = _mistyped(data, datatype)
    if bad or datatype.kind == "O":
        return data, bad
    present = [element for element in data if element is not None]
    array = np.array(present, dtype=datatype.dtype)
    if len(present) == len(data):
        return array, ()
    values = iter(array.tolist())
    return [None if element is None else next(values) for element in data], ()


def _numbers(data: list[Any], datatype: Datatype) -> Array | None:
    """Convert in one go what is all numbers within range; None for the slow path, which names what is not."""
    kinds, kind = set(map(type, data)), datatype.dtype.kind
    if not (kind == "f" and kinds <= _FLOATS) and not (kind in "iu" and kinds == _INTS):
        return None
    try:
        # Packing takes a third of the time of np.array, which looks at every element twice.
        wide = np.frombuffer(struct.pack(f"<{len(data)}{_PACKED[kind]}", *data), dtype=f"<{kind}8")
    except (OverflowError, struct.error):  # beyond 64 bits
        return None
    if datatype.name == "INT64" or (datatype.name == "FP64" and np.isfinite(wide).all()):
        return wide
    return wide.astype(datatype.dtype) if ((wide >= datatype.low) & (wide <= datatype.high)).all() else None


def _mistyped(data: list[Any], datatype: Datatype) -> list[int]:
    kind = datatype.kind
    admitted = _JSON_TYPES.get(kind, _NUMBERS)
    if not set(map(type, data)) <= admitted:
        return _where(type(element) not in admitted for element in data)
    if kind in "bO":
        return []
    inside = (
        element is None or (datatype.low <= element <= datatype.high and (kind == "f" or element == int(element)))
        for element in data
    )
    return _where(not good for good in inside)


def _where(flags: Iterable[bool]) -> list[int]:
    return [index for index, flag in enumerate(flags) if flag]
