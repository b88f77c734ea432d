"""Contract -> JSON Schema of the rows a model takes and the answers it gives, and an example row."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from model_server.columns import EXACT_INT, LARGEST_FLOAT
from model_server.errors import ContractError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from model_server.contract import Contract, Feature, Output

Schema = dict[str, Any]

TEXT: Schema = {"type": "string"}
PROBABILITY: Schema = {"type": "number", "minimum": 0, "maximum": 1}

_TYPES = {"float": "number", "int": "integer", "bool": "boolean", "string": "string"}
_LARGEST = {"float": LARGEST_FLOAT, "int": EXACT_INT}


def ref(name: str) -> Schema:
    """Refer to a schema of the document."""
    return {"$ref": f"#/components/schemas/{name}"}


def closed(properties: Schema, *, optional: Sequence[str] = (), description: str = "") -> Schema:
    """Describe an object that has no other keys."""
    required = [name for name in properties if name not in optional]
    text = {"description": description} if description else {}
    return {"type": "object", **text, "properties": properties, "required": required, "additionalProperties": False}


def feature_schema(feature: Feature) -> Schema:
    """Describe the values of a feature: type, bounds that are enforced, categories, unit and example."""
    schema: Schema = {"type": _TYPES[feature.dtype]}
    if feature.nullable:
        schema["type"] = [schema["type"], "null"]
    if feature.categories is not None:
        schema["enum"] = [*feature.categories, *([None] if feature.nullable else [])]
    schema |= _bounds(feature)
    text = feature.description + (f" ({feature.unit})" if feature.unit else "")
    if text:
        schema["description"] = text.strip()
    if feature.example is not None:
        schema["examples"] = [feature.example]
    return schema


def _bounds(feature: Feature) -> Schema:
    if feature.dtype not in _LARGEST:
        return {}
    largest = _LARGEST[feature.dtype]
    low, high = feature.bounds if feature.out_of_bounds == "reject" else (-largest, largest)
    return {"minimum": max(low, -largest), "maximum": min(high, largest)}


def record_schema(contract: Contract) -> Schema:
    """Describe a row of named values."""
    properties = {feature.name: feature_schema(feature) for feature in contract.features}
    return closed(properties, description="The values of one row by feature name, in any order.")


def vector_schema(contract: Contract) -> Schema:
    """Describe a row as a list in contract order."""
    count = len(contract.names)
    return {
        "type": "array",
        "description": "The values of one row in the order of the contract.",
        "prefixItems": [{"title": feature.name, **feature_schema(feature)} for feature in contract.features],
        "items": False,
        "minItems": count,
        "maxItems": count,
    }


def example_row(contract: Contract, fallback: Sequence[Any]) -> list[Any]:
    """Give a row that the model takes: the examples of its features, or else one that it is known to take."""
    row = [feature.example for feature in contract.features]
    try:
        contract.frame([row])
    except ContractError:
        return list(fallback)
    return row


def answer_properties(output: Output, tier: str, key_of: Callable[[int | str], str]) -> Schema:
    """Describe the parts of an answer for one row: label and probabilities or value, and the tier where there are any.

    Args:
        output: The output of the contract.
        tier: Key of the tier.
        key_of: Names the probability of a class.
    """
    properties: Schema = {}
    if output.task == "regression":
        properties["value"] = {"type": "number", "description": f"{output.target} {output.unit}".strip()}
    else:
        properties["label"] = {"enum": list(output.classes), "description": classes_text(output)}
        if output.probabilities:
            keys = {key_of(label): PROBABILITY for label in output.classes}
            properties["probabilities"] = closed(keys, description="Probability of each class.")
    if output.tiers:
        properties[tier] = tier_schema(output)
    return properties


def classes_text(output: Output) -> str:
    """Say what each label means, in words."""
    names = zip(output.classes, output.class_names, strict=False)
    return (
        f"{output.target}: " + ", ".join(f"{label} = {name}" for label, name in names)
        if output.class_names
        else output.target
    )


def tier_schema(output: Output) -> Schema:
    """Describe the tier: its words, and from which unrounded number on each of them holds."""
    bounds = "; ".join(f"{tier.name} from {tier.at_least:g}" for tier in output.tiers)
    return {"type": "string", "enum": [tier.name for tier in output.tiers], "description": f"{bounds}."}
