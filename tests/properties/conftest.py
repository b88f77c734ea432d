"""One server in this process for each example model."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.checkout import EXAMPLES
from tests.conformance import launch

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conformance.launch import Served


@pytest.fixture(scope="session", params=EXAMPLES)
def served(request: pytest.FixtureRequest, registry: Path) -> Iterator[Served]:
    """A served example model."""
    with launch.in_process(registry, request.param) as running:
        yield running
