"""Fixtures of bundles that several folders of tests share; a conftest takes what its folder needs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.bundles import catalogue
from tests.shared_folder import made_once

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="session")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the bundles linear, risk, people and waiting, each in version 1.0.0; read only."""

    def write(root: Path) -> None:
        for name in ("linear", "risk", "people", "waiting"):
            catalogue.write(name, root / name / "1.0.0")

    return made_once(tmp_path_factory, "bundles", write)
