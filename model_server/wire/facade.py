"""The facade's requests: plain JSON -> Call, for clients that speak no protocol; ``facade_answers`` has the answers.

``/v1/predict`` is the same route as ``/predict``; a breaking change would come under ``/api/v2``, because ``/v2``
belongs to the Open Inference Protocol.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from model_server.errors import ContractError, DecodeError, Violation
from model_server.serving.call import PLAIN, Call, Options
from model_server.wire.facade_answers import shows_risk
from model_server.wire.parts import DEFAULT_REASONS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from model_server.contract import Contract
    from model_server.manifest import Manifest
    from model_server.serving.loaded import LoadedBundle

ONE_PATHS = ("/predict", "/v1/predict")
BATCH_PATHS = ("/predict/batch", "/v1/predict/batch")

#: Keys beside the values; a feature of the same name takes precedence in a single record.
OPTIONS = ("explain", "request_id")
VECTOR = "features"
MAX_REQUEST_ID = 128


@dataclass(frozen=True, slots=True)
class PlacedViolation(Violation):
    """A broken rule with its place in the facade's body."""

    place: str = ""

    def __str__(self) -> str:
        # Of a slotted dataclass, super() without arguments is another class.
        return f"{self.place}: {Violation.__str__(self)}"


def call_of_one(document: Any, loaded: LoadedBundle, query: Mapping[str, str]) -> Call:
    """Read the body of ``/predict``.

    Args:
        document: The parsed JSON.
        loaded: The served bundle.
        query: Query parameters.

    Returns:
        One row, to be checked by the contract.

    Raises:
        DecodeError: It has not the form of a request.
    """
    manifest = loaded.manifest
    names = manifest.contract.names
    if not isinstance(document, dict):
        raise DecodeError(f"the body must be a JSON object with {_wanted(manifest)}")
    beside = {key: document[key] for key in OPTIONS if key in document and key not in names}
    values = {key: value for key, value in document.items() if key not in beside}
    row = _vector(values, manifest) if manifest.serving.facade == "vector" else values
    return Call([row], id=_request_id(beside), options=_options(loaded, beside, query))


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


def call_of_batch(document: Any, loaded: LoadedBundle, query: Mapping[str, str]) -> Call:
    """Read the body of ``/predict/batch``.

    Args:
        document: The parsed JSON.
        loaded: The served bundle.
        query: Query parameters.

    Returns:
        The rows, to be checked by the contract.

    Raises:
        DecodeError: It has not the form of a request.
        ContractError: There are more rows than the bundle admits, or a row has not the model's form.
    """
    manifest = loaded.manifest
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
    return Call(rows, id=_request_id(document), options=_options(loaded, document, query))


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


def _options(loaded: LoadedBundle, beside: Mapping[str, Any], query: Mapping[str, str]) -> Options:
    wanted = _explain(beside, query)
    if wanted is None:
        wanted = shows_risk(loaded.contract.output) and loaded.can_explain
    return Options(DEFAULT_REASONS) if wanted else PLAIN


def _explain(beside: Mapping[str, Any], query: Mapping[str, str]) -> bool | None:
    asked = query.get("explain")
    if asked not in (None, "true", "false"):
        raise DecodeError("query parameter 'explain' must be true or false")
    if "explain" not in beside:
        return None if asked is None else asked == "true"
    if not isinstance(beside["explain"], bool):
        raise DecodeError("'explain' must be true or false")
    return bool(beside["explain"])


def _request_id(beside: Mapping[str, Any]) -> str | None:
    value = beside.get("request_id")
    if value is not None and (not isinstance(value, str) or len(value) > MAX_REQUEST_ID):
        raise DecodeError(f"'request_id' must be a string of at most {MAX_REQUEST_ID} characters")
    return value


def placed(error: ContractError, form: str, call: Call, contract: Contract) -> ContractError:
    """Say of each flaw where it is in a body of the facade.

    Args:
        error: What the contract says of the rows.
        form: The format of the route; those other than the facade's name rows and features as the contract does.
        call: What was decoded.
        contract: The model's contract.
    """
    if form == "batch":
        return ContractError([_in_batch(violation) for violation in error.violations])
    if form == "one" and call.rows and isinstance(call.rows[0], list):
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
