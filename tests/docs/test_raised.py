"""The errors that the pages list are the ones that the code can answer with."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from model_server import errors
from tests.docs import raised

if TYPE_CHECKING:
    from pathlib import Path

#: A small package: one entry, what it leads to by every kind of name, and what only a start leads to.
MODULES = {
    "__init__": "",
    "errors": """
class A(Exception): ...
class B(Exception): ...
class C(Exception): ...
class D(Exception): ...
class OnlyCaught(Exception): ...
class AtStart(Exception): ...
""",
    "entry": """
from __future__ import annotations
from model_server import parts
from model_server.errors import A, OnlyCaught
from model_server.held import Held

def enter(held: Held):
    try:
        parts.part()
    except OnlyCaught:
        raise A from None
""",
    "held": """
from model_server.errors import B

class Held:
    def called_by_a_framework(self):
        raise B("text")
""",
    "parts/__init__": "from model_server.parts.inner import part",
    "parts/inner": """
from model_server import errors

def part():
    from model_server.late import later
    later()
    return errors.C()
""",
    "late": """
from model_server.errors import D
from model_server.start import start

def later():
    raise D

def unused():
    start()
""",
    "start": """
from model_server.errors import AtStart

def start():
    raise AtStart
""",
}


def written(root: Path) -> raised.Source:
    """Write the small package and parse it."""
    for name, text in MODULES.items():
        path = root.joinpath(raised.PACKAGE, f"{name}.py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    return raised.Source(root)


def test_the_answered_errors_are_those_that_are_raised() -> None:
    """``errors.ANSWERED`` feeds the OpenAPI document, which cannot read the source at run time."""
    assert set(errors.ANSWERED) == raised.answered()
    assert len(errors.ANSWERED) == len(set(errors.ANSWERED))


def test_names_are_followed_through_modules_annotations_and_late_imports(tmp_path: Path) -> None:
    """What only a start raises is not found, and an error that is only caught is not made."""
    source = written(tmp_path)

    assert source.made(source.reached(["enter"])) == {"A", "B", "C", "D"}
    assert source.made(source.reached(["start"])) == {"AtStart"}


def test_an_entry_that_was_renamed_is_noticed(tmp_path: Path) -> None:
    """Otherwise the table would quietly lose what it led to."""
    with pytest.raises(ValueError, match="unpack"):
        written(tmp_path).reached(["gone"])


def test_errors_of_a_start_and_of_training_are_not_listed() -> None:
    """No request is answered with them, so a client need not know their codes."""
    assert raised.answered().isdisjoint({errors.StartupFailed, errors.BundleExists, errors.ModelServerError})
