"""values.yaml, its schema, the templates and the README say the same."""

from __future__ import annotations

import json
import re
import shutil
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.chart.rendering import CHART, Values
from tests.docs.pages import Page
from tools import manifests

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TEXT = CHART.joinpath("values.yaml").read_text("utf-8")
VALUES: Values = yaml.safe_load(TEXT)
SCHEMA: dict[str, Any] = json.loads(CHART.joinpath("values.schema.json").read_text("utf-8"))
README = CHART.joinpath("README.md").read_text("utf-8")
#: A parent chart's, which the schema must let through.
PARENTS = {"global", "enabled"}


def leaves(values: Values, prefix: str = "") -> Iterator[str]:
    """PageRun the paths of all values that are no tables with keys of their own."""
    for key, value in values.items():
        if isinstance(value, dict) and value:
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}"


LEAVES = list(leaves(VALUES))

# Helpers that are handed a part of the values and read its keys, by the variable they use.
PARTS = {
    "$server": "server",
    "$scaling": "scaling",
    "$canary": "canary",
    "$account": "security.serviceAccount",
    "$probe": "probes.startup",
}


def templates() -> str:
    """Join every template."""
    return "\n".join(path.read_text("utf-8") for path in sorted(CHART.glob("templates/*")))


def referenced() -> set[str]:
    """Give the paths of all values that the templates name in full."""
    text = templates()
    for variable, path in PARTS.items():
        text = re.sub(rf"{re.escape(variable)}\.", f".Values.{path}.", text)
    return {path.rstrip(".") for path in re.findall(r"\.Values\.([A-Za-z0-9.]+)", text)}


def read_inside(path: str) -> bool:
    """Say whether a template takes the value's parent as a whole and reads the last key inside it."""
    parent, _, key = path.rpartition(".")
    whole = re.search(rf"\.Values\.{re.escape(parent)}(?![A-Za-z0-9.])", templates()) if parent else None
    return whole is not None and (
        re.search(rf"(?<![A-Za-z0-9$])\.(image\.|model\.)?{key}\b", templates()) is not None
        or f'"{key}"' in templates()
    )


def in_schema(path: str) -> dict[str, Any]:
    """Give the part of the schema that speaks of a value."""
    part = SCHEMA
    for key in path.split("."):
        part = part["properties"][key]
    return part


def default_of(path: str) -> Any:
    """Give what values.yaml says of a value."""
    part: Any = VALUES
    for key in path.split("."):
        part = part[key]
    return part


def schema_leaves(part: dict[str, Any], prefix: str = "") -> list[str]:
    """PageRun the paths that a schema names, as far as values.yaml goes."""
    found = []
    for key, inner in part.get("properties", {}).items():
        path = f"{prefix}{key}"
        found += [path] if path in LEAVES or "properties" not in inner else schema_leaves(inner, f"{path}.")
    return found


@pytest.mark.parametrize("path", LEAVES)
def test_every_value_is_used(path: str) -> None:
    """A value that nothing reads is a promise that nothing keeps."""
    assert path in referenced() or read_inside(path) or path.startswith("resources.")


def test_resources_are_passed_on_whole() -> None:
    """They are the one table whose keys no template names."""
    assert "resources" in referenced()


@pytest.mark.parametrize("path", sorted(referenced()))
def test_every_value_that_is_read_is_there(path: str) -> None:
    """A misspelt path renders as nothing, silently."""
    part: Any = VALUES
    for key in path.split("."):
        assert key in part, path
        part = part[key]


def test_the_schema_names_every_value_and_no_other() -> None:
    """What is not in the schema is refused, so both lists must be one."""
    assert sorted({*schema_leaves(SCHEMA)} - PARENTS) == sorted(LEAVES)


def test_the_schema_is_draft_07_and_closed_at_every_table() -> None:
    """A misspelt key is an error at every depth."""
    tables = {"", *(path.rpartition(".")[0] for path in LEAVES)}
    # The requests and limits may name further resources, of a checked form.
    is_open = {path for path in tables if path and in_schema(path).get("additionalProperties") is not False}

    assert SCHEMA["$schema"] == "http://json-schema.org/draft-07/schema#"
    assert SCHEMA["additionalProperties"] is False
    assert is_open == {"resources.requests", "resources.limits"}


def written(folder: Path, values: str) -> str:
    """Give the README that helm-docs writes for this chart with other values."""
    chart = folder / "charts" / "model-server"
    shutil.copytree(CHART, chart)
    chart.joinpath("values.yaml").write_text(values, "utf-8")
    manifests.document(chart.parent)
    return chart.joinpath("README.md").read_text("utf-8")


def without_comment(readme: str) -> list[str]:
    """Name the values that a README lists, but says nothing of."""
    return [path.strip("`") for path, _, text in Page("README.md", readme).table("Values") if not text]


def test_every_value_has_a_comment() -> None:
    """The README's table is made from them."""
    assert without_comment(README) == []


def test_a_value_without_a_comment_is_found(tmp_path: Path) -> None:
    """helm-docs lists it all the same, with nothing beside it."""
    readme = written(tmp_path, TEXT.replace("  # -- gRPC port of the container.\n", ""))

    assert without_comment(readme) == ["server.grpcPort"]


def test_every_comment_belongs_to_a_value() -> None:
    """A comment that slipped off its value would be lost silently."""
    assert TEXT.count("# -- ") == len(LEAVES)


def test_the_readme_lists_every_value() -> None:
    """They stand in the order of values.yaml, with its defaults."""
    rows = Page("README.md", README).table("Values")

    assert [path.strip("`") for path, *_ in rows] == LEAVES
    assert [json.loads(default.strip("`")) for _, default, _ in rows] == [default_of(path) for path in LEAVES]


def test_the_readme_is_up_to_date(tmp_path: Path) -> None:
    """`make manifests` writes it anew."""
    assert written(tmp_path, TEXT) == README


@pytest.mark.parametrize(
    ("old", "new"),
    [("httpPort: 8080", "httpPort: 8000"), ("Tag of the image", "Tag of an image")],
    ids=["default", "comment"],
)
def test_an_outdated_readme_is_found(tmp_path: Path, old: str, new: str) -> None:
    """Another default and another word are another page."""
    assert written(tmp_path, TEXT.replace(old, new)) != README
