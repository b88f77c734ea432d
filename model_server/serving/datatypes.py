"""The datatypes of the Open Inference Protocol: one row each, and everything that differs from row to row.

It stands with ``serving``, not with ``wire``: a tensor becomes a frame by what its datatype can hold.
Source: the "Tensor Data Types" table of the protocol.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True, slots=True)
class Datatype:
    """One datatype.

    Attributes:
        name: The protocol's name.
        dtype: numpy dtype of its elements, little-endian; object for text.
        typed_field: Field of gRPC's ``InferTensorContents`` that holds its elements; None where only raw bytes do.
        noun: What an element must be, for the texts of errors.
        low: Least element, for numbers.
        high: Largest element, for numbers.
        has_json: Whether JSON data can hold it.
    """

    name: str
    dtype: np.dtype[Any]
    typed_field: str | None
    noun: str
    low: float = 0
    high: float = 0
    has_json: bool = True

    @property
    def kind(self) -> str:
        """Kind of the dtype: ``b``, ``i``, ``u``, ``f`` or ``O``."""
        return self.dtype.kind

    @property
    def is_float(self) -> bool:
        """Whether NaN is one of its elements, which means missing."""
        return self.dtype.kind == "f"


def _integer(name: str, code: str, typed_field: str) -> Datatype:
    limits = np.iinfo(code)
    noun = f"an integer within {limits.min}..{limits.max}"
    return Datatype(name, np.dtype(code), typed_field, noun, int(limits.min), int(limits.max))


def _float(name: str, code: str, typed_field: str | None, *, has_json: bool = True) -> Datatype:
    limits = np.finfo(code)
    dtype = np.dtype(code)
    return Datatype(name, dtype, typed_field, "a finite number", float(limits.min), float(limits.max), has_json)


#: By name. gRPC has no field of its own for the smaller integers: they share the 32-bit ones.
DATATYPES: dict[str, Datatype] = {
    datatype.name: datatype
    for datatype in (
        Datatype("BOOL", np.dtype(np.bool_), "bool_contents", "true or false"),
        _integer("UINT8", "<u1", "uint_contents"),
        _integer("UINT16", "<u2", "uint_contents"),
        _integer("UINT32", "<u4", "uint_contents"),
        _integer("UINT64", "<u8", "uint64_contents"),
        _integer("INT8", "<i1", "int_contents"),
        _integer("INT16", "<i2", "int_contents"),
        _integer("INT32", "<i4", "int_contents"),
        _integer("INT64", "<i8", "int64_contents"),
        _float("FP16", "<f2", None, has_json=False),
        _float("FP32", "<f4", "fp32_contents"),
        _float("FP64", "<f8", "fp64_contents"),
        Datatype("BYTES", np.dtype(object), "bytes_contents", "a string"),
    )
}
