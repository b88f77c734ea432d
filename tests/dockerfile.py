"""Reads the Dockerfile: knows its syntax, not what should stand in it."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TEXT = ROOT.joinpath("Dockerfile").read_text("utf-8")


def instructions() -> list[tuple[str, str, str]]:
    """Read the Dockerfile as (stage, instruction, rest), with continued lines joined and comments left out."""
    joined = re.sub(r"\\\n", " ", re.sub(r"^\s*#.*\n", "", TEXT, flags=re.MULTILINE))
    found, stage = [], ""
    for line in filter(None, map(str.strip, joined.splitlines())):
        word, _, rest = line.partition(" ")
        if word == "FROM":
            stage = rest.rpartition(" AS ")[2] if " AS " in rest else "default"
        found.append((stage, word, " ".join(rest.split())))
    return found


def of(stage: str, word: str) -> list[str]:
    """Give the arguments of one instruction in one stage."""
    return [rest for where, name, rest in instructions() if (where, name) == (stage, word)]


def environment() -> dict[str, str]:
    """Give the variables that the server's stage sets."""
    return dict(pair.split("=", 1) for pair in of("server", "ENV")[0].split())
