"""Served model -> JSON Schema and examples of its v1 and v2 bodies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from model_server.edge.api.contract import TEXT, Schema, answer_properties, closed, ref
from model_server.wire.metadata import MATRIX_INPUT, column_datatype
from model_server.wire.parts import DEFAULT_REASONS

if TYPE_CHECKING:
    from model_server.contract import Feature
    from model_server.edge.api.described import Described


def protocol_schemas(model: Described) -> dict[str, Schema]:
    """Describe the v1 bodies of a model, by the names of the schemas; those of v2 are the same for every model."""
    rows = {"type": "array", "items": {"anyOf": [ref("Record"), ref("Vector")]}, "minItems": 1}
    parameters = {"anyOf": [ref("V1Parameters"), {"type": "null"}]}
    answers = {"type": "array", "items": ref("V1Prediction"), "description": "One a row, in order."}
    return {
        "V1Request": closed({"instances": rows, "parameters": parameters}, optional=["parameters"]),
        "V1Prediction": _prediction(model),
        "V1Response": closed({"predictions": answers, "model_name": TEXT, "model_version": TEXT}),
    }


def _prediction(model: Described) -> Schema:
    properties = answer_properties(model.contract.output, "tier", str)
    if model.bare:
        part: Schema = properties["label" if "label" in properties else "value"]
        return part
    properties["reasons"] = {"type": "array", "items": ref("V1Reason"), "description": "Where they are asked for."}
    return closed(properties, optional=["reasons"])


def v1_examples(model: Described) -> dict[str, Any]:
    """Give bodies for ``:predict`` that work as they are, by name."""
    examples: dict[str, Any] = {
        "named": {"instances": [model.record]},
        "lists": {"instances": [list(model.row), list(model.row)]},
    }
    if model.explains and not model.bare:
        examples["reasons"] = {"instances": [model.record], "parameters": {"reasons": DEFAULT_REASONS}}
    return examples


def explain_examples(model: Described) -> dict[str, Any]:
    """Give bodies for ``:explain`` that work as they are, by name; none where answers cannot be explained."""
    return {"named": {"instances": [model.record]}} if model.explains else {}


def v2_examples(model: Described) -> dict[str, Any]:
    """Give JSON bodies for ``/infer`` that work as they are, by name."""
    columns = [_column(feature, value) for feature, value in zip(model.contract.features, model.row, strict=True)]
    examples: dict[str, Any] = {}
    if model.contract.is_numeric:
        examples["matrix"] = {"id": "order-1", "inputs": [_matrix(model)]}
    examples["columns"] = {"id": "order-1", "inputs": columns}
    if model.explains:
        first = next(iter(examples.values()))
        examples["outputs"] = {**first, "outputs": [{"name": _main_output(model)}, {"name": "reasons"}]}
    return examples


def _main_output(model: Described) -> str:
    return "value" if model.contract.output.task == "regression" else "label"


def _matrix(model: Described) -> dict[str, Any]:
    data = [None if value is None else float(value) for value in model.row]
    return {"name": MATRIX_INPUT, "datatype": "FP64", "shape": [1, len(data)], "data": data}


def _column(feature: Feature, value: Any) -> dict[str, Any]:
    datatype = column_datatype(feature)
    if value is not None and datatype in _CASTS:
        value = _CASTS[datatype](value)
    return {"name": feature.name, "datatype": datatype, "shape": [1], "data": [value]}


_CASTS = {"FP64": float, "INT64": int, "BOOL": bool}
