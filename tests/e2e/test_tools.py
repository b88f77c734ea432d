"""The make targets of a deployment, as a person would use them one after the other, in Knative mode."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.checkout import ROOT
from tests.e2e.releases import NEW, OLD
from tools.clients import ask_kubectl
from tools.programs import ProgramError, run

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.e2e

NAMESPACE = "e2e-targets"


@pytest.fixture(scope="module")
def variables(cluster: str, image: str, trained: Path) -> Iterator[dict[str, str]]:
    """What every target is told."""
    assert cluster
    yield {"MODEL": "iris", "REGISTRY": str(trained), "NAMESPACE": NAMESPACE, "IMAGE": image}
    ask_kubectl("delete", "namespace", NAMESPACE, "--wait=false", "--ignore-not-found")


def make(target: str, variables: dict[str, str], **further: str) -> str:
    """Run a make target and give what it printed."""
    words = [f"{name}={value}" for name, value in {**variables, **further}.items()]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("MAKE")}
    return run(["make", "-C", ROOT, "--no-print-directory", target, *words], environment=environment)


def test_the_targets_take_a_bundle_from_nothing_to_production_and_back(variables: dict[str, str]) -> None:
    """deploy, smoke, canary with a new version, rollback, canary, promote: each says what it did."""
    deployed = make("deploy", variables, MODE="knative", VERSION=OLD)
    asked = make("smoke", variables, VERSION=OLD)
    shared = make("canary", variables, PERCENT="10", VERSION=NEW)
    back = make("rollback", variables)
    again = make("canary", variables, PERCENT="50")
    promoted = make("promote", variables)
    served = make("smoke", variables, VERSION=NEW)

    assert f"iris {OLD} is ready in {NAMESPACE}, knative mode" in deployed
    assert asked.count("ok   ") == 5
    assert sorted(line.split()[1] for line in shared.splitlines() if "%" in line) == ["10", "90"]
    assert [line.split()[1] for line in back.splitlines() if "100 %" in line] == ["100"]
    assert again.count(" 50 %") == 2
    assert "100 % iris-predictor-00002" in promoted
    assert f"version {NEW} is served" in served


def test_a_broken_release_fails_the_command_and_the_old_one_serves_on(variables: dict[str, str], broken: Path) -> None:
    """`make deploy` of a bundle that was changed: it ends with an error that says so, and a smoke test passes still."""
    make("deploy", variables, MODE="knative", VERSION=OLD)
    with pytest.raises(ProgramError, match="InferenceService iris: not so after 30 s"):
        make(
            "deploy", variables | {"REGISTRY": str(broken.parent.parent)}, MODE="knative", VERSION="1.2.0", TIMEOUT="30"
        )
    served = make("smoke", variables, VERSION=OLD)

    assert f"version {OLD} is served" in served


def test_a_share_that_is_none_is_refused(variables: dict[str, str]) -> None:
    """The text says what to give instead."""
    with pytest.raises(ProgramError, match="give a share from 0 to 100, such as PERCENT=10"):
        make("canary", variables)
