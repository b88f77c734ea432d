"""The published JSON schemas of what stands in a bundle; run as a module, it writes them anew."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from model_server.contract import Contract
from model_server.manifest import Manifest
from model_server.parity.record import Parity

if TYPE_CHECKING:
    from pydantic import BaseModel

FOLDER = Path(__file__).parent / "snapshots"
MODELS: dict[str, type[BaseModel]] = {"contract": Contract, "manifest": Manifest, "parity": Parity}


def schema(name: str) -> Any:
    """Give the schema of today without descriptions: their words may change freely."""
    return _without_descriptions(MODELS[name].model_json_schema())


def _without_descriptions(part: Any) -> Any:
    if isinstance(part, list):
        return [_without_descriptions(item) for item in part]
    if not isinstance(part, dict):
        return part
    return {key: _without_descriptions(v) for key, v in part.items() if key != "description" or not isinstance(v, str)}


def published(name: str) -> Any:
    """Read the schema that was published."""
    return json.loads(FOLDER.joinpath(f"{name}.json").read_text("utf-8"))


if __name__ == "__main__":
    for model in MODELS:
        text = json.dumps(schema(model), indent=2, sort_keys=True)
        FOLDER.joinpath(f"{model}.json").write_text(f"{text}\n", "utf-8")
