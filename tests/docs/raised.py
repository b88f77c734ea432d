"""Which errors a request can be answered with, read from the source: those made in code that its entry points reach.

What is followed are names, annotations among them: a function or class that is reached brings everything that it names.
A class counts as a whole, because a framework calls methods that nobody here names.
"""

from __future__ import annotations

import ast
from collections import deque
from functools import cache
from typing import TYPE_CHECKING

from model_server import errors
from tests.docs.pages import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

PACKAGE = "model_server"
#: Where requests enter: the HTTP connection, the app behind it, and what gRPC calls.
ENTRIES = ("HttpProtocol", "create_app", "Servicer", "Envelope")

#: A definition at the top of a module: the module's name and its own.
Place = tuple[str, str]


class Source:
    """The definitions of a package by place, and what the names in each module mean."""

    def __init__(self, root: Path, package: str = PACKAGE) -> None:
        """Parse every module of a package below a folder."""
        self._package = package
        self.definitions: dict[Place, ast.stmt] = {}
        self._imports: dict[str, dict[str, Place]] = {}
        for path in sorted(root.joinpath(package).rglob("*.py")):
            module = ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")
            self._add(module, ast.parse(path.read_text("utf-8")))

    def _add(self, module: str, tree: ast.Module) -> None:
        self._imports[module] = dict(_imports(tree, self._package))
        for statement in tree.body:
            self.definitions.update({(module, name): statement for name in _names(statement)})

    def meaning(self, module: str, name: str) -> Place | None:
        """Follow a name of a module to its definition, through imports; None when it is none of the package."""
        if (module, name) in self.definitions:
            return module, name
        if f"{module}.{name}" in self._imports:
            return f"{module}.{name}", ""
        imported = self._imports.get(module, {}).get(name)
        return imported and (imported if not imported[1] else self.meaning(*imported))

    def named(self, module: str, node: ast.AST) -> Place | None:
        """Give what an expression names, as ``name`` or ``module.name``."""
        if isinstance(node, ast.Name):
            return self.meaning(module, node.id)
        if isinstance(node, ast.Attribute):
            owner = self.named(module, node.value)
            return self.meaning(owner[0], node.attr) if owner and not owner[1] else None
        return None

    def reached(self, entries: Iterable[str]) -> set[Place]:
        """Give every definition that one of the entries leads to.

        Raises:
            ValueError: An entry is not defined exactly once.
        """
        ahead = deque(self._only(name) for name in entries)
        seen: set[Place] = set()
        while ahead:
            place = ahead.popleft()
            if place in self.definitions and place not in seen:
                seen.add(place)
                ahead += [found for node in self.inside(place) if (found := self.named(place[0], node))]
        return seen

    def inside(self, place: Place) -> Iterator[ast.AST]:
        """PageRun a definition."""
        return ast.walk(self.definitions[place])

    def made(self, places: Iterable[Place]) -> set[str]:
        """Name what is raised or called of the errors module within some definitions."""
        found = {
            self.named(place[0], maker) for place in places for node in self.inside(place) for maker in _makers(node)
        }
        return {name for module, name in filter(None, found) if module == errors.__name__}

    def _only(self, name: str) -> Place:
        (place,) = [place for place in self.definitions if place[1] == name]
        return place


def _imports(tree: ast.Module, package: str) -> Iterator[tuple[str, Place]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == package:
            yield from ((alias.asname or alias.name, (str(node.module), alias.name)) for alias in node.names)


def _names(statement: ast.stmt) -> list[str]:
    match statement:
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            return [name]
        case ast.Assign(targets=targets):
            return [target.id for target in targets if isinstance(target, ast.Name)]
        case ast.AnnAssign(target=ast.Name(id=name)):
            return [name]
    return []


def _makers(node: ast.AST) -> list[ast.expr]:
    match node:
        case ast.Call(func=maker) | ast.Raise(exc=ast.expr() as maker):
            return [maker]
    return []


@cache
def answered() -> frozenset[type[errors.ModelServerError]]:
    """Give the errors that a request can be answered with."""
    source = Source(ROOT)
    made = [getattr(errors, name) for name in source.made(source.reached(ENTRIES))]
    return frozenset(value for value in made if isinstance(value, type) and issubclass(value, errors.ModelServerError))
