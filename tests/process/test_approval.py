"""What the real commands do with a version that is not approved: training keeps it, the server does not serve it."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.checkout import ROOT
from tests.conformance.launch import bundle_of
from tests.conformance.target import command

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conformance.target import Process


@pytest.fixture(scope="module")
def kept(registry: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A registry with iris 1.0.0 in production and 1.1.0 beside it, which failed a gate and was kept to look at."""
    folder = tmp_path_factory.mktemp("kept")
    shutil.copytree(registry / "iris", folder / "registry" / "iris")
    config = ROOT.joinpath("training", "configs", "iris.yaml").read_text("utf-8")
    strict, changed = re.subn(r"test_metrics\.f1_macro: [0-9.]+", "test_metrics.f1_macro: 1.1", config)
    assert changed == 1, "training/configs/iris.yaml has no floor to raise"
    (folder / "strict.yaml").write_text(strict, "utf-8")
    words = ["--registry", str(folder / "registry"), "--version", "1.1.0", "--keep-rejected"]
    ended = subprocess.run(
        [sys.executable, "-m", "training", "run", str(folder / "strict.yaml"), *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ended.returncode, (folder / "registry" / "iris" / "1.1.0").is_dir()) == (1, True), ended.stderr
    return folder / "registry"


def approval(process: Process) -> tuple[str, str]:
    """Give the word of /health and the word of the log."""
    process.wait_for("/ready")
    with httpx.Client(base_url=process.base_url, trust_env=False) as client:
        health = client.get("/health").json()["model"]["approval"]
    return health, next(line["approval"] for line in process.log() if line["message"] == "model loaded")


def test_a_version_whose_gates_failed_is_not_served_because_it_was_asked_for(kept: Path, folder: Path) -> None:
    """model_version alone serves it nowhere, a developer's machine included."""
    flags = ["--model_name", "iris", "--model_dir", str(kept), "--model_version", "1.1.0", "--app_env", "local"]
    with command(folder, *flags) as process:
        assert process.wait(timeout_s=60) == 1
        said = process.said()

    assert "its gates did not pass (test_metrics.f1_macro floor: FAIL)" in said
    assert "MODEL_SERVER_ALLOW_UNAPPROVED=true" in said
    assert "Traceback" not in said


def test_an_operator_who_says_so_gets_it_and_sees_what_it_is(kept: Path, folder: Path) -> None:
    """In the log, with a warning, and in /health for as long as it is served."""
    flags = ["--model_name", "iris", "--model_dir", str(kept), "--model_version", "1.1.0"]
    with command(folder, *flags, environment={"MODEL_SERVER_ALLOW_UNAPPROVED": "true"}) as process:
        words = approval(process)
        warnings = [line["message"] for line in process.log() if line["level"] == "WARNING"]

    assert words == ("gates-failed", "gates-failed")
    assert len([text for text in warnings if text.startswith("served although not approved: its gates did not")]) == 1


def test_what_is_in_production_needs_no_words(kept: Path, folder: Path) -> None:
    """The version beside it changes nothing."""
    with command(folder, "--model_name", "iris", "--model_dir", str(kept)) as process:
        assert approval(process) == ("production", "production")


def test_a_bundle_that_was_mounted_alone_is_served_and_said_to_be_unknown(
    registry: Path, folder: Path, tmp_path: Path
) -> None:
    """As KServe's storage initializer leaves it; there is no promotion to look at."""
    shutil.copytree(bundle_of(registry, "iris"), tmp_path / "models")
    with command(folder, "--model_name", "iris", "--model_dir", str(tmp_path / "models")) as process:
        assert approval(process) == ("unknown", "unknown")
