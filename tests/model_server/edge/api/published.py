"""The OpenAPI documents that clients were promised; run as a module, it writes today's in their place.

``python -m tests.model_server.edge.api.published`` refuses to write what breaks clients; ``--breaking`` writes it
anyway, which is for a new prefix or a new major version.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from model_server.edge.api.described import Described
from model_server.edge.api.openapi import document
from tests.bundles.catalogue import CATALOGUE, CUSTOMER, FLOWER, MASS
from tests.model_server.edge.api.breaking import breaks

FOLDER = Path(__file__).parent / "snapshots"

MODELS: dict[str, Described] = {
    "vector": Described("cells", CATALOGUE["cells"].manifest, tuple(MASS), explains=True),
    "risk": Described("churn", CATALOGUE["churn"].manifest, tuple(CUSTOMER.values()), explains=True),
    "classes": Described("flowers", CATALOGUE["flowers"].manifest, tuple(FLOWER.values()), explains=True),
    "value": Described("costs", CATALOGUE["costs"].manifest, (80.0, 2, False), explains=True),
}
_WORDS = {"description", "summary", "title", "examples"}


def today(name: str) -> Any:
    """Give today's document without what may change freely: words, examples and the server's version."""
    whole = document(MODELS[name])
    del whole["info"], whole["tags"]
    return _without_words(whole)


def _without_words(part: Any) -> Any:
    if isinstance(part, list):
        return [_without_words(item) for item in part]
    if not isinstance(part, dict):
        return part
    kept = {key: value for key, value in part.items() if key not in _WORDS or _is_property(value)}
    return {key: _without_words(value) for key, value in kept.items()}


def _is_property(value: Any) -> bool:
    # A property may be called description or title; then its value is a schema, not words or a table of examples.
    return isinstance(value, dict) and ("type" in value or "$ref" in value)


def published(name: str) -> Any:
    """Read the document that was published."""
    return json.loads(FOLDER.joinpath(f"{name}.json").read_text("utf-8"))


def main(argv: list[str]) -> int:
    """Write today's documents.

    Returns:
        1 when they break clients and that was not asked for, else 0.
    """
    for name in MODELS:
        path = FOLDER / f"{name}.json"
        broken = breaks(published(name), today(name)) if path.exists() else []
        if broken and "--breaking" not in argv:
            print("\n".join(broken), file=sys.stderr)  # noqa: T201 - a command
            return 1
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(today(name), indent=1, sort_keys=True) + "\n", "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
