"""CONTRIBUTING.md leads to files that are there, and its code map has every package of the server."""

from __future__ import annotations

import re

import pytest

from tests.docs.pages import ROOT, page

PAGE = page("CONTRIBUTING.md")
#: Words in code that are paths from the top of the checkout.
PATHS = sorted(set(re.findall(r"`((?:model_server|training|tests|charts|docs|tools)(?:/[\w.-]+)+)`", PAGE.prose)))
MAP = {name for row in PAGE.table("Code map") for name in re.findall(r"`([^`]+)`", row[0])}


def is_there(name: str) -> bool:
    """Say whether a path is a file, a folder, or a module without its suffix."""
    return ROOT.joinpath(name).exists() or ROOT.joinpath(f"{name}.py").is_file()


@pytest.mark.parametrize("name", PATHS)
def test_a_named_path_is_there(name: str) -> None:
    """A recipe that names a file that was moved is worse than none."""
    assert is_there(name)


def test_the_code_map_has_every_package_and_every_folder_at_the_top() -> None:
    """Whoever meets a folder finds out there what it is for."""
    server = {str(path.parent.relative_to(ROOT)) for path in ROOT.glob("model_server/**/__init__.py")}
    shown = {path.name for path in ROOT.iterdir() if path.is_dir() and not path.name.startswith(".")}
    made = {"__pycache__", "artifacts", "build", "dist", "htmlcov"}

    assert server | (shown - made) == MAP


def test_a_recipe_names_its_tests() -> None:
    """The last column is what makes a recipe safe to follow from memory."""
    recipes = PAGE.table("Recipes")

    assert len(recipes) >= 8
    assert [row[0] for row in recipes if "`tests/" not in row[2]] == []


def test_a_path_that_is_gone_is_noticed() -> None:
    """The check above must be able to fail."""
    assert is_there("model_server/errors")
    assert not is_there("model_server/errors_that_moved.py")


def test_the_changelog_keeps_its_sections_apart() -> None:
    """Keep a Changelog's headings, in its order, each at most once a version."""
    order = ["Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"]
    for version in re.split(r"^## ", page("CHANGELOG.md").text, flags=re.MULTILINE)[1:]:
        sections = re.findall(r"^### (.+)$", version, re.MULTILINE)
        assert sections == [name for name in order if name in sections], version.splitlines()[0]
