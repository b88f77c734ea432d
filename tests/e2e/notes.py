"""The notes of an installation as a person would use them: knows how to type their commands, not what they mean."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from tools.clients import helm, kubectl
from tools.programs import run

if TYPE_CHECKING:
    from pathlib import Path

#: What is started in the background ends with the shell.
START = "trap 'kill $(jobs -p) 2>/dev/null || true' EXIT"
#: What the commands print in every mode, of a release that is called noted.
PRINTED = ("noted condition met", '"predictions":', '"outputs":', "v2 gives the golden answers")


def run_notes(told: str, folder: Path, proxy: str | None = None) -> str:
    """Run every command of the notes, in their order and as they stand there.

    Args:
        told: What Helm printed, the notes at its end.
        folder: Where `kubectl` and `helm` are put, to be found by these names.
        proxy: The ingress, for what curl asks; a name in a URL needs no resolver then.

    Returns:
        What the commands printed.

    Raises:
        ProgramError: One of them failed.
    """
    lines = [line.strip() for line in told.partition("NOTES:")[2].splitlines() if line.startswith("  ")]
    assert lines, f"no commands in: {told}"
    for name, program in (("kubectl", kubectl()), ("helm", helm())):
        folder.joinpath(name).symlink_to(program)
    environment = {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"} | ({"http_proxy": proxy} if proxy else {})
    script = "\n".join([START, *(_patiently(line) for line in lines)])
    return run(["bash", "-euo", "pipefail", "-c", script], environment=environment, timeout_s=300)


def _patiently(line: str) -> str:
    # A person sees that the port is forwarded before typing the next line.
    return f"{line} sleep 3" if line.endswith("&") else line
