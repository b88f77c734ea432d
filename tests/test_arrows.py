"""Which module may import which: read from the source with ast, so a late import inside a function counts as well."""

from __future__ import annotations

import ast
import sys
import tomllib
from importlib.metadata import packages_distributions
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parent.parent

# Top to bottom, for each package: a module may import what stands in a line below its own, or is in its own folder.
LAYERS = {
    "model_server": """
        __main__
        edge workers
        wire
        serving
        explain monitoring onnx sources telemetry
        compiled
        parity
        predictor
        approval
        bundle
        manifest
        contract
        admission
        output
        feature
        columns
        frame
        checks cpu garbage healthcheck
        errors
    """,
    "model_server.edge": """
        embedded
        server
        app grpc
        kserve
        api http
        admin exchange
    """,
    "model_server.edge.api": """
        pages
        openapi
        operations
        bodies facade protocols
        described
        contract
    """,
    "model_server.edge.http": """
        connection
        failures gate health
        inference
    """,
    "model_server.wire": """
        facade v1 v2
        facade_answers metadata pieces tensors
        outputs parts
    """,
    "model_server.serving": """
        service
        batching repository runner
        call observers
        loaded
        tensors
        datatypes
    """,
    "model_server.telemetry": """
        requests
        logs metrics stopwatch
    """,
    "model_server.parity": """
        comparison record
        probes
        thresholds
        splits substitution unforeseen
    """,
}
RANKS = {
    package: {name: rank for rank, line in enumerate(lines.strip().split("\n")) for name in line.split()}
    for package, lines in LAYERS.items()
}

# settings stands beside the layers: only __main__ reads them; others may name the type of what they are handed.
ALLOWED_OF_SETTINGS = {"errors", "manifest"}
ALLOWED_OF_ROLLOUT = {"checks", "errors"}
#: Packages beside the server; those that do not exist yet have their rules already.
USERS_OF_THE_CORE = ("training", "monitoring", "scoring")

# Libraries that one place keeps to itself.
KEEPERS = {
    "asyncio": ("model_server.serving", "model_server.wire.pieces", "model_server.edge"),
    "fastapi": ("model_server.edge",),
    "grpc": ("model_server.edge",),
    "joblib": ("model_server.bundle", "training"),
    "kserve": ("model_server.edge",),
    "kubernetes": ("rollout.cluster",),
    "matplotlib": ("training",),
    "onnxruntime": ("model_server.onnx.session",),
    "pyarrow": ("training",),
    "skl2onnx": ("training.conversion",),
    "starlette": ("model_server.edge",),
    "uvicorn": ("model_server.edge",),
}


def imported(source: str, module: str, *, types: bool = True) -> set[str]:
    """Name every module that a source imports, wherever in it.

    Args:
        source: The text of the module.
        module: Its dotted name, ending in `.__init__` for a package; relative imports are resolved against it.
        types: Whether imports under `if TYPE_CHECKING:` count, which never happen when the module runs.

    Returns:
        Dotted names; `from a import b` counts as `a.b`, since b may be a module.
    """
    return {name for node in _nodes(ast.parse(source), types=types) for name in _names(node, module)}


def _nodes(node: ast.AST, *, types: bool) -> Iterator[ast.AST]:
    yield node
    for child in ast.iter_child_nodes(node):
        if types or not (isinstance(child, ast.If) and ast.unparse(child.test).endswith("TYPE_CHECKING")):
            yield from _nodes(child, types=types)


def _names(node: ast.AST, module: str) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        start = ".".join(module.split(".")[: -node.level]) if node.level else ""
        origin = ".".join(part for part in (start, node.module) if part)
        yield from (f"{origin}.{alias.name}" for alias in node.names)
    elif isinstance(node, ast.Call) and ast.unparse(node.func) in {
        "importlib.import_module",
        "import_module",
        "__import__",
    }:
        yield from (str(a.value) for a in node.args[:1] if isinstance(a, ast.Constant))


def modules(package: str, *, types: bool = True) -> dict[str, set[str]]:
    """Read a package of the checkout.

    Args:
        package: A top-level folder.
        types: Whether imports for types alone count.

    Returns:
        What each of its modules imports, by dotted name; empty when the folder does not exist.
    """
    paths = sorted(ROOT.joinpath(package).rglob("*.py"))
    names = [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in paths]
    return {name: imported(path.read_text("utf-8"), name, types=types) for name, path in zip(names, paths, strict=True)}


def child(module: str, package: str) -> str:
    """Give the name under which a module stands among the layers of a package: its own, or its folder's."""
    return module.removeprefix(f"{package}.").split(".")[0]


def within(module: str, places: tuple[str, ...]) -> bool:
    """Say whether a module is one of the places or inside one."""
    return any(module == name or module.startswith(f"{name}.") for name in places)


def within_any(names: set[str], name: str) -> bool:
    """Say whether some of the names is that one or inside it."""
    return any(within(other, (name,)) for other in names)


SERVER = modules("model_server")
USERS = {package: modules(package) for package in USERS_OF_THE_CORE}
ROLLOUT = modules("rollout")
ALL = SERVER | ROLLOUT | {module: names for used in USERS.values() for module, names in used.items()}
RUNNING = {
    module: names
    for package in ("model_server", "rollout", *USERS_OF_THE_CORE)
    for module, names in modules(package, types=False).items()
}


def ours(names: set[str], package: str = "model_server") -> set[str]:
    """Keep the imports of one of our packages, as names of its layers; importing the bare package is nothing."""
    known = {child(module, package) for module in ALL if within(module, (package,))}
    return {child(name, package) for name in names if within(name, (package,)) and child(name, package) in known}


def resolved(graph: dict[str, set[str]]) -> dict[str, set[str]]:
    """Replace the names that modules import by the modules in which they stand; a package stands in its `__init__`."""
    return {module: {found for name in names if (found := _home(name, graph))} for module, names in graph.items()}


def _home(name: str, graph: dict[str, set[str]]) -> str:
    while name and name not in graph and f"{name}.__init__" not in graph:
        name = name.rpartition(".")[0]
    return name if name in graph or not name else f"{name}.__init__"


@pytest.mark.parametrize(
    "line",
    [
        "import training.fit",
        "from training import fit",
        "def late():\n    from training.fit import train",
        "if TYPE_CHECKING:\n    import training.fit",
        "from ..training import fit",
        "def late():\n    return importlib.import_module('training.fit')",
    ],
    ids=["plain", "from", "inside a function", "for types only", "relative", "by name"],
)
def test_every_way_of_importing_is_seen(line: str) -> None:
    """The check must not be fooled by an import that is merely written otherwise."""
    assert within_any(imported(line, "model_server.predictor"), "training.fit")


def test_imports_for_types_can_be_told_apart() -> None:
    """Only what runs decides who reads the settings."""
    source = "import a\nif TYPE_CHECKING:\n    import b\nif typing.TYPE_CHECKING:\n    import c"

    assert imported(source, "m", types=False) == {"a"}


def test_the_packages_were_read() -> None:
    """An empty reading would make all other checks pass."""
    assert {"model_server.errors", "model_server.predictor", "training.__main__"} <= ALL.keys()


@pytest.mark.parametrize("package", sorted(RANKS))
def test_every_module_has_a_place(package: str) -> None:
    """A new module is put into a layer, so that somebody decides what it may know; one that is gone leaves it."""
    found = {child(module, package) for module in SERVER if within(module, (package,))}

    assert found - {"__init__", "settings"} == RANKS[package].keys()


@pytest.mark.parametrize(
    ("package", "module"),
    [(package, module) for package in RANKS for module in sorted(SERVER) if within(module, (package,))],
)
def test_the_server_imports_only_downwards(package: str, module: str) -> None:
    """Each module knows less than the ones above it; that keeps the core testable without a server."""
    here = child(module, package)
    targets = ours(SERVER[module], package) - {here, "settings"}
    if here == "settings":
        assert targets <= ALLOWED_OF_SETTINGS
    else:
        assert upwards(here, targets, RANKS[package]) == set()


def upwards(here: str, targets: set[str], ranks: dict[str, int]) -> set[str]:
    """Name the targets that do not stand below a place; what has no rank, such as an `__init__`, is below nothing."""
    return {target for target in targets if ranks.get(target, -1) <= ranks.get(here, len(ranks))}


def test_an_import_upwards_or_sideways_is_found() -> None:
    """The check before must be able to fail."""
    ranks = RANKS["model_server.wire"]

    assert upwards("parts", {"v1", "outputs"}, ranks) == {"v1", "outputs"}
    assert upwards("v1", {"parts", "outputs"}, ranks) == set()
    assert upwards("__init__", {"parts"}, ranks) == {"parts"}


def test_only_the_command_reads_settings() -> None:
    """Who else runs the code of settings could read them a second time, otherwise."""
    assert [m for m, names in RUNNING.items() if within_any(names, "model_server.settings")] == [
        "model_server.__main__"
    ]


def test_the_server_knows_no_package_beside_it() -> None:
    """The image holds the server alone."""
    others = (*USERS_OF_THE_CORE, "rollout", "benchmarks", "tests", "tools")
    outside = {m: n for m, names in SERVER.items() for n in names if within(n, others)}

    assert outside == {}


@pytest.mark.parametrize("package", USERS_OF_THE_CORE)
def test_what_uses_the_core_does_not_know_the_edge(package: str) -> None:
    """Bundles are made, watched and scored without a web server; what that needs of the server is its core."""
    outside = {
        m: n
        for m, names in USERS[package].items()
        for n in names
        if within(n, ("model_server.edge", "rollout", "tests"))
    }

    assert outside == {}


def test_rollout_knows_only_verdicts_and_errors() -> None:
    """What moves traffic judges by checks; it never opens a model."""
    known = {module: ours(names) - ALLOWED_OF_ROLLOUT for module, names in ROLLOUT.items()}

    assert {module: names for module, names in known.items() if names} == {}


@pytest.mark.parametrize("library", sorted(KEEPERS))
def test_a_kept_library_stays_in_its_place(library: str) -> None:
    """KServe's habits, unpickling and the event loop each have one home."""
    users = [module for module, names in ALL.items() if within_any(names, library)]

    assert [module for module in users if not within(module, KEEPERS[library])] == []


def cycles(graph: dict[str, set[str]]) -> list[str]:
    """Find the modules that import themselves by way of others: those left when all others have been taken away."""
    left = {module: {n for n in names if n in graph and n != module} for module, names in graph.items()}
    while free := {module for module, names in left.items() if not names & left.keys()}:
        left = {module: names for module, names in left.items() if module not in free}
    return sorted(left)


def test_cycles_are_found() -> None:
    """The next check must be able to fail."""
    assert cycles({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": set()}) == ["a", "b", "c"]


def test_a_cycle_by_way_of_a_package_is_found() -> None:
    """What a package's `__init__` hands on is imported from there; a module beside it is not."""
    graph = {"p.__init__": {"p.a.f"}, "p.a": {"p.b"}, "p.b": {"p.g"}}

    assert cycles(resolved(graph)) == ["p.__init__", "p.a", "p.b"]
    assert cycles(resolved(graph | {"p.b": {"p.c"}, "p.c": {"sys"}})) == []


def test_no_module_imports_itself_by_way_of_others() -> None:
    """Inside a folder there is no given order, but there is one."""
    assert cycles(resolved(RUNNING)) == []


def test_no_types_of_the_server_form_a_circle_either() -> None:
    """Two files that need each other's types are one file, or want a third below both."""
    assert cycles(resolved(SERVER)) == []


PROJECT = tomllib.loads(ROOT.joinpath("pyproject.toml").read_text("utf-8"))
EXTRAS = PROJECT["project"]["optional-dependencies"]
GROUPS = PROJECT["dependency-groups"]


def declared(lines: list[str]) -> set[str]:
    """Read which modules the server's dependencies and further ones bring.

    Args:
        lines: Requirements beyond those of the server; one that is not installed here brings a module of its name.
    """
    wanted = {_normal(line) for line in [*PROJECT["project"]["dependencies"], *lines]}
    brought = packages_distributions()
    found = {module for module, names in brought.items() if wanted & {_normal(name) for name in names}}
    return found | {name.replace("-", "_") for name in wanted}


def _normal(requirement: str) -> str:
    name = requirement
    for mark in "[<>=!~; ":
        name = name.split(mark)[0]
    return name.lower().replace("_", "-").replace(".", "-")


#: What each package may import beside the server's dependencies: packages of ours, and requirements.
DEVELOPMENT = [*chain(*EXTRAS.values()), *GROUPS["dev"]]
COMPARED = [*chain(*(lines for group, lines in GROUPS.items() if group.startswith("bench-")))]
DECLARED: dict[str, tuple[set[str], list[str]]] = {
    "model_server": ({"model_server"}, EXTRAS["onnx"]),
    "training": ({"model_server", "training"}, EXTRAS["training"] + EXTRAS["onnx-convert"]),
    "tools": ({"tools"}, DEVELOPMENT),
    "benchmarks": ({"model_server", "training", "tools", "benchmarks"}, DEVELOPMENT + COMPARED),
    "tests": ({"model_server", "training", "tools", "benchmarks", "tests"}, DEVELOPMENT),
}


@pytest.mark.parametrize("package", sorted(DECLARED))
def test_every_library_that_is_imported_is_declared(package: str) -> None:
    """What comes only by way of another dependency may vanish with its next version."""
    own, lines = DECLARED[package]
    tops = {name.split(".")[0] for names in modules(package).values() for name in names}

    assert tops - own - declared(lines) - sys.stdlib_module_names == set()


def test_a_library_that_comes_by_way_of_another_is_not_declared() -> None:
    """The check above must be able to fail: requests is installed here, because Kubernetes' client asks for it."""
    assert "requests" in packages_distributions()
    assert "requests" not in declared(DEVELOPMENT)


TOOLS = modules("tools")
#: Where the tools use libraries: the chart's, and what speaks with a cluster. The others run before there is any.
WITH_LIBRARIES = (
    *(f"tools.{name}" for name in ("chartmutations", "kubeschemas", "manifests")),
    *("tools.objects", "tools.cluster", "tools.deploy"),
)


def test_the_tools_need_no_library() -> None:
    """They run before there is an environment, but for those that name what they need it for."""
    tops = {n.split(".")[0] for m, names in TOOLS.items() if not within(m, WITH_LIBRARIES) for n in names}

    assert tops <= sys.stdlib_module_names | {"tools"}
    assert [place for place in WITH_LIBRARIES if not within_any(set(TOOLS), place)] == []


def reached(graph: dict[str, set[str]], start: str) -> set[str]:
    """Name every module outside a place that it imports, be it by way of others."""
    found = {module for module in graph if within(module, (start,))}
    while further := {n for module in found for n in graph[module] if n in graph} - found:
        found |= further
    return {module for module in found if not within(module, (start,))}


def test_what_is_reached_by_way_of_others_is_seen() -> None:
    """The next check must be able to fail."""
    assert reached({"a.x": {"b"}, "b": {"c"}, "c": set(), "d": {"a.x"}}, "a") == {"b", "c"}


def test_a_rollout_knows_neither_how_a_cluster_is_made_nor_a_test() -> None:
    """So the verbs and the judgement of readiness can become a package of their own, with what they stand on."""
    ground = {f"tools.{name}" for name in ("clients", "errors", "gotools", "objects", "programs", "wheels")}
    inside = {module for module in TOOLS if within(module, ("tools.deploy.rollout",))}

    assert reached(resolved(TOOLS), "tools.deploy.rollout") == ground
    assert not any(within(n, ("tests", "training", "model_server")) for m in {*ground, *inside} for n in TOOLS[m])


def test_no_tool_imports_itself_by_way_of_others() -> None:
    """A circle would tie the making of a cluster to its use."""
    assert cycles(resolved(TOOLS)) == []
