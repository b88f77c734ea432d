"""Large bodies: parsed in pieces they are the very same documents, and the loop turns meanwhile."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from model_server.errors import DecodeError
from model_server.wire import pieces
from model_server.wire.parts import parse_json

if TYPE_CHECKING:
    from collections.abc import Callable

PIECE = 64

# Texts that look like the structure around them.
TEXTS = st.text(alphabet='],[{}"\\: a\x001é', max_size=8)
SCALARS = st.one_of(st.floats(-1e6, 1e6), st.integers(-9, 9), st.booleans(), st.none(), TEXTS)
ROWS = st.one_of(
    st.lists(st.lists(st.floats(-1e6, 1e6), min_size=3, max_size=3), max_size=40),
    st.lists(st.lists(SCALARS, max_size=4), max_size=40),
    st.lists(st.dictionaries(TEXTS, SCALARS, max_size=4), max_size=40),
    st.lists(st.floats(-1e6, 1e6), max_size=120),
    st.lists(TEXTS, max_size=60),
    st.lists(SCALARS, max_size=60),
)
TENSOR = st.fixed_dictionaries({"name": TEXTS, "shape": st.just([-1]), "data": ROWS})
DOCUMENTS = st.one_of(
    st.fixed_dictionaries({"instances": ROWS}, optional={"parameters": st.dictionaries(TEXTS, SCALARS, max_size=2)}),
    st.fixed_dictionaries({"parameters": st.just({"reasons": 2}), "instances": ROWS}),
    st.fixed_dictionaries({"customers": ROWS, "explain": st.booleans()}),
    st.fixed_dictionaries({"inputs": st.lists(TENSOR, max_size=4)}, optional={"id": TEXTS}),
    st.dictionaries(st.sampled_from(["data", "instances", "x"]), ROWS, max_size=3),
)


def parsed(body: bytes, piece_bytes: int = PIECE) -> Any:
    """Parse a body in pieces."""
    return asyncio.run(pieces.parse(body, piece_bytes))


async def turns_of(body: bytes, piece_bytes: int) -> int:
    """Count how often the loop turned while a body was parsed."""
    task = asyncio.ensure_future(pieces.parse(body, piece_bytes))
    turns = 0
    while not task.done():
        await asyncio.sleep(0)
        turns += 1
    return turns


@given(document=DOCUMENTS, indent=st.sampled_from([None, 1]))
@example(document={"x": ["\x00 element 0"], "instances": [[1.5] * 3] * 60}, indent=None)
@example(document={"instances": [[1.5] * 3] * 60, "x": ["\x00 element 0"]}, indent=None)
def test_a_body_in_pieces_is_the_same_document(document: Any, indent: int | None) -> None:
    """Whatever its texts look like, and however it is spaced."""
    body = json.dumps(document, indent=indent).encode()

    assert parsed(body) == document


@given(document=DOCUMENTS, cut=st.integers(0, 10_000), put=st.binary(max_size=2))
def test_a_damaged_body_is_what_it_is_in_one_go(document: Any, cut: int, put: bytes) -> None:
    """The same document, or the same refusal with the same place."""
    body = json.dumps(document).encode()
    body = body[: cut % (len(body) + 1)] + put + body[cut % (len(body) + 1) + len(put) :]

    assert outcome(parsed, body) == outcome(parse_json, body)


def outcome(parse: Callable[[bytes], Any], body: bytes) -> Any:
    """Give a document, or the text of its refusal."""
    try:
        return parse(body)
    except DecodeError as error:
        return f"refused: {error}"


def test_of_a_repeated_key_the_last_counts() -> None:
    """As in one go; the pieces of the first are of no use then."""
    rows = orjson.dumps([[0.5, 1.0]] * 100)
    body = b'{"instances": %b, "instances": [[7.0]]}' % rows

    assert parsed(body) == {"instances": [[7.0]]}


@pytest.mark.parametrize(
    "document",
    [
        {"instances": [[0.5, 1.0, 2.0]] * 100},
        {"instances": [{"a": "x", "b": 1}] * 100, "parameters": {"reasons": 1}},
        {"customers": [{"a": "], [", "b": 1}] * 100},
        {"inputs": [{"name": "x", "shape": [100, 3], "datatype": "FP64", "data": [0.5] * 300}]},
        {"inputs": [{"name": "x", "shape": [100, 3], "datatype": "FP64", "data": [[0.5] * 3] * 100}], "outputs": []},
        {"inputs": [{"name": n, "shape": [300], "datatype": "BYTES", "data": ["yes", "no"] * 150} for n in "abc"]},
    ],
    ids=["rows", "objects", "customers", "numbers", "nested", "columns"],
)
def test_the_loop_turns_between_pieces(document: Any) -> None:
    """About once a piece, for every form of request."""
    body = orjson.dumps(document)

    assert asyncio.run(turns_of(body, PIECE)) >= len(body) / PIECE * 0.6
    assert parsed(body) == document


def test_a_small_body_is_parsed_at_once() -> None:
    """Turning the loop for it would only cost."""
    assert asyncio.run(turns_of(b'{"instances": [[1, 2, 3]]}', pieces.PIECE_BYTES)) == 1
