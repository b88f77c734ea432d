"""The runtime of machines that may not raise limits: what it changes before runc reads it, and what it does not."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parent.parent.parent / ".ci" / "bounded-runc"
PROCESS = {
    "args": ["sh"],
    "oomScoreAdj": -999,
    "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 10, "soft": 10}],
    "capabilities": {name: ["CAP_SYS_ADMIN", "CAP_SYS_RESOURCE"] for name in ("bounding", "effective", "permitted")},
}
BOUND = {
    "args": ["sh"],
    "oomScoreAdj": 0,
    "rlimits": [],
    "capabilities": {name: ["CAP_SYS_ADMIN"] for name in ("bounding", "effective", "permitted")},
}


def started(tmp_path: Path, *words: str) -> str:
    """Run a copy of the script whose runc only says what it was given."""
    runc = tmp_path / "runc"
    runc.write_text('#!/bin/sh\necho "$@"\n', "utf-8")
    runc.chmod(0o755)
    script = tmp_path / "script"
    script.write_text(SCRIPT.read_text("utf-8").replace("/usr/sbin/runc", str(runc)), "utf-8")
    script.chmod(0o755)
    return subprocess.run(
        ["python3", "-IS", str(script), *words], capture_output=True, text=True, check=True
    ).stdout.strip()


def test_a_container_is_made_without_what_the_kernel_would_refuse(tmp_path: Path) -> None:
    """The capability goes, the score is raised to 0, the limits stay as they are; other settings are kept."""
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"hostname": "here", "process": PROCESS}), "utf-8")
    said = started(tmp_path, "--root", "/run/x", "create", "--bundle", str(tmp_path), "name")

    assert json.loads(config.read_text("utf-8")) == {"hostname": "here", "process": BOUND}
    assert said == f"--root /run/x create --bundle {tmp_path} name"


@pytest.mark.parametrize("form", ["two words", "one word"])
def test_a_command_in_a_container_is_bound_too(tmp_path: Path, form: str) -> None:
    """Docker gives the process in a file of its own."""
    file = tmp_path / "process.json"
    file.write_text(json.dumps(PROCESS), "utf-8")
    words = ["--process", str(file)] if form == "two words" else [f"--process={file}"]
    started(tmp_path, "exec", *words, "name")

    assert json.loads(file.read_text("utf-8")) == BOUND


def test_every_other_command_goes_through(tmp_path: Path) -> None:
    """It gets the same words."""
    assert started(tmp_path, "delete", "--force", "name") == "delete --force name"
