"""Programs: knows how to run one and to fail with its own words; knows nothing of what they do."""

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path


class ClusterError(Exception):
    """The cluster cannot be made or reached here; the text says what to do."""


def run(
    command: Sequence[str | Path],
    *,
    given: bytes | None = None,
    environment: Mapping[str, str] | None = None,
    timeout_s: float = 900.0,
) -> str:
    """Run a program to its end.

    Args:
        command: The program and its words.
        given: What it reads from standard input; nothing by default.
        environment: All its variables; this process's own by default.
        timeout_s: When it is ended, in seconds.

    Returns:
        What it printed.

    Raises:
        ClusterError: There is no such program, it failed, or it took too long.
    """
    words = [str(word) for word in command]
    shown = " ".join(words)[:160]
    try:
        done = subprocess.run(
            words, input=given or b"", capture_output=True, env=environment, timeout=timeout_s, check=False
        )
    except FileNotFoundError as error:
        raise ClusterError(f"{words[0]} is not installed here") from error
    except subprocess.TimeoutExpired as error:
        raise ClusterError(f"`{shown}` took more than {timeout_s:.0f} s and was ended") from error
    if done.returncode:
        said = (done.stderr or done.stdout).decode(errors="replace").strip()
        raise ClusterError(f"`{shown}` failed with {done.returncode}:\n{said[-4000:]}")
    return done.stdout.decode(errors="replace")


def succeeds(command: Sequence[str | Path], *, timeout_s: float = 60.0) -> bool:
    """Say whether a program runs and ends well."""
    try:
        run(command, timeout_s=timeout_s)
    except ClusterError:
        return False
    return True
