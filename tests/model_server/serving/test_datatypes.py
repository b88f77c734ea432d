"""The table of datatypes: each row says what the protocol, KServe and numpy say of that datatype."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb
from kserve.utils.numpy_codec import to_np_dtype

from model_server.serving.datatypes import DATATYPES, Datatype

#: The protocol's table of datatypes, with the bytes of an element; BYTES are as long as they say.
SIZES = {
    "BOOL": 1,
    "UINT8": 1,
    "UINT16": 2,
    "UINT32": 4,
    "UINT64": 8,
    "INT8": 1,
    "INT16": 2,
    "INT32": 4,
    "INT64": 8,
    "FP16": 2,
    "FP32": 4,
    "FP64": 8,
    "BYTES": None,
}
FIELDS: dict[str, Any] = pb.InferTensorContents.DESCRIPTOR.fields_by_name
#: Has the names of protobuf's types.
FIELD = FIELDS["bool_contents"]
#: Least and largest number that a field of gRPC's contents can carry, by its type.
CARRIED: dict[int, tuple[float, float]] = {
    FIELD.CPPTYPE_INT32: (-(2**31), 2**31 - 1),
    FIELD.CPPTYPE_INT64: (-(2**63), 2**63 - 1),
    FIELD.CPPTYPE_UINT32: (0, 2**32 - 1),
    FIELD.CPPTYPE_UINT64: (0, 2**64 - 1),
    FIELD.CPPTYPE_FLOAT: (-float(np.finfo(np.float32).max), float(np.finfo(np.float32).max)),
    FIELD.CPPTYPE_DOUBLE: (-float(np.finfo(np.float64).max), float(np.finfo(np.float64).max)),
}
NUMBERS = [datatype for datatype in DATATYPES.values() if datatype.kind in "iuf"]
every = pytest.mark.parametrize("datatype", DATATYPES.values(), ids=lambda datatype: datatype.name)
every_number = pytest.mark.parametrize("datatype", NUMBERS, ids=lambda datatype: datatype.name)


def test_the_table_is_the_protocols() -> None:
    """A datatype that is missing would be refused, one that is made up would be promised."""
    assert list(DATATYPES) == list(SIZES)
    assert {name: datatype.name for name, datatype in DATATYPES.items()} == {name: name for name in SIZES}


@every
def test_an_element_has_the_size_of_the_protocol(datatype: Datatype) -> None:
    """Binary data is cut by it, little-endian on every machine."""
    size = SIZES[datatype.name]

    assert (datatype.kind == "O") if size is None else (datatype.dtype.itemsize == size)
    assert datatype.dtype == datatype.dtype.newbyteorder("<")


@every
def test_kserve_means_the_same_by_the_name(datatype: Datatype) -> None:
    """With ``hot_path: false`` it is KServe that decodes, and its arrays come to our code."""
    assert np.dtype(to_np_dtype(datatype.name)) == datatype.dtype


def test_every_field_of_the_contents_holds_some_datatype() -> None:
    """And only binary data holds FP16: the message has no field for it."""
    used = {datatype.typed_field for datatype in DATATYPES.values()}

    assert used - {None} == set(FIELDS)
    assert [name for name, datatype in DATATYPES.items() if datatype.typed_field is None] == ["FP16"]


@every
def test_a_field_carries_every_element_of_its_datatypes(datatype: Datatype) -> None:
    """A field that is narrower than its datatype would wrap numbers around or refuse them."""
    if datatype.typed_field is None:
        assert not datatype.has_json, "what JSON can hold, typed contents can hold as well"
        return
    field = FIELDS[datatype.typed_field]
    if datatype.kind in "bO":
        expected = FIELD.TYPE_BOOL if datatype.kind == "b" else FIELD.TYPE_BYTES
        assert field.type == expected
        return
    low, high = CARRIED[field.cpp_type]
    is_float = field.cpp_type in (FIELD.CPPTYPE_FLOAT, FIELD.CPPTYPE_DOUBLE)
    assert low <= datatype.low <= datatype.high <= high
    assert is_float == datatype.is_float


@every_number
def test_limits_are_those_of_the_dtype(datatype: Datatype) -> None:
    """What lies beyond them would not survive the conversion; integers keep every digit of their limits."""
    limits: Any = np.finfo(datatype.dtype) if datatype.is_float else np.iinfo(datatype.dtype)

    assert (datatype.low, datatype.high) == (limits.min, limits.max)
    assert type(datatype.high) is (float if datatype.is_float else int)
    assert np.array([datatype.low, datatype.high], dtype=datatype.dtype).tolist() == [datatype.low, datatype.high]


@every
def test_the_noun_of_an_error_names_the_limits(datatype: Datatype) -> None:
    """Clients correct their data by it: an integer without its range would not say what is wrong with 300."""
    nouns = {"b": "true or false", "O": "a string", "f": "a finite number"}
    integer = f"an integer within {datatype.low}..{datatype.high}"

    assert datatype.noun == nouns.get(datatype.kind, integer)


@every
def test_only_floating_point_can_be_missing(datatype: Datatype) -> None:
    """NaN means missing in a tensor; no other datatype has an element for it."""
    assert datatype.is_float == (datatype.name in {"FP16", "FP32", "FP64"})
