"""The facade: plain JSON in, plain JSON out, for clients that speak no inference protocol; knows two bodies, no model.

A thin translation onto the core that every protocol shares. ``/v1/predict`` is the same route as ``/predict``; a
breaking change would come under ``/api/v2``, because ``/v2`` belongs to the Open Inference Protocol.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson
from fastapi import APIRouter, Request
from fastapi.responses import Response

from model_server.errors import ContractError, DecodeError, Violation
from model_server.serving.call import Call
from model_server.wire.codec import DEFAULT_REASONS
from model_server.wire.documents import parse
from model_server.wire.facade_answers import documents, shows_risk

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from model_server.contract import Contract
    from model_server.manifest import Manifest
    from model_server.serving.call import Answer
    from model_server.serving.loaded import Served
    from model_server.serving.service import Core

ONE_PATHS = ("/predict", "/v1/predict")
BATCH_PATHS = ("/predict/batch", "/v1/predict/batch")
#: Here a refused request answers ``facade_status`` of its error.
FACADE_PATHS = frozenset((*ONE_PATHS, *BATCH_PATHS))

#: Keys beside the values; a feature of the same name takes precedence in a single record.
OPTIONS = ("explain", "request_id")
VECTOR = "features"
MAX_REQUEST_ID = 128


@dataclass(frozen=True, slots=True)
class Ask:
    """A decoded facade request.

    Attributes:
        rows: Lists in contract order, or objects of named values.
        explain: Whether reasons are wanted, or None when nothing was said.
        request_id: What the client wants echoed, or None.
    """

    rows: Sequence[Any]
    explain: bool | None = None
    request_id: str | None = None


@dataclass(frozen=True, slots=True)
class PlacedViolation(Violation):
    """A broken rule with its place in the facade's body."""

    place: str = ""

    def __str__(self) -> str:
        # Of a slotted dataclass, super() without arguments is another class.
        return f"{self.place}: {Violation.__str__(self)}"


def facade_router(core: Core) -> APIRouter:
    """Make the predict routes.

    Args:
        core: What answers.

    Returns:
        The router.
    """
    router = APIRouter(include_in_schema=False)

    async def predict(request: Request) -> Response:
        document = await parse(await request.body())
        served = _served(core)
        ask = decode_one(document, served.manifest, request.query_params)
        answer = await _answer(core, served, ask, request)
        return _json(documents(answer, served.manifest.serving)[0])

    async def predict_batch(request: Request) -> Response:
        document = await parse(await request.body())
        served = _served(core)
        ask = decode_batch(document, served.manifest, request.query_params)
        answer = await _answer(core, served, ask, request)
        elapsed_s = request.scope["exchange"].elapsed_s
        return _json(_batch_document(answer, served.manifest, elapsed_s))

    for path in ONE_PATHS:
        router.add_api_route(path, predict, methods=["POST"])
    for path in BATCH_PATHS:
        router.add_api_route(path, predict_batch, methods=["POST"])
    return router


def _served(core: Core) -> Served:
    repository = core.repository
    return repository.require(repository.model_name or "")


async def _answer(core: Core, served: Served, ask: Ask, request: Request) -> Answer:
    wanted = shows_risk(served.contract.output) and served.can_explain if ask.explain is None else ask.explain
    call = Call(rows=ask.rows, id=ask.request_id, reasons=DEFAULT_REASONS if wanted else 0)
    try:
        answer = await core.answer(call, served.name)
    except ContractError as error:
        raise _placed(error, served.contract, request.url.path, ask) from error
    request.scope["exchange"].answered(answer)
    return answer


def _placed(error: ContractError, contract: Contract, path: str, ask: Ask) -> ContractError:
    if path in BATCH_PATHS:
        return ContractError([_in_batch(violation) for violation in error.violations])
    if isinstance(ask.rows[0], list):
        return ContractError([_in_vector(violation, contract) for violation in error.violations])
    return error


def _in_batch(violation: Violation) -> Violation:
    if violation.row is None:
        return violation
    return PlacedViolation(violation.rule, violation.feature, violation.row, f"Instance {violation.row}")


def _in_vector(violation: Violation, contract: Contract) -> Violation:
    known = violation.feature in contract.names
    place = f"{VECTOR}[{contract.names.index(str(violation.feature))}]" if known else VECTOR
    return PlacedViolation(violation.rule, violation.feature, violation.row, place)


def decode_one(document: Any, manifest: Manifest, query: Mapping[str, str]) -> Ask:
    """Read the body of ``/predict``.

    Args:
        document: The parsed JSON.
        manifest: Manifest of the served bundle.
        query: Query parameters.

    Returns:
        One row, to be checked by the contract.

    Raises:
        DecodeError: It has not the form of a request.
    """
    names = manifest.contract.names
    if not isinstance(document, dict):
        raise DecodeError(f"the body must be a JSON object with {_wanted(manifest)}")
    options = {key: document[key] for key in OPTIONS if key in document and key not in names}
    values = {key: value for key, value in document.items() if key not in options}
    row = _vector(values, manifest) if manifest.serving.facade == "vector" else values
    return Ask([row], _explain(options, query), _request_id(options))


def _vector(values: dict[str, Any], manifest: Manifest) -> Any:
    names = manifest.contract.names
    if VECTOR not in values:
        if not any(name in values for name in names):
            raise DecodeError(f"{VECTOR!r} is missing: send {_wanted(manifest)}")
        return values
    if VECTOR in names:
        return values
    if len(values) > 1:
        unknown = next(key for key in values if key != VECTOR)
        raise DecodeError(f"unknown key {unknown[:64]!r} beside {VECTOR!r}")
    if not isinstance(values[VECTOR], list):
        raise DecodeError(f"{VECTOR!r} must be a list of {len(names)} values in the order of the contract")
    return values[VECTOR]


def _wanted(manifest: Manifest) -> str:
    count = len(manifest.contract.names)
    vector = f"{VECTOR!r}, a list of {count} values, or " if manifest.serving.facade == "vector" else ""
    return f"{vector}{count} named values; /v2/models/{manifest.name} and /docs list the names"


def row_keys(manifest: Manifest) -> tuple[str, ...]:
    """Name the keys under which a batch may hold its rows."""
    return ("instances",) if manifest.serving.facade == "vector" else ("instances", "customers")


def decode_batch(document: Any, manifest: Manifest, query: Mapping[str, str]) -> Ask:
    """Read the body of ``/predict/batch``.

    Args:
        document: The parsed JSON.
        manifest: Manifest of the served bundle.
        query: Query parameters.

    Returns:
        The rows, to be checked by the contract.

    Raises:
        DecodeError: It has not the form of a request.
        ContractError: There are more rows than the bundle admits, or a row has not the model's form.
    """
    keys = row_keys(manifest)
    if not isinstance(document, dict) or sum(key in document for key in keys) != 1:
        raise DecodeError(f"the body must be a JSON object with a list of rows as {' or '.join(map(repr, keys))}")
    unknown = [key[:64] for key in document if key not in (*keys, *OPTIONS)]
    if unknown:
        raise DecodeError(f"unknown key {unknown[0]!r}; this route takes {', '.join(map(repr, (*keys, *OPTIONS)))}")
    key = next(key for key in keys if key in document)
    rows = document[key]
    if not isinstance(rows, list):
        raise DecodeError(f"{key!r} must be a list of rows")
    _check_rows(rows, manifest)
    return Ask(rows, _explain(document, query), _request_id(document))


def _check_rows(rows: list[Any], manifest: Manifest) -> None:
    most = manifest.serving.max_batch_rows
    if len(rows) > most:
        raise ContractError([Violation(f"must have at most {most} rows, got {len(rows)}: split the request")])
    if manifest.serving.facade == "vector":
        return
    rule = "must be an object of named values"
    flaws = [_in_batch(Violation(rule, row=index)) for index, row in enumerate(rows) if not isinstance(row, dict)]
    if flaws:
        raise ContractError(flaws)


def _explain(options: Mapping[str, Any], query: Mapping[str, str]) -> bool | None:
    asked = query.get("explain")
    if asked not in (None, "true", "false"):
        raise DecodeError("query parameter 'explain' must be true or false")
    if "explain" not in options:
        return None if asked is None else asked == "true"
    if not isinstance(options["explain"], bool):
        raise DecodeError("'explain' must be true or false")
    return bool(options["explain"])


def _request_id(options: Mapping[str, Any]) -> str | None:
    value = options.get("request_id")
    if value is not None and (not isinstance(value, str) or len(value) > MAX_REQUEST_ID):
        raise DecodeError(f"'request_id' must be a string of at most {MAX_REQUEST_ID} characters")
    return value


def _batch_document(answer: Answer, manifest: Manifest, elapsed_s: float) -> dict[str, Any]:
    predictions = documents(answer, manifest.serving, echo=False)
    echo = {} if answer.call.id is None else {"request_id": answer.call.id}
    return {
        "predictions": predictions,
        "model_version": answer.model_version,
        "n_instances": len(predictions),
        "batch_size": len(predictions),
        "processing_time_ms": round(elapsed_s * 1000, 2),
        **echo,
    }


def _json(document: Any) -> Response:
    return Response(orjson.dumps(document), media_type="application/json")
