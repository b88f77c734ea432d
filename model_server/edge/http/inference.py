"""Inference over HTTP: ``Inference.answer`` is the whole way, bytes -> Call -> Result -> bytes."""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import parse_qsl

import orjson

from model_server.edge.exchange import Exchange, Response, error_response, refusal
from model_server.errors import ContractError, MethodNotAllowed
from model_server.serving.call import Answer, Call, Options
from model_server.wire import facade, pieces
from model_server.wire.facade_answers import batch_document, documents
from model_server.wire.parts import parse_json
from model_server.wire.v1 import call_of_v1, encode_v1, explanations_document, v1_parts
from model_server.wire.v2 import call_of_v2, decode_v2, encode_v2

if TYPE_CHECKING:
    from collections.abc import Callable

    from model_server.serving.loaded import LoadedBundle
    from model_server.serving.service import Service

V1_PREDICT = "/v1/models/{model_name}:predict"
V1_EXPLAIN = "/v1/models/{model_name}:explain"
V2_INFER = "/v2/models/{model_name}/infer"
V2_INFER_VERSION = "/v2/models/{model_name}/versions/{model_version}/infer"

_V1 = re.compile(r"/v1/models/([^/]+):(predict|explain)")
_V2 = re.compile(r"/v2/models/([^/]+)(?:/versions/([^/]+))?/infer")
_EXPLAIN = Options(explain=True)
#: Longest path that a cache keeps, since clients choose paths. What is longer names no model that is served.
CACHED_BYTES = 512
#: An answer of more rows is encoded in parts of as many, half a millisecond each.
ENCODED_ROWS = 1024
HEADER_LENGTH = b"inference-header-content-length"


class Route(NamedTuple):
    """A path that is answered here, taken apart.

    Attributes:
        format: What its bodies are: ``v1``, ``explain``, ``v2``, ``one`` or ``batch``.
        protocol: The protocol for logs and metrics.
        template: The route for logs and metrics.
        name: The model's name; None on the facade, which asks the served one.
        version: Its version, or None.
    """

    format: str
    protocol: str
    template: str
    name: str | None = None
    version: str | None = None


@lru_cache(maxsize=64)
def route_of(path: str) -> Route | None:
    """Find the route of a path; None for one that the app behind answers."""
    if match := _V1.fullmatch(path):
        if match[2] == "predict":
            return Route("v1", "v1", V1_PREDICT, match[1])
        return Route("explain", "v1", V1_EXPLAIN, match[1])
    if match := _V2.fullmatch(path):
        return Route("v2", "v2", V2_INFER_VERSION if match[2] else V2_INFER, match[1], match[2])
    if path in facade.ONE_PATHS:
        return Route("one", "http", path)
    return Route("batch", "http", path) if path in facade.BATCH_PATHS else None


@lru_cache(maxsize=64)
def is_short(target: bytes) -> bool:
    """Say whether a request target, as it is on the wire, is a path that is answered here, without a query."""
    return target.isascii() and b"%" not in target and b"?" not in target and route_of(target.decode()) is not None


class Inference:
    """Answers every route that asks the model."""

    def __init__(self, service: Service, *, bare: bool, is_lean: bool = True) -> None:
        """Bind the service.

        Args:
            service: What answers.
            bare: Whether v1 predictions are bare labels.
            is_lean: Whether v1 and v2 are answered here. If not, such a request is only decoded, so that a malformed
                one is refused alike, and KServe's own route answers.
        """
        self._service = service
        self._repository = service.repository
        self._bare = bare
        self._is_lean = is_lean

    async def answer(self, exchange: Exchange, body: bytes) -> Response | None:
        """Answer a request.

        A short one runs without a task of its own, see ``edge.http.connection``.

        Args:
            exchange: The request.
            body: Its whole body.

        Returns:
            The response, which may be a refusal; None for a request that the app behind answers.
        """
        path = exchange.path
        route = route_of(path) if len(path) <= CACHED_BYTES else route_of.__wrapped__(path)
        if route is None:
            return None
        exchange.format, exchange.protocol, exchange.endpoint, name, version = route
        if exchange.method != "POST":
            return _post_only(exchange)
        try:
            loaded = self._repository.require(name or self._repository.model_name or "", version)
            exchange.version = loaded.version
            if len(body) <= pieces.SMALL_BYTES or (exchange.format == "v2" and HEADER_LENGTH in exchange.headers):
                call = decode(exchange, loaded, body)
            else:
                call = _READERS[exchange.format](await pieces.parse(body), loaded, exchange)
            if name and not self._is_lean:
                return None
            try:
                result = await self._service.submit(loaded, call)
            except ContractError as error:
                # Not "from error": mostly it is the same one, and as its own cause it would keep the body alive.
                raise facade.placed(error, exchange.format, call, loaded.contract) from None
            answer, exchange.rows = Answer(call, loaded, result), result.n_rows
            if exchange.rows > ENCODED_ROWS:
                return await self._encode_large(exchange, answer)
            return self.encode(exchange, answer)
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - whatever is wrong, the client is answered
            return refusal(exchange, error)

    def encode(self, exchange: Exchange, answer: Answer) -> Response:
        """Answer -> bytes, in the format of the request."""
        if exchange.format == "v1":
            return Response(200, encode_v1(answer, bare=self._bare))
        return _WRITERS[exchange.format](answer, exchange)

    async def _encode_large(self, exchange: Exchange, answer: Answer) -> Response:
        """Encode a large answer without stalling the loop for long."""
        if exchange.format != "v1":
            # Objects and reasons are built row by row, in Python: a thread at least takes turns with the loop.
            is_slow = exchange.format != "v2" or bool(answer.call.options.reasons)
            return await asyncio.to_thread(self.encode, exchange, answer) if is_slow else self.encode(exchange, answer)
        parts = []
        for part in v1_parts(answer, ENCODED_ROWS, bare=self._bare):
            parts.append(part)
            await asyncio.sleep(0)
        return Response(200, b"".join(parts))


def decode(exchange: Exchange, loaded: LoadedBundle, body: bytes) -> Call:
    """Bytes -> Call, in the format of the route.

    Raises:
        ClientError: The body is no request of that format.
    """
    if exchange.format == "v1":
        return call_of_v1(parse_json(body))
    if exchange.format == "v2":
        length = exchange.headers.get(HEADER_LENGTH)
        return decode_v2(body, None if length is None else length.decode("latin-1"))
    return _READERS[exchange.format](parse_json(body), loaded, exchange)


def _query(exchange: Exchange) -> dict[str, str]:
    return dict(parse_qsl(exchange.query.decode("latin-1"), keep_blank_values=True))


def _explain(document: Any, _loaded: LoadedBundle, _exchange: Exchange) -> Call:
    call = call_of_v1(document)
    call.options = _EXPLAIN
    return call


#: Parsed JSON -> Call, by format.
_READERS: dict[str, Callable[[Any, LoadedBundle, Exchange], Call]] = {
    "v1": lambda document, _loaded, _exchange: call_of_v1(document),
    "explain": _explain,
    "v2": lambda document, _loaded, _exchange: call_of_v2(document),
    "one": lambda document, loaded, exchange: facade.call_of_one(document, loaded, _query(exchange)),
    "batch": lambda document, loaded, exchange: facade.call_of_batch(document, loaded, _query(exchange)),
}


def _write_v2(answer: Answer, _exchange: Exchange) -> Response:
    content, json_size = encode_v2(answer)
    if json_size is None:
        return Response(200, content)
    return Response(200, content, [(b"content-type", b"application/octet-stream"), (HEADER_LENGTH, b"%d" % json_size)])


#: Answer -> response, by format; v1's depends on a setting.
_WRITERS: dict[str, Callable[[Answer, Exchange], Response]] = {
    "explain": lambda answer, _exchange: Response(200, orjson.dumps(explanations_document(answer))),
    "v2": _write_v2,
    "one": lambda answer, _exchange: Response(200, orjson.dumps(documents(answer)[0])),
    "batch": lambda answer, exchange: Response(200, orjson.dumps(batch_document(answer, exchange.elapsed_s))),
}


def _post_only(exchange: Exchange) -> Response:
    # KServe's status route would take v1's verb for a part of the model's name, and answer 404.
    refused = error_response(exchange, MethodNotAllowed("this path takes POST only"))
    return replace(refused, headers=[*refused.headers, (b"allow", b"POST")])
