"""The OpenAPI documents that clients were promised; run as a module, it writes today's in their place.

``python -m tests.model_server.edge.api.published`` refuses to write what breaks clients; ``--breaking`` writes it
anyway, which is for a new prefix or a new major version.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from model_server.edge.api.described import Described
from model_server.edge.api.openapi import document
from tests.bundles.catalogue import CATALOGUE, CUSTOMER, FLOWER, MASS
from tests.model_server.edge.api.breaking import breaks
from tests.model_server.published import read, without, write

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
    return without(_WORDS, whole)


def published(name: str) -> Any:
    """Read the document that was published."""
    return read(FOLDER, name)


def main(argv: list[str]) -> int:
    """Write today's documents.

    Returns:
        1 when they break clients and that was not asked for, else 0.
    """
    for name in MODELS:
        broken = breaks(published(name), today(name)) if FOLDER.joinpath(f"{name}.json").exists() else []
        if broken and "--breaking" not in argv:
            print("\n".join(broken), file=sys.stderr)  # noqa: T201 - a command
            return 1
        write(FOLDER, name, today(name))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
