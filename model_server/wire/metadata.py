"""Model metadata of the v2 protocol, from a contract: names, datatypes and shapes; -1 is the batch dimension."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from model_server.serving.call import available_outputs
from model_server.wire.outputs import label_datatype

if TYPE_CHECKING:
    from model_server.contract import Contract, Feature

_DATATYPES = {"float": "FP64", "int": "INT64", "bool": "BOOL", "string": "BYTES"}

#: Name of the one input that a model without string features shows; any name is accepted for it.
MATRIX_INPUT = "features"


def inputs_of(contract: Contract) -> list[dict[str, Any]]:
    """Describe the inputs: one matrix for a numeric model, else one input a feature."""
    if contract.is_numeric:
        return [{"name": MATRIX_INPUT, "datatype": "FP64", "shape": [-1, len(contract.names)]}]
    return [
        {"name": feature.name, "datatype": column_datatype(feature), "shape": [-1]} for feature in contract.features
    ]


def column_datatype(feature: Feature) -> str:
    """Datatype that holds every value of a feature."""
    # NaN is how binary data says "missing", and only floating point has one.
    return "FP64" if feature.nullable and feature.dtype != "string" else _DATATYPES[feature.dtype]


def outputs_of(contract: Contract) -> list[dict[str, Any]]:
    """Describe the outputs that are answered when none is requested."""
    known = {
        "label": (label_datatype(contract), [-1]),
        "probabilities": ("FP64", [-1, len(contract.output.classes)]),
        "value": ("FP64", [-1]),
        "tier": ("BYTES", [-1]),
    }
    names = available_outputs(contract)
    return [{"name": name, "datatype": known[name][0], "shape": known[name][1]} for name in names]


def model_metadata(name: str, version: str, contract: Contract) -> dict[str, Any]:
    """Describe a served model."""
    return {
        "name": name,
        "versions": [version],
        "platform": "sklearn",
        "inputs": inputs_of(contract),
        "outputs": outputs_of(contract),
    }


SERVER_NAME = "model-server"
EXTENSIONS = ["binary_tensor_data", "model_repository"]
