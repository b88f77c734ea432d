"""Which test code may import which: what several tests need stands in a module of its own, not in one of them."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

import pytest

from tests.checkout import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

FILES = sorted(ROOT.joinpath("tests").rglob("*.py"))


def imported(source: str) -> Iterator[str]:
    """Name every module that a source imports, wherever in it; of ``from a import b``, b may be a module too."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            origin = node.module or ""
            yield origin
            yield from (f"{origin}.{alias.name}" for alias in node.names)


def forbidden(names: Iterator[str]) -> list[str]:
    """Pick the modules of tests and the conftests, which pytest imports and nobody else."""
    return [name for name in names if any(part.startswith("test_") or part == "conftest" for part in name.split("."))]


@pytest.mark.parametrize(
    "line",
    [
        "from tests.model_server.edge.test_cost import connected",
        "from tests.model_server.edge import test_cost",
        "import tests.conftest",
        "from tests.conftest import ROOT",
        "def late():\n    from tests.docs.conftest import page_run_in",
        "from .conftest import written",
        "from . import test_cost",
    ],
)
def test_an_import_of_a_test_is_seen(line: str) -> None:
    """The next check must be able to fail, whatever way the import is written."""
    assert forbidden(imported(line)) != []


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_no_module_imports_a_test_or_a_conftest(path: object) -> None:
    """A helper that is renamed in one file of tests would break another, and its fixtures would run twice."""
    assert forbidden(imported(ROOT.joinpath(str(path)).read_text("utf-8"))) == []
