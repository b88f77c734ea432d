"""How much there is to read on the way of a request: a limit, so that the way stays one that a stranger can follow."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.model_server.edge.request_path import REQUESTS, Size, Step, size_of, ways

if TYPE_CHECKING:
    from pathlib import Path

#: For one row of v1, in the rooms edge, wire and serving; the other protocols may have a third more.
FILES, LINES = 10, 500


@pytest.fixture(scope="module")
def walked(registry: Path) -> dict[str, list[Step]]:
    """The ways of all requests."""
    return ways(registry)


@pytest.mark.parametrize("name", REQUESTS)
def test_a_way_is_short_enough_to_be_read(walked: dict[str, list[Step]], name: str) -> None:
    """What a request passes is found in few files; whoever adds one takes another away."""
    share = 1 if name == "v1, one row" else 4 / 3

    size = size_of([step for step in walked[name] if step.is_in_rooms])

    assert size.files <= FILES * share, size
    assert size.lines <= LINES * share, size


@pytest.mark.parametrize("name", REQUESTS)
def test_a_way_is_seen_whole(walked: dict[str, list[Step]], name: str) -> None:
    """A count that misses the ends of a way would pass whatever it is."""
    seen = {step.name for step in walked[name]}

    assert {"Accounting.begin", "Service.submit", "BatchRunner.run", "Result", "Accounting.finish"} <= seen


def test_sizes_add_up() -> None:
    """A file counts once, a step with all its lines."""
    assert size_of([Step("a.py", "f", 3), Step("b.py", "g", 4), Step("a.py", "h", 1)]) == Size(2, 3, 8)
