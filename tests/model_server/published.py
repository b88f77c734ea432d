"""Documents that others were promised, one file each; run as a module, it writes the schemas of what is in a bundle.

The OpenAPI documents are kept in the same way: ``tests.model_server.edge.api.published`` writes them.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from model_server.contract import Contract
from model_server.manifest import Manifest
from model_server.parity.record import Parity

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

    from pydantic import BaseModel

FOLDER = Path(__file__).parent / "snapshots"
MODELS: dict[str, type[BaseModel]] = {"contract": Contract, "manifest": Manifest, "parity": Parity}


def read(folder: Path, name: str) -> Any:
    """Read a document that was published."""
    return json.loads(folder.joinpath(f"{name}.json").read_text("utf-8"))


def write(folder: Path, name: str, document: Any) -> None:
    """Publish a document in the place of the last one."""
    folder.mkdir(exist_ok=True)
    folder.joinpath(f"{name}.json").write_text(json.dumps(document, indent=1, sort_keys=True) + "\n", "utf-8")


def without(words: AbstractSet[str], part: Any) -> Any:
    """Leave out of a schema what may change freely: the values of such keys, wherever they are no property's name."""
    if isinstance(part, list):
        return [without(words, item) for item in part]
    if not isinstance(part, dict):
        return part
    kept = {key: value for key, value in part.items() if key not in words or _is_property(value)}
    return {key: without(words, value) for key, value in kept.items()}


def _is_property(value: Any) -> bool:
    # A property may be called description or title; then its value is a schema, not words or a table of examples.
    return isinstance(value, dict) and not value.keys().isdisjoint({"type", "$ref", "anyOf"})


def schema(name: str) -> Any:
    """Give today's schema without descriptions."""
    return without({"description"}, MODELS[name].model_json_schema())


def published(name: str) -> Any:
    """Read the schema that was published."""
    return read(FOLDER, name)


if __name__ == "__main__":
    for model in MODELS:
        write(FOLDER, model, schema(model))
