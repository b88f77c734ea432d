"""The servers under fire: the real command, so that it has a processor of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.conformance import launch

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conformance.launch import Served


@pytest.fixture(scope="session")
def fuzz_seed(request: pytest.FixtureRequest) -> int:
    """Seed of the generated requests; printed with every run."""
    return int(request.config.getoption("--fuzz-seed"))


@pytest.fixture(scope="session")
def fuzz_requests(request: pytest.FixtureRequest) -> int:
    """How many HTTP requests each model gets."""
    return int(request.config.getoption("--fuzz-requests"))


@pytest.fixture(scope="session", params=["breast-cancer", "churn"])
def served(
    request: pytest.FixtureRequest, registry: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    """A numeric model and a mixed one, each served by the real command."""
    with launch.as_command(registry, request.param, tmp_path_factory.mktemp("fuzz")) as running:
        yield running
