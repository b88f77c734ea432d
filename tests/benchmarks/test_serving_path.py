"""Which code was measured: its hash changes with its files, its commit is named only when it is that code."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from benchmarks import serving_path

if TYPE_CHECKING:
    from pathlib import Path


def git(root: Path, *words: str) -> str:
    """Run git as somebody, without the settings of this machine."""
    who = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
    return subprocess.run(["git", "-C", root, *who, *words], check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """One commit of a server, its lock and a page."""
    for name in ("model_server/edge/gate.py", "locks/serve.txt", "docs/page.md"):
        tmp_path.joinpath(name).parent.mkdir(parents=True, exist_ok=True)
        tmp_path.joinpath(name).write_text("one\n", "utf-8")
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--quiet", "--message", "one")
    return tmp_path


@pytest.mark.parametrize("name", ["model_server/edge/gate.py", "locks/serve.txt", "model_server/new.py"])
def test_another_file_is_another_path(checkout: Path, name: str) -> None:
    """A changed one or a new one, in code or packages; and then it is the code of no commit."""
    before, head = serving_path.sha256(checkout), git(checkout, "rev-parse", "HEAD")
    assert serving_path.commit(checkout) == head
    checkout.joinpath(name).write_text("two\n", "utf-8")

    assert serving_path.sha256(checkout) != before
    assert serving_path.commit(checkout) == ""


def test_a_moved_file_is_another_path(checkout: Path) -> None:
    """Names count: what is imported from elsewhere is not what was measured."""
    before = serving_path.sha256(checkout)
    checkout.joinpath("model_server/edge/gate.py").rename(checkout / "model_server" / "gate.py")

    assert serving_path.sha256(checkout) != before


def test_a_page_is_no_part_of_the_path(checkout: Path) -> None:
    """Otherwise the page that tells the numbers would make them old."""
    before = serving_path.sha256(checkout)
    checkout.joinpath("docs/page.md").write_text("two\n", "utf-8")

    assert serving_path.sha256(checkout) == before
    assert serving_path.commit(checkout) == git(checkout, "rev-parse", "HEAD")


def test_sources_without_git_have_no_commit(tmp_path: Path) -> None:
    """An archive of the sources can be measured as well, and is not given a commit that it may not be."""
    assert serving_path.commit(tmp_path) == ""


def test_a_change_is_admitted_with_the_command_that_lists_it() -> None:
    """No number stands on the page that each commit would make wrong."""
    assert serving_path.admission("abc", is_same=True) == (
        "Measured at commit `abc`; `model_server` and `locks/serve.txt` are still the same."
    )
    assert serving_path.admission("abc", is_same=False) == (
        "Measured at commit `abc`. `model_server` and `locks/serve.txt` have changed since: "
        "`git log --oneline abc.. -- model_server locks/serve.txt` lists the commits."
    )
