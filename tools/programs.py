"""Programs: knows how to run one and to fail with its own words; knows nothing of what they do."""

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

Words = Sequence[str | Path]


class ProgramError(Exception):
    """A program is not here, failed or took too long; the text names it and gives its own words.

    Attributes:
        said: Those words alone; empty where it had none.
    """

    def __init__(self, text: str, said: str = "") -> None:
        super().__init__(text)
        self.said = said


def run(
    command: Words,
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
        ProgramError: There is no such program, it failed, or it took too long.
    """
    return output(command, given=given, environment=environment, timeout_s=timeout_s).decode(errors="replace")


def output(
    command: Words,
    *,
    given: bytes | None = None,
    environment: Mapping[str, str] | None = None,
    timeout_s: float = 900.0,
) -> bytes:
    """Run a program to its end and give what it printed byte for byte; everything else is as `run` has it."""
    words = [str(word) for word in command]
    shown = " ".join(words)[:160]
    try:
        done = subprocess.run(
            words, input=given or b"", capture_output=True, env=environment, timeout=timeout_s, check=False
        )
    except FileNotFoundError as error:
        raise ProgramError(f"{words[0]} is not installed here") from error
    except subprocess.TimeoutExpired as error:
        raise ProgramError(f"`{shown}` took more than {timeout_s:.0f} s and was ended") from error
    if done.returncode:
        said = (done.stderr or done.stdout).decode(errors="replace").strip()[-4000:]
        raise ProgramError(f"`{shown}` failed with {done.returncode}:\n{said}", said)
    return done.stdout


def succeeds(command: Words, *, timeout_s: float = 60.0) -> bool:
    """Say whether a program runs and ends well."""
    try:
        run(command, timeout_s=timeout_s)
    except ProgramError:
        return False
    return True
