"""Predict and infer in four steps: bytes -> Call -> Frame -> Prediction -> bytes; knows two routes and no framework.

The whole data path of a request can be read in ``_predict`` and ``_infer``.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from model_server.edge.http.gate import Exchange, Response, error_response
from model_server.errors import BugError, MethodNotAllowed
from model_server.serving.call import Answer
from model_server.wire import answers, codec
from model_server.wire import documents as large

if TYPE_CHECKING:
    from model_server.serving.call import Call
    from model_server.serving.loaded import Served
    from model_server.serving.result import Outcome
    from model_server.serving.service import Core

V1_PREDICT = "/v1/models/{model_name}:predict"
V2_INFER = "/v2/models/{model_name}/infer"
V2_INFER_VERSION = "/v2/models/{model_name}/versions/{model_version}/infer"

_V1 = re.compile(r"/v1/models/([^/]+):predict")
_V1_VERB = re.compile(r"/v1/models/[^/]+:(?:predict|explain)")
_V2 = re.compile(r"/v2/models/([^/]+)(?:/versions/([^/]+))?/infer")
#: An answer of more rows is encoded in parts of as many, half a millisecond each.
ENCODED_ROWS = 1024
_HEADER_LENGTH = b"inference-header-content-length"


class _Route(NamedTuple):
    """A path that is answered here, taken apart.

    Attributes:
        name: The model's name.
        version: Its version, or None.
        protocol: ``v1`` or ``v2``.
        template: The route; empty for v1's explain, which only refuses other methods here.
        is_verb: Whether it is v1's form, where the verb follows the name.
    """

    name: str
    version: str | None
    protocol: str
    template: str
    is_verb: bool


@lru_cache(maxsize=64)
def _route(path: str) -> _Route | None:
    if match := _V1.fullmatch(path):
        return _Route(match[1], None, "v1", V1_PREDICT, is_verb=True)
    if match := _V2.fullmatch(path):
        return _Route(match[1], match[2], "v2", V2_INFER_VERSION if match[2] else V2_INFER, is_verb=False)
    return _Route("", None, "v1", "", is_verb=True) if _V1_VERB.fullmatch(path) else None


class Begun(NamedTuple):
    """A request whose rows are in the queue of the model."""

    served: Served
    call: Call
    future: asyncio.Future[Outcome]


@lru_cache(maxsize=64)
def is_short(path: bytes) -> bool:
    """Say whether a request target, as it is on the wire, is a path that is answered here, without a query."""
    route = _route(path.decode()) if path.isascii() and b"%" not in path and b"?" not in path else None
    return route is not None and bool(route.template)


def _decoded(exchange: Exchange, body: bytes) -> Call:
    if exchange.protocol == "v1":
        return codec.call_of_v1(codec.parse_json(body))
    length = exchange.headers.get(_HEADER_LENGTH)
    return codec.decode_v2(body, None if length is None else length.decode("latin-1"))


_CALL_OF = {"v1": codec.call_of_v1, "v2": codec.call_of_v2}


def _v2_response(answer: Answer) -> Response:
    content, json_size = answers.encode_v2(answer)
    if json_size is None:
        return Response(200, content)
    binary = [(b"content-type", b"application/octet-stream"), (_HEADER_LENGTH, str(json_size).encode())]
    return Response(200, content, binary)


class HotPath:
    """The lean route."""

    def __init__(self, core: Core, *, bare: bool, answers: bool) -> None:
        """Bind the core.

        Args:
            core: What answers.
            bare: Whether v1 predictions are bare labels.
            answers: Whether to answer here. If not, a request is only decoded, so that a malformed one is refused
                alike, and KServe's own route answers.
        """
        self._core = core
        self._bare = bare
        self._answers = answers

    async def answer(self, exchange: Exchange, body: bytes) -> Response | None:
        """Answer a predict or infer request; None for every other, which the app behind answers.

        Raises:
            ModelServerError: The request is refused; the door renders it.
        """
        route = _route(exchange.path)
        if exchange.method != "POST":
            return _post_only(exchange) if route is not None and route.is_verb else None
        if route is None or not route.template:
            return None
        served = self._required(exchange, route)
        # v1 has no binary data, whatever a header says.
        has_binary = route.protocol == "v2" and _HEADER_LENGTH in exchange.headers
        if has_binary or len(body) <= large.SMALL_BYTES:
            call = _decoded(exchange, body)
        else:
            call = _CALL_OF[route.protocol](await large.parse(body))
        if not self._answers:
            return None
        answer = await self._core.answer_by(served, call, keeps_rows=False)
        exchange.answered(answer)
        if answer.n_rows <= ENCODED_ROWS:
            return self._response(exchange, answer)
        return Response(200, await self._encoded(answer)) if route.protocol == "v1" else _v2_response(answer)

    def begin(self, exchange: Exchange, body: bytes) -> Begun:
        """Begin to answer a predict or infer request of a small body: ``answer`` for those who have no task to wait in.

        Raises:
            ModelServerError: The request is refused; the door renders it.
        """
        route = _route(exchange.path)
        if route is None:
            raise BugError("only what is_short says is begun")
        served = self._required(exchange, route)
        call = _decoded(exchange, body)
        return Begun(served, call, self._core.begin(served, call))

    def end(self, exchange: Exchange, begun: Begun) -> Response:
        """Write the answer of a request that was begun, once the model has it.

        Raises:
            ModelServerError: As ``answer``.
            CancelledError: Nobody waits for it any more.
        """
        served, call, future = begun
        answer = Answer(call, served.name, served.version, served.contract, future.result())
        exchange.answered(answer)
        return self._response(exchange, answer)

    def _required(self, exchange: Exchange, route: _Route) -> Served:
        exchange.endpoint, exchange.protocol = route.template, route.protocol
        return self._core.repository.require(route.name, route.version)

    def _response(self, exchange: Exchange, answer: Answer) -> Response:
        if exchange.protocol == "v1":
            return Response(200, answers.encode_v1(answer, bare=self._bare))
        return _v2_response(answer)

    async def _encoded(self, answer: Answer) -> bytes:
        """Encode a large answer some rows a turn of the loop."""
        parts = []
        for part in answers.v1_parts(answer, ENCODED_ROWS, bare=self._bare):
            parts.append(part)
            await asyncio.sleep(0)
        return b"".join(parts)


def _post_only(exchange: Exchange) -> Response:
    # KServe's status route would take the verb for a part of the model's name, and answer 404.
    refused = error_response(exchange, MethodNotAllowed("this path takes POST only"))
    return replace(refused, headers=[*refused.headers, (b"allow", b"POST")])
