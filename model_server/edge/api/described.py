"""What the API pages say of the served model: taken from the bundle once, so that the pages need no server."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from model_server.edge.api.contract import example_row
from model_server.errors import NotSupported

if TYPE_CHECKING:
    from model_server.contract import Contract
    from model_server.manifest import Manifest
    from model_server.serving.loaded import LoadedBundle


@dataclass(frozen=True, slots=True)
class Described:
    """A served model, as its documentation sees it.

    Attributes:
        name: Name on the routes.
        manifest: Manifest of the bundle.
        row: A row that the model takes, in contract order.
        explains: Whether its answers can be explained.
        bare: Whether v1 predictions are bare labels or values.
    """

    name: str
    manifest: Manifest
    row: tuple[Any, ...]
    explains: bool
    bare: bool = False

    @property
    def contract(self) -> Contract:
        """Contract of the bundle."""
        return self.manifest.contract

    @property
    def record(self) -> dict[str, Any]:
        """The example row as named values."""
        return dict(zip(self.contract.names, self.row, strict=True))

    @property
    def title(self) -> str:
        """Title of the pages."""
        return self.manifest.serving.title or self.name


def described(loaded: LoadedBundle, *, bare: bool) -> Described:
    """Describe a served bundle; this builds its explainer, if it has one.

    Args:
        loaded: What is loaded.
        bare: Whether v1 predictions are bare labels or values.
    """
    row = example_row(loaded.contract, loaded.predictor.bundle.golden.rows[0])
    try:
        loaded.explainer()
    except NotSupported:
        return Described(loaded.name, loaded.manifest, tuple(row), explains=False, bare=bare)
    return Described(loaded.name, loaded.manifest, tuple(row), explains=True, bare=bare)
