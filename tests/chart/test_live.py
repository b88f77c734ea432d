"""The commands of the notes and the checks of helm test, against the server as it runs."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
import urllib.request
from typing import TYPE_CHECKING

import pytest

from tests.chart.rendering import CHART, ROOT, run_helm, template
from tests.conformance.target import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CHECK = CHART / "files" / "check.py"


@pytest.fixture(scope="module")
def url(registry: Path) -> Iterator[str]:
    """Serve churn with the flags that the chart gives the container."""
    port = free_port()
    rendered = template("helm4", "standard", {"server": {"httpPort": port, "grpcPort": free_port()}}).stdout
    args = [arg for arg in re.findall(r"^ +- (--\S+)$", rendered, re.MULTILINE) if not arg.startswith("--model_dir")]
    command = [sys.executable, "-m", "model_server", *args, f"--model_dir={registry}", "--http_host=127.0.0.1"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    server = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL)
    try:
        assert len(args) == 13
        wait_until_ready(f"http://127.0.0.1:{port}/v2/models/churn/ready", server)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(timeout=60)


def wait_until_ready(address: str, server: subprocess.Popen[bytes]) -> None:
    """Ask the probes' path until it answers 200."""
    for _ in range(600):
        assert server.poll() is None, "the server ended"
        try:
            with urllib.request.urlopen(address, timeout=5):  # noqa: S310 - our own server
                return
        except OSError:
            time.sleep(0.1)
    pytest.fail("the server is not ready after a minute")


def check(url: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the script of the test pod."""
    environment = {**os.environ, "BASE_URL": url, "MODEL_NAME": "churn", "DEADLINE_S": "1", **variables}
    command = [sys.executable, str(CHECK)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def golden(registry: Path) -> dict[str, object]:
    """Read the golden rows of the served bundle."""
    found: dict[str, object] = json.loads(registry.joinpath("churn/1.0.0/golden.json").read_text("utf-8"))
    return found


def test_the_test_pod_passes_on_a_right_server(url: str, registry: Path) -> None:
    """Ready, v1 equals v2, and both give the golden answers."""
    done = check(url, GOLDEN=json.dumps(golden(registry)))

    assert done.returncode == 0, done.stderr
    assert [line[:4] for line in done.stdout.splitlines()] == ["ok  "] * 4


def test_the_test_pod_says_when_it_has_no_golden_rows(url: str) -> None:
    """Then it asks the example that the server gives, and compares v1 with v2."""
    done = check(url)

    assert done.returncode == 0, done.stderr
    assert "note no golden rows here" in done.stdout


def test_the_test_pod_fails_on_other_answers(url: str, registry: Path) -> None:
    """Another label and a probability that is off by more than the tolerance."""
    for name, wrong in (("label", lambda value: 1 - value), ("probabilities", lambda pair: [pair[0] + 1e-6, pair[1]])):
        rows = golden(registry)
        outputs = rows["outputs"]
        assert isinstance(outputs, dict)
        outputs[name][0] = wrong(outputs[name][0])
        done = check(url, GOLDEN=json.dumps(rows))

        assert done.returncode == 1
        assert f"FAIL v1 gives the golden answers: differ in {name}" in done.stderr


@pytest.mark.parametrize("what", ["nobody listens", "no such model"])
def test_the_test_pod_fails_when_the_model_is_not_ready(url: str, what: str) -> None:
    """Both end it within the deadline, with the address in the text."""
    address = f"http://127.0.0.1:{free_port()}" if what == "nobody listens" else url
    done = check(address, MODEL_NAME="churn" if what == "nobody listens" else "other")

    assert done.returncode == 1
    assert "not ready: http://127.0.0.1" in done.stderr


def test_the_commands_of_the_notes_work(url: str) -> None:
    """v1, v2 and metadata, exactly as printed, with the address filled in."""
    done = run_helm(
        "helm4", "install", "churn", CHART, "-n", "models", "-f", CHART / "ci" / "standard.yaml", "--dry-run=client"
    )
    lines = [line.strip() for line in done.stdout.partition("NOTES:")[2].splitlines()]
    commands = [line for line in lines if line.startswith(("EXAMPLE=", "curl "))]
    script = "\n".join([f"URL={url}", *(f"{line}; echo" for line in commands)])
    ran = subprocess.run(["bash", "-euc", script], capture_output=True, text=True, check=True)
    v1, v2, metadata = (json.loads(line) for line in ran.stdout.splitlines() if line)

    assert len(commands) == 4
    assert v1["predictions"][0]["label"] in (0, 1)
    assert {output["name"] for output in v2["outputs"]} >= {"label", "probabilities"}
    assert metadata["name"] == "churn"
