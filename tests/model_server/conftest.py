"""Bundles and running servers that many tests of the edge share; nobody reloads or unloads them."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest

from model_server.serving.loaded import LoadedBundle, Wanted, build
from tests.model_server.edge import bundles
from tests.model_server.edge.facade_bundles import WRITERS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.model_server.edge.bundles import LiveServer


@pytest.fixture(scope="session")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the bundles linear, risk, people and waiting, each in version 1.0.0; read only."""
    root = tmp_path_factory.mktemp("bundles")
    for write in (bundles.write_linear, bundles.write_risk, bundles.write_people, bundles.write_waiting):
        write(root / write.__name__.removeprefix("write_") / "1.0.0")
    return root


def served(root: Path, name: str) -> LoadedBundle:
    """Open a bundle all the way, as the repository does."""
    return build(Wanted(str(root / name / "1.0.0")))


@pytest.fixture(scope="session")
def linear(written: Path) -> LoadedBundle:
    """A regression of three numbers."""
    return served(written, "linear")


@pytest.fixture(scope="session")
def risk(written: Path) -> LoadedBundle:
    """A classification of three numbers into 0 and 1, with tiers."""
    return served(written, "risk")


@pytest.fixture(scope="session")
def people(written: Path) -> LoadedBundle:
    """A classification of mixed columns into three words."""
    return served(written, "people")


@pytest.fixture(scope="module")
def slow(written: Path) -> Iterator[LiveServer]:
    """A server of the model that waits as long as a request says."""
    with bundles.serving(written / "waiting" / "1.0.0") as running:
        yield running


@pytest.fixture(scope="session")
def facade(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], LiveServer]]:
    """Serve a bundle of ``facade_bundles`` by its name; each is trained and served once."""
    running: dict[str, LiveServer] = {}
    with contextlib.ExitStack() as stack:

        def serve(name: str) -> LiveServer:
            if name not in running:
                directory = tmp_path_factory.mktemp("facade") / name
                WRITERS[name](directory)
                running[name] = stack.enter_context(bundles.serving(directory, "--log_level=ERROR"))
            return running[name]

        yield serve
