"""The policy of a registry: whose name is wanted before production changes, and what is no name."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from tests.bundles.visits import write_config
from training.__main__ import main
from training.errors import BadConfig, NotApproved
from training.policy import FILE, Policy, load
from training.registry import Registry

if TYPE_CHECKING:
    from pathlib import Path

NAMED = Policy(approver="named")


@pytest.fixture
def root(shop_registry: Path, tmp_path: Path) -> Path:
    """A copy of the shop's registry that wants a named person."""
    shutil.copytree(shop_registry, tmp_path / "registry")
    (tmp_path / "registry" / FILE).write_text("approver: named\n", encoding="utf-8")
    return tmp_path / "registry"


@pytest.mark.parametrize("who", ["", "  ", "root", "ROOT", "nobody", "runner", "Runner", "uid 1001", "1001"])
def test_an_account_is_no_person(who: str) -> None:
    """Several people may be behind it, or a machine alone."""
    with pytest.raises(NotApproved, match="say who decides with --who"):
        NAMED.approver_of(who, account="runner")


@pytest.mark.parametrize(
    ("who", "written"), [("ada", "ada"), ("Ada Lovelace", "Ada Lovelace"), (" Ada \n Lovelace ", "Ada Lovelace")]
)
def test_a_person_goes_into_the_history_by_name(who: str, written: str) -> None:
    """The name is on one line, without the spaces around."""
    assert NAMED.approver_of(who, account="runner") == written


def test_where_anyone_may_the_account_will_do() -> None:
    """It was so before there were policies."""
    anyone = Policy(approver="anyone")

    assert [anyone.approver_of(who, account="runner") for who in ("", "root", "ada")] == ["runner", "root", "ada"]


def test_a_registry_without_a_policy_lets_anyone(tmp_path: Path) -> None:
    """A folder on a developer's machine asks nothing."""
    assert load(tmp_path / "absent") == load(tmp_path) == Policy(approver="anyone")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "approver: Field required"),
        (b"approver: [named]\n", "approver: Input should be 'anyone' or 'named'"),
        (b"approver: Named\n", "approver: Input should be"),
        (b"approver: named\napprovers: [ann]\n", "approvers: Extra inputs"),
        (b"- approver\n", "approver: Field required"),
        (b"approver: {", "cannot be read"),
        (b"\xff\xfe", "cannot be read"),
    ],
    ids=["empty", "list", "other case", "unknown key", "no mapping", "no YAML", "no text"],
)
def test_a_policy_that_is_not_understood_lets_nobody(root: Path, content: bytes, words: str) -> None:
    """A misspelt key must not open what it was to close; the text names file, key and what to write."""
    (root / FILE).write_bytes(content)

    with pytest.raises(BadConfig, match=words):
        load(root)
    assert main(["promote", "shop", "1.0.0", "--who", "ann", "--registry", str(root)]) == 2
    assert Registry(root).production("shop") is None


@pytest.mark.parametrize("words", [[], ["--who", ""], ["--who", "ann"], ["--who", "root"]])
def test_promotion_under_an_account_changes_nothing(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    """Whether the account is taken from the environment or repeated in --who."""
    monkeypatch.setenv("USER", "ann")

    assert main(["promote", "shop", "1.0.0", "--registry", str(root), *words]) == 1
    assert capsys.readouterr().err.startswith("not-approved: this registry wants the name of the person who decides")
    assert (Registry(root).production("shop"), Registry(root).history("shop")) == (None, [])


def test_promotion_and_rollback_are_written_down_for_a_person(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who decided stands in the history, not who was logged in."""
    monkeypatch.setenv("USER", "runner")
    config = write_config(tmp_path / "again", {"gates.max_drop": 1.0})
    where = ["--registry", str(root)]

    assert main(["promote", "shop", "1.0.0", "--who", "Ada Lovelace", *where]) == 0
    assert main(["run", str(config), "--version", "1.1.0", "--promote", "--who", "Bob", *where]) == 0
    assert main(["rollback", "shop", *where]) == 1
    assert main(["rollback", "shop", "--who", "Eve", "--why", "drill", *where]) == 0
    changes = [(change.action, change.version, change.who) for change in Registry(root).history("shop")]
    assert changes == [
        ("promote", "1.0.0", "Ada Lovelace"),
        ("promote", "1.1.0", "Bob"),
        ("rollback", "1.0.0", "Eve"),
    ]


def test_nothing_is_trained_for_a_promotion_that_will_be_refused(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The name is asked for at once, not after the training."""
    config = write_config(tmp_path / "again")

    assert main(["run", str(config), "--version", "1.1.0", "--promote", "--registry", str(root)]) == 1
    assert capsys.readouterr().out == ""
    assert Registry(root).versions("shop") == ["1.0.0"]


def test_nothing_is_adopted_for_a_promotion_that_will_be_refused(root: Path, tmp_path: Path) -> None:
    """The files are not even read: those named here do not exist."""
    files = ["--model", str(tmp_path / "none.joblib"), "--sample", str(tmp_path / "none.csv")]

    assert main(["adopt", "--name", "shop", "--version", "2.0.0", *files, "--promote", "--registry", str(root)]) == 1
