"""Incremental parsing of large JSON bodies: one chunk a turn of the event loop.

A document of 10,000 rows takes 20 ms to parse in one go, in which nothing else is answered, and a thread would not
help: the parser keeps Python's global lock. So the elements of its long lists are parsed some at a time. That is exact:
if ``[a]`` and ``[b]`` are both JSON, then ``[a,b]`` is, and its elements are those of ``a`` and then those of ``b``.
Whatever does not fall apart like this is parsed in one go, and so are small bodies.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson

from model_server.wire.parts import parse_json

if TYPE_CHECKING:
    from collections.abc import Generator

#: Bytes that are parsed at once, in about a third of a millisecond; bodies up to three times as large are small.
PIECE_BYTES = 48 * 1024
SMALL_BYTES = 3 * PIECE_BYTES

# Where a list begins that may be long, and how far apart two of them may be.
_BEGIN = re.compile(rb'"(?:instances|customers|data)"\s*:\s*\[\s*(?=(\S))')
_GAP_BYTES = 4096
# What ends an element, by what begins it; all else begins a number or a word.
_CLOSING = {b"[": b"]", b"{": b"}", b'"': b'"'}
_COMMA = re.compile(rb"\s*,")
_ENDS = {closing: re.compile(re.escape(closing) + rb"\s*\]") for closing in (b"", *_CLOSING.values())}
_MARK = "\x00 element %d"


class _Irregular(Exception):
    """The body does not fall apart into elements where it should."""


def is_large(body: bytes, piece_bytes: int = PIECE_BYTES) -> bool:
    """Say whether a body is parsed in pieces."""
    return len(body) > 3 * piece_bytes


async def parse(body: bytes, piece_bytes: int = PIECE_BYTES) -> Any:
    """Parse a JSON document; a large one in chunks, yielding to the event loop between them.

    Args:
        body: The document.
        piece_bytes: About how much of it is parsed at once.

    Raises:
        DecodeError: It is none.
    """
    if not is_large(body, piece_bytes):
        return parse_json(body)
    steps = _parsed(body, piece_bytes)
    try:
        while True:
            next(steps)
            await asyncio.sleep(0)
    except StopIteration as done:
        return done.value
    except (_Irregular, orjson.JSONDecodeError):
        return parse_json(body)


def _parsed(body: bytes, piece_bytes: int) -> Generator[None, None, Any]:
    """Parse the long lists piece by piece, and what is around them with a mark in the place of their elements."""
    around: list[bytes] = []
    lists: list[list[Any]] = []
    position = 0
    while found := _BEGIN.search(body, position, position + _GAP_BYTES):
        around.append(body[position : found.end()])
        elements: list[Any] = []
        position = yield from _Elements(body, _CLOSING.get(found[1], b""), piece_bytes).parse(found.end(), elements)
        lists.append(elements)
    around.append(body[position:])
    if not lists or is_large(around[-1], piece_bytes) or any(b"\\u0000" in part for part in around):
        raise _Irregular
    marks = [orjson.dumps(_MARK % index) for index in range(len(lists))]
    text = b"".join(part for pair in zip(around, [*marks, b""], strict=True) for part in pair)
    return _filled(orjson.loads(text), lists)


@dataclass(frozen=True, slots=True)
class _Elements:
    """The elements of one list: the body they are in, what closes each of them, and how much is parsed at once."""

    body: bytes
    closing: bytes
    piece_bytes: int

    def parse(self, start: int, elements: list[Any]) -> Generator[None, None, int]:
        """Parse from ``start`` on, piece by piece; gives the place of the bracket that ends the list."""
        while True:
            stop = self._comma(start)
            try:
                piece = self._loaded(start, stop) if stop > 0 else None
            except orjson.JSONDecodeError:
                piece = None
            if piece is None:
                stop = self._end(start)
                elements += self._loaded(start, stop)
                return stop
            elements += piece
            start = stop + 1
            yield

    def _loaded(self, start: int, stop: int) -> list[Any]:
        piece: list[Any] = orjson.loads(b"[%b]" % self.body[start:stop])
        return piece

    def _comma(self, start: int) -> int:
        """Guess at a comma between elements, a piece behind ``start``, or -1; a wrong guess shows when parsed."""
        position = start + self.piece_bytes
        if not self.closing:
            return self.body.find(b",", position)
        for _ in range(64):
            position = self.body.find(self.closing, position) + 1
            if not position:
                return -1
            if found := _COMMA.match(self.body, position):
                return found.end() - 1
        return -1

    def _end(self, start: int) -> int:
        """Find the bracket that ends the list, in one of the next pieces: it follows what ends an element."""
        found = _ENDS[self.closing].search(self.body, start, start + 4 * self.piece_bytes)
        if found is None:
            raise _Irregular
        return found.end() - 1


def _filled(document: Any, lists: list[list[Any]]) -> Any:
    """Put the lists into the places of their marks, each of which must be where the elements of a request are."""
    holders = [document]
    if isinstance(document, dict) and isinstance(document.get("inputs"), list):
        holders = document["inputs"]
    left = {_MARK % index: elements for index, elements in enumerate(lists)}
    for holder in holders:
        for key, value in holder.items() if isinstance(holder, dict) else ():
            if isinstance(value, list) and len(value) == 1 and isinstance(value[0], str) and value[0] in left:
                holder[key] = left.pop(value[0])
    if left:
        raise _Irregular
    return document
