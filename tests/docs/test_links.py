"""Links lead somewhere: to a file of the repository, and to a heading in it."""

from __future__ import annotations

import pytest

from tests.docs.pages import PAGES, ROOT, Page, page

LINKS = [(name, target) for name in PAGES for target in page(name).links if "://" not in target]


def resolves(of: str, target: str) -> bool:
    """Say whether a link of a page leads to a file, and its anchor to a heading."""
    path, _, fragment = target.partition("#")
    file = (ROOT / of).parent / path if path else ROOT / of
    if not file.exists():
        return False
    return not fragment or fragment in Page(file.name, file.read_text("utf-8")).anchors


@pytest.mark.parametrize(("name", "target"), LINKS, ids=[f"{name} -> {target}" for name, target in LINKS])
def test_a_link_resolves(name: str, target: str) -> None:
    """A page that was renamed leaves no dead end behind."""
    assert resolves(name, target)


def test_dead_links_are_found() -> None:
    """The check above must be able to fail, on a file and on an anchor."""
    assert not resolves("README.md", "docs/no-such-page.md")
    assert not resolves("README.md", "README.md#no-such-heading")
    assert resolves("docs/dependencies.md", "../README.md#start-here")


def test_every_page_is_linked_from_the_readme() -> None:
    """A page that nobody finds is not read."""
    linked = {target.partition("#")[0] for target in page("README.md").links}

    assert {name for name in PAGES if name != "README.md"} <= linked
