"""Bodies of v1 and v2 requests, written by hand, and how they are decoded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from model_server.errors import DecodeError
from model_server.wire.parts import parse_json
from model_server.wire.v1 import call_of_v1
from model_server.wire.v2 import decode_v2
from tests.model_server.refusals import refusal

if TYPE_CHECKING:
    from model_server.serving.call import Call

GOOD = {"name": "a", "datatype": "FP64", "shape": [1, 2], "data": [1.5, 2.5]}


def body(document: Any) -> bytes:
    """Write a document as JSON."""
    return orjson.dumps(document)


def v2(inputs: Any = None, **more: Any) -> bytes:
    """Write a v2 document."""
    return body({"inputs": [GOOD] if inputs is None else inputs, **more})


def decode_v1(content: bytes) -> Call:
    """Decode as the v1 route does."""
    return call_of_v1(parse_json(content))


def refused_v1(content: bytes) -> str:
    """Give the text with which a v1 body is refused."""
    return refusal(DecodeError, decode_v1, content)


def refused_v2(content: bytes, length: str | None = None) -> str:
    """Give the text with which a v2 body is refused."""
    return refusal(DecodeError, decode_v2, content, length)
