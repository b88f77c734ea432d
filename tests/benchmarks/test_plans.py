"""Plans: every contestant is asked something, and every cell is spoken by somebody."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from benchmarks import environments, payloads, plans
from benchmarks.contestants import FULL, KSERVE, MLSERVER_BATCHING, OURS, Contestant, Ports, Served
from benchmarks.running import Running
from tools import locks

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.plans import Part

PARTS = [("quick", plans.quick("breast-cancer").parts[0]), *((part.model, part) for part in plans.full().parts)]


@pytest.mark.parametrize("part", [part for _, part in PARTS], ids=[name for name, _ in PARTS])
def test_everybody_is_asked_and_everything_is_spoken(part: Part) -> None:
    """And ours is asked whatever a peer is, so that there is something to compare."""
    spoken = {one.name: {*one.rows, *one.objects} for one in part.contestants}
    asked = {cell.protocol for cell in part.cells}

    assert asked <= set().union(*spoken.values())
    assert [name for name, protocols in spoken.items() if not protocols & asked] == []
    assert spoken["ours"] >= spoken["kserve"]


def test_every_protocol_can_be_written() -> None:
    """Rows of numbers and of mixed columns have a body in each of them."""
    numbers = payloads.Table("x", ("a", "b"), ("FP64",) * 2, [[1.0, 2.0]])
    mixed = payloads.Table("x", ("a", "b"), ("FP64", "BYTES"), [[1.0, "yes"]])

    for contestant in FULL:
        for table in (numbers, mixed):
            for protocol in contestant.protocols(numeric=table.is_numeric):
                assert len(payloads.write(protocol, table, table.rows * 3)) > 20


def test_what_a_peer_lacks_has_its_reason() -> None:
    """Whoever answers fewer protocols than ours says why."""
    for contestant in FULL:
        if contestant.name != "echo" and not {*contestant.rows, *contestant.objects} >= {*OURS.rows, *OURS.objects}:
            assert contestant.lacks


def test_the_quick_plan_needs_no_other_environment() -> None:
    """The full one has a lock for each."""
    assert {one.lock for one in plans.quick("x").parts[0].contestants} == {""}
    assert {one.lock for one in FULL if one.lock} == {*locks.BENCHED, "serve"}


def test_the_batching_of_mlserver_is_a_setting(tmp_path: Path) -> None:
    """It stands beside the settings that both servers have."""
    served = Served(tmp_path, "x", tmp_path)

    words = MLSERVER_BATCHING.command(served, Ports(1, 2), tmp_path)

    assert words[-1] == str(tmp_path)
    assert '"max_batch_size": 64' in tmp_path.joinpath("model-settings.json").read_text()
    assert '"grpc_port": 2' in tmp_path.joinpath("settings.json").read_text()


def test_an_environment_that_is_not_there_says_how_to_make_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It is said before anything is started, not after minutes of measuring."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))

    with pytest.raises(SystemExit, match="make bench-environments"):
        environments.python(KSERVE.lock)
    assert environments.cache(os.environ) == tmp_path / "model-server" / "bench"


def test_an_environment_tells_its_versions() -> None:
    """Those of the packages that are asked for."""
    import numpy as np

    assert environments.versions(environments.python(""), ("numpy",)) == {"numpy": np.__version__}


def test_a_contestant_that_does_not_come_up_says_why(tmp_path: Path) -> None:
    """The error holds the end of what it wrote."""
    broken = Contestant("broken", lambda _, __, ___: ["-c", "raise SystemExit('no model')"], ("v1",), (), "/", "/")

    with pytest.raises(SystemExit, match="broken did not come up:\nno model"):
        Running(broken, Served(tmp_path, "x", tmp_path), min(os.sched_getaffinity(0)), tmp_path)
