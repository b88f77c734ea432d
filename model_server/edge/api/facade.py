"""Manifest -> JSON Schema and examples of the facade's bodies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from model_server.edge.api.contract import (
    PROBABILITY,
    TEXT,
    Schema,
    answer_properties,
    closed,
    record_schema,
    ref,
    tier_schema,
    vector_schema,
)
from model_server.wire.facade import MAX_REQUEST_ID, VECTOR, row_keys
from model_server.wire.facade_answers import class_key, risk_key, shows_risk
from model_server.wire.parts import DEFAULT_REASONS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from model_server.contract import Contract, Output
    from model_server.manifest import Manifest

_OPTIONAL = ("top_reasons", "request_id")


def facade_schemas(manifest: Manifest) -> dict[str, Schema]:
    """Describe what the facade takes and answers, by the names of the schemas."""
    return {
        "Record": record_schema(manifest.contract),
        "Vector": vector_schema(manifest.contract),
        "PredictRequest": _predict_request(manifest),
        "BatchRequest": _batch_request(manifest),
        "Reason": _reason(manifest.contract),
        "PredictResponse": _predict_response(manifest),
        "BatchResponse": _batch_response(),
    }


def _takes_vectors(manifest: Manifest) -> bool:
    return manifest.serving.facade == "vector"


def _predict_request(manifest: Manifest) -> Schema:
    options = _options([key for key in ("explain", "request_id") if key not in manifest.contract.names])
    record = record_schema(manifest.contract)
    named = {**record, "properties": {**record["properties"], **options}}
    if not _takes_vectors(manifest):
        return named
    return {"anyOf": [named, closed({VECTOR: ref("Vector"), **options}, optional=tuple(options))]}


def _options(keys: Sequence[str]) -> Schema:
    known: Schema = {
        "explain": {"type": "boolean", "description": "Whether to give reasons; the query parameter does the same."},
        "request_id": {
            "type": ["string", "null"],
            "maxLength": MAX_REQUEST_ID,
            "description": "Echoed in the answer.",
        },
    }
    return {key: known[key] for key in keys}


def _batch_request(manifest: Manifest) -> Schema:
    forms = [ref("Record"), ref("Vector")] if _takes_vectors(manifest) else [ref("Record")]
    rows = {
        "type": "array",
        "items": {"anyOf": forms} if len(forms) > 1 else forms[0],
        "minItems": 1,
        "maxItems": manifest.serving.max_batch_rows,
    }
    options = _options(["explain", "request_id"])
    bodies = [closed({key: rows, **options}, optional=tuple(options)) for key in row_keys(manifest)]
    return bodies[0] if len(bodies) == 1 else {"oneOf": bodies}


def _predict_response(manifest: Manifest) -> Schema:
    output = manifest.contract.output
    properties = _risk(output) if shows_risk(output) else _plain(manifest)
    return closed(properties, optional=_OPTIONAL, description=manifest.description)


def _risk(output: Output) -> Schema:
    probability = {**PROBABILITY, "description": "To 4 decimals; the tier is decided on the unrounded number."}
    return {
        risk_key(output): probability,
        "risk_tier": tier_schema(output),
        "top_reasons": _top_reasons(),
        "model_version": TEXT,
        "request_id": TEXT,
    }


def _plain(manifest: Manifest) -> Schema:
    output = manifest.contract.output
    generic: Schema = {}
    if not _takes_vectors(manifest):
        generic["prediction"] = {
            "type": ["string", "integer", "number"],
            "description": "The readable class, or the value.",
        }
        if output.probabilities:
            generic["probability"] = {**PROBABILITY, "description": "Of the label, to 6 decimals."}
    return {
        **generic,
        **answer_properties(output, "tier", class_key),
        "top_reasons": _top_reasons(),
        "model_version": TEXT,
        "n_features_in": {"const": len(manifest.contract.names), "description": "How many features the model takes."},
        "request_id": TEXT,
    }


def _top_reasons() -> Schema:
    return {
        "type": "array",
        "items": ref("Reason"),
        "maxItems": DEFAULT_REASONS,
        "description": "The features that matter most, strongest first; absent when they are not wanted.",
    }


def _reason(contract: Contract) -> Schema:
    is_risk = shows_risk(contract.output)
    directions = ("increases", "decreases")
    properties: Schema = {
        "feature": {"enum": list(contract.names)},
        "value": {
            "type": ["number", "string", "null"],
            "description": "The value as a number: the index of a category in the contract, 0 or 1 for a flag.",
        },
        "shap_contribution": {"type": "number", "description": "What the feature adds, in `space`, to 4 decimals."},
        "direction": {"enum": [f"{word}_risk" if is_risk else word for word in directions]},
        "space": {"enum": ["log-odds", "probability", "value"]},
    }
    if not is_risk:
        properties["output"] = {"type": "string", "description": "The class or target that the contribution speaks of."}
    return closed(properties, description="One feature's part in one answer.")


def _batch_response() -> Schema:
    count: Schema = {"type": "integer", "minimum": 1, "description": "Rows answered."}
    return closed(
        {
            "predictions": {"type": "array", "items": ref("PredictResponse"), "description": "One a row, in order."},
            "model_version": TEXT,
            "n_instances": count,
            "batch_size": count,
            "processing_time_ms": {"type": "number", "minimum": 0, "description": "Milliseconds, to 2 decimals."},
            "request_id": TEXT,
        },
        optional=_OPTIONAL,
    )


def predict_examples(manifest: Manifest, row: Sequence[Any]) -> dict[str, Any]:
    """Give bodies for ``/predict`` that work as they are.

    Args:
        manifest: The served manifest.
        row: A row that the model takes, in contract order.

    Returns:
        Bodies by name.
    """
    record = dict(zip(manifest.contract.names, row, strict=True))
    examples: dict[str, Any] = {"named": record}
    if _takes_vectors(manifest):
        examples["vector"] = {VECTOR: list(row)}
    options = _options([key for key in ("explain", "request_id") if key not in manifest.contract.names])
    values = {"explain": False, "request_id": "order-1"}
    if options:
        examples["options"] = {**record, **{key: values[key] for key in options}}
    return examples


def batch_examples(manifest: Manifest, row: Sequence[Any]) -> dict[str, Any]:
    """Give bodies for ``/predict/batch`` that work as they are; arguments as for ``predict_examples``."""
    record = dict(zip(manifest.contract.names, row, strict=True))
    examples: dict[str, Any] = {key: {key: [record, record]} for key in row_keys(manifest)}
    if _takes_vectors(manifest):
        examples["vectors"] = {"instances": [list(row), list(row)]}
    return examples
