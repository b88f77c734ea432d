"""Targets of the conformance suite: one given by options, or the example models in process and as the real command."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest

from tests.checkout import EXAMPLES
from tests.conformance import facts as facts_of
from tests.conformance import launch
from tests.conformance.launch import Served
from tests.conformance.target import Target

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conformance.facts import Facts

GIVEN = "given"
#: The same code answers in both places, so each model has one of them, and each place two unlike models.
ONCE = ["command:breast-cancer", "command:churn", "in-process:iris", "in-process:diabetes"]
EVERYWHERE = [f"{place}:{model}" for place in ("in-process", "command") for model in EXAMPLES]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test of this folder, so that it can be chosen or left out."""
    for item in items:
        if "tests/conformance/" in item.path.as_posix():
            item.add_marker("conformance")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run every case against each target."""
    if "served" in metafunc.fixturenames:
        ours = EVERYWHERE if metafunc.config.getoption("--everywhere") else ONCE
        ids = [GIVEN] if metafunc.config.getoption("--base-url") else ours
        metafunc.parametrize("served", ids, indirect=True, scope="session", ids=ids)


@pytest.fixture(scope="session")
def servers(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    """The servers that cases ask for; each is started once and stops at the end of the session."""
    with contextlib.ExitStack() as stack:
        yield Servers(stack, request, tmp_path_factory.mktemp("servers"))


class Servers:
    """Starts what is asked for the first time it is asked for."""

    def __init__(self, stack: contextlib.ExitStack, request: pytest.FixtureRequest, folder: Path) -> None:
        self._stack = stack
        self._request = request
        self._folder = folder
        self._running: dict[str, Served] = {}

    def get(self, which: str) -> Served:
        """Give the server ``PLACE:MODEL``, or the given one."""
        if which not in self._running:
            self._running[which] = self._stack.enter_context(self._start(which))
        return self._running[which]

    def _start(self, which: str) -> contextlib.AbstractContextManager[Served]:
        if which == GIVEN:
            return _given(self._request.config)
        place, model = which.split(":")
        registry: Path = self._request.getfixturevalue("registry")
        if place == "in-process":
            return launch.in_process(registry, model)
        return launch.as_command(registry, model, self._folder)


@pytest.fixture(scope="session")
def served(request: pytest.FixtureRequest, servers: Servers) -> Served:
    """One server under test, used by all cases."""
    return servers.get(request.param)


@contextlib.contextmanager
def _given(config: pytest.Config) -> Iterator[Served]:
    option = config.getoption
    target = Target(
        option("--base-url").rstrip("/"),
        option("--grpc"),
        option("--admin-token"),
        max_rows=option("--max-rows"),
        max_body_bytes=option("--max-body-bytes"),
    )
    with target:
        bundle: Path | None = option("--bundle")
        if bundle is not None:
            yield Served(target, facts_of.from_bundle(bundle))
            return
        name = option("--model") or target.client.get("/v1/models").json()["models"][0]
        yield Served(target, facts_of.from_server(target.client, name))


@pytest.fixture
def target(served: Served) -> Target:
    """The server under test."""
    return served.target


@pytest.fixture
def facts(served: Served) -> Facts:
    """What is known of the model it serves."""
    return served.facts


@pytest.fixture
def grpc_target(served: Served) -> Target:
    """The server under test, when it serves gRPC."""
    if served.target.grpc_address is None:
        pytest.skip("no gRPC address given (--grpc)")
    return served.target


@pytest.fixture
def golden_facts(served: Served) -> Facts:
    """What is known of the model, when its bundle was given."""
    if served.facts.golden is None:
        pytest.skip("expected answers need the bundle (--bundle)")
    return served.facts
