"""Bundles and running servers that many tests of the edge share; nobody reloads or unloads them."""

from __future__ import annotations

import contextlib
import logging
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from model_server.serving.loaded import LoadedBundle, Wanted, build
from model_server.telemetry.logs import JsonFormatter
from tests.bundles import catalogue
from tests.bundles.estimators import HELD_UNTIL
from tests.bundles.fixtures import written
from tests.bundles.live_server import serving
from tests.shared_folder import made_once

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.bundles.live_server import LiveServer

__all__ = ["written"]


def load(root: Path, name: str) -> LoadedBundle:
    """Open a bundle all the way, as the repository does."""
    return build(Wanted(str(root / name / "1.0.0")))


@pytest.fixture(scope="session")
def linear(written: Path) -> LoadedBundle:
    """A regression of three numbers."""
    return load(written, "linear")


@pytest.fixture(scope="session")
def risk(written: Path) -> LoadedBundle:
    """A classification of three numbers into 0 and 1, with tiers."""
    return load(written, "risk")


@pytest.fixture(scope="session")
def people(written: Path) -> LoadedBundle:
    """A classification of mixed columns into three words."""
    return load(written, "people")


@pytest.fixture(scope="module")
def slow(written: Path) -> Iterator[LiveServer]:
    """A server of the model that waits as long as a request says."""
    with serving(written / "waiting" / "1.0.0") as running:
        yield running


@pytest.fixture(scope="session")
def facade(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], LiveServer]]:
    """Serve a bundle of the catalogue by its name; each is trained once, and served once in each process."""
    running: dict[str, LiveServer] = {}
    with contextlib.ExitStack() as stack:

        def serve(name: str) -> LiveServer:
            if name not in running:
                write = partial(catalogue.write, name)
                directory = made_once(tmp_path_factory, f"facade-{name}", lambda folder: write(folder / name)) / name
                running[name] = stack.enter_context(serving(directory, "--log_level=ERROR"))
            return running[name]

        yield serve


@pytest.fixture
def release(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], None]]:
    """Hold whatever ``Held`` bundle is opened during the test, until this is called or the test ends."""
    until = tmp_path / "released"
    monkeypatch.setenv(HELD_UNTIL, str(until))
    yield until.touch
    until.touch()


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    """Eight clients at once."""
    with ThreadPoolExecutor(8) as clients:
        yield clients


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Any:
    """Give a function that reads the log so far, as it would be written."""
    caplog.set_level(logging.INFO)

    def read(message: str = "request") -> list[dict[str, Any]]:
        written = [orjson.loads(JsonFormatter().format(record)) for record in caplog.records]
        return [line for line in written if line["message"] == message]

    return read
