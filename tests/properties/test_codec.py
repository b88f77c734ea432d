"""Decoding undoes encoding: tensors written by the suite's own encoders, read by the server's codec, and back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_server.edge.grpc import messages
from model_server.serving import tensors as served
from model_server.wire import tensors
from model_server.wire.v2 import decode_v2
from tests.conformance.wire import HEADER_LENGTH, LAYOUT, Tensor, from_bytes, grpc_raw, grpc_typed, v2, v2_binary

if TYPE_CHECKING:
    from hypothesis.strategies import DrawFn

    from model_server.serving.call import Call

DATATYPES = [*LAYOUT, "BYTES"]


def element(datatype: str) -> st.SearchStrategy[Any]:
    """Draw one element that a datatype holds exactly."""
    if datatype == "BYTES":
        return st.text(max_size=12)
    if datatype == "BOOL":
        return st.booleans()
    if datatype.startswith("FP"):
        return st.floats(width=_width(datatype), allow_nan=False, allow_infinity=False)
    limits = np.iinfo(np.dtype(LAYOUT[datatype]))
    return st.integers(int(limits.min), int(limits.max))


def _width(datatype: str) -> Any:
    return int(datatype.removeprefix("FP"))


@st.composite
def tensor(draw: DrawFn, datatype: str, name: str = "x") -> Tensor:
    """Draw a tensor of one datatype, of one to three dimensions."""
    shape = tuple(draw(st.lists(st.integers(1, 4), min_size=1, max_size=3)))
    size = int(np.prod(shape))
    return Tensor(name, datatype, shape, tuple(draw(st.lists(element(datatype), min_size=size, max_size=size))))


@st.composite
def several(draw: DrawFn, datatypes: list[str]) -> list[Tensor]:
    """Draw tensors of several datatypes, each with a name of its own."""
    chosen = draw(st.lists(st.sampled_from(datatypes), min_size=1, max_size=4))
    return [draw(tensor(datatype, f"x{index}")) for index, datatype in enumerate(chosen)]


def assert_decoded(call: Call, sent: list[Tensor]) -> None:
    """Check that a call holds the tensors that were sent, element by element."""
    assert [(t.name, t.datatype, t.shape) for t in call.tensors] == [(t.name, t.datatype, t.shape) for t in sent]
    for got, wanted in zip(call.tensors, sent, strict=True):
        assert np.asarray(got.data, dtype=object).tolist() == list(wanted.data)


@given(sent=several([name for name in DATATYPES if name != "FP16"]))
def test_json_tensors_are_read_as_they_were_written(sent: list[Tensor]) -> None:
    """v2 JSON; FP16 has no JSON form."""
    assert_decoded(decode_v2(v2("m", sent).content, None), sent)


@given(sent=several(DATATYPES), data=st.data())
def test_binary_tensors_are_read_as_they_were_written(sent: list[Tensor], data: st.DataObject) -> None:
    """v2 with binary tensors, some of them inside the JSON part."""
    candidates = [one.name for one in sent if one.datatype != "FP16"]
    in_json = frozenset(data.draw(st.sets(st.sampled_from(candidates)))) if candidates else frozenset()
    request = v2_binary("m", sent, as_json=in_json)
    assert_decoded(decode_v2(request.content, request.headers[HEADER_LENGTH]), sent)


@given(sent=several([name for name in DATATYPES if name != "FP16"]))
def test_typed_grpc_contents_are_read_as_they_were_written(sent: list[Tensor]) -> None:
    """gRPC, typed; FP16 has no typed form."""
    assert_decoded(messages.decode_request(grpc_typed("m", sent)), sent)


@given(sent=several(DATATYPES))
def test_raw_grpc_contents_are_read_as_they_were_written(sent: list[Tensor]) -> None:
    """Raw contents of gRPC are the same bytes as binary data over REST."""
    assert_decoded(messages.decode_request(grpc_raw("m", sent)), sent)


@pytest.mark.parametrize("datatype", DATATYPES)
@given(data=st.data())
def test_what_the_server_writes_in_binary_is_read_back(datatype: str, data: st.DataObject) -> None:
    """Outputs, read by the suite's own decoder."""
    sent = data.draw(tensor(datatype))
    raw = tensors.encode_raw(served.Tensor(sent.name, datatype, sent.shape, list(sent.data)))
    assert raw == sent.as_bytes()
    flat = from_bytes(datatype, [len(sent.data)], raw)
    assert flat == list(sent.data)
    again = tensors.decode_raw(sent.name, datatype, sent.shape, raw)
    assert np.asarray(again.data, dtype=object).tolist() == list(sent.data)
