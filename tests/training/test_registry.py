"""The registry: who is in production, since when and why, and the way back."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from model_server.bundle import verify
from model_server.errors import BundleIncompatible, BundleNotFound, BundleTampered
from model_server.manifest import canonical_json
from model_server.sources.uri import from_uri
from tests.bundles.visits import write_config
from training.__main__ import main
from training.errors import NotApproved
from training.registry import Approval, Registry

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NOW = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)
ANN = Approval("ann", NOW, "because")


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A registry with three versions and nothing in production; copied before it is changed."""
    folder = tmp_path_factory.mktemp("three")
    path = write_config(folder, {"gates": {"beat": [], "max_drop": 1.0}, "report.bootstrap_resamples": 0})
    for version in ("1.0.0", "1.1.0", "1.10.0"):
        assert main(["run", str(path), "--version", version, "--registry", str(folder / "registry")]) == 0
    return folder / "registry"


@pytest.fixture
def registry(three: Path, tmp_path: Path) -> Iterator[Registry]:
    """A copy of one's own."""
    shutil.copytree(three, tmp_path / "registry")
    yield Registry(tmp_path / "registry")
    for path in (tmp_path / "registry").rglob("*"):
        path.chmod(0o755)


def test_versions_are_listed_by_number_and_the_last_trained_is_the_candidate(registry: Registry) -> None:
    """1.10 comes after 1.9, not before it."""
    assert registry.models() == ["shop"]
    assert registry.versions("shop") == ["1.0.0", "1.1.0", "1.10.0"]
    assert registry.candidate("shop") == "1.10.0"
    assert registry.production("shop") is None


def test_promotion_is_what_the_server_serves_and_is_written_down(registry: Registry) -> None:
    """The pointer, the history and the server's view agree."""
    change = registry.promote("shop", "1.0.0", ANN)
    assert change is not None
    assert from_uri(str(registry.root), "shop") == registry.root / "shop" / "1.0.0"
    assert registry.history("shop") == [change]
    assert change.model_dump() == {
        "time": "2026-05-01T12:00:00+00:00",
        "action": "promote",
        "version": "1.0.0",
        "previous": None,
        "digest": verify(registry.root / "shop" / "1.0.0").digest,
        "who": "ann",
        "why": "because",
    }


def test_promoting_what_is_in_production_changes_nothing(registry: Registry) -> None:
    """A pipeline that runs twice does not fill the history."""
    registry.promote("shop", "1.0.0", ANN)
    assert registry.promote("shop", "1.0.0", ANN) is None
    assert len(registry.history("shop")) == 1


def test_rollbacks_go_step_by_step_into_the_past(registry: Registry) -> None:
    """Two rollbacks are two steps back, and a promotion after them starts from there."""
    for version in ("1.0.0", "1.1.0", "1.10.0"):
        registry.promote("shop", version, ANN)
    assert registry.rollback("shop", ANN).version == "1.1.0"
    assert registry.rollback("shop", ANN).version == "1.0.0"
    with pytest.raises(NotApproved, match=r"no earlier production version.*production is 1\.0\.0"):
        registry.rollback("shop", ANN)
    registry.promote("shop", "1.10.0", ANN)
    assert registry.rollback("shop", ANN).version == "1.0.0"
    assert [change.action for change in registry.history("shop")][-4:] == [
        "rollback",
        "rollback",
        "promote",
        "rollback",
    ]


def test_a_rollback_that_was_interrupted_before_the_pointer_moved_can_be_repeated(registry: Registry) -> None:
    """The history is written first, so the worst that remains is a line too many."""
    for version in ("1.0.0", "1.1.0"):
        registry.promote("shop", version, ANN)
    registry.rollback("shop", ANN)
    (registry.root / "shop" / "production").write_text("1.1.0\n", encoding="utf-8")
    assert registry.rollback("shop", ANN).version == "1.0.0"
    assert registry.production("shop") == "1.0.0"


def test_a_bundle_with_one_flipped_byte_is_neither_promoted_nor_gone_back_to(registry: Registry) -> None:
    """Production never points at something that cannot be verified."""
    for version in ("1.0.0", "1.1.0"):
        registry.promote("shop", version, ANN)
    for version in ("1.0.0", "1.10.0"):
        path = registry.root / "shop" / version / "pipeline.joblib"
        path.chmod(0o644)
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    with pytest.raises(BundleTampered, match=r"pipeline\.joblib has SHA-256"):
        registry.promote("shop", "1.10.0", ANN)
    with pytest.raises(BundleTampered):
        registry.rollback("shop", ANN)
    assert registry.production("shop") == "1.1.0"


def test_an_absent_version_is_refused_with_those_that_are_there(registry: Registry) -> None:
    """The text lists what could have been meant."""
    with pytest.raises(BundleNotFound, match=r"'9\.9\.9'.*found versions 1\.0\.0, 1\.1\.0, 1\.10\.0"):
        registry.promote("shop", "9.9.9", ANN)


def test_a_folder_must_be_named_after_its_bundle(registry: Registry) -> None:
    """A copied folder is not another version."""
    shutil.copytree(registry.root / "shop" / "1.0.0", registry.root / "shop" / "7.0.0")
    with pytest.raises(BundleIncompatible, match=r"holds shop 1\.0\.0"):
        registry.promote("shop", "7.0.0", ANN)


def test_a_bundle_without_verdicts_is_not_promoted(registry: Registry) -> None:
    """No evidence is no pass."""
    folder = registry.root / "shop" / "1.0.0"
    verified = verify(folder)
    files = {name: verified.read(name) for name in verified.manifest.files}
    figures = registry.open("shop", "1.0.0")[1]
    bare = figures.model_copy(update={"gates": figures.gates.model_copy(update={"checks": ()})})
    files["metrics.json"] = canonical_json(bare.model_dump(mode="json"))
    from model_server.bundle import write

    manifest = verified.manifest.model_copy(update={"version": "2.0.0", "files": {}})
    write(registry.root / "shop" / "2.0.0", manifest, files, {})
    with pytest.raises(NotApproved, match="no gate was asked"):
        registry.promote("shop", "2.0.0", ANN)


def test_the_next_free_version_skips_those_that_are_taken(registry: Registry) -> None:
    """What is proposed can be used."""
    assert registry.next_version("shop", "1.0.0") == "1.0.1"
    (registry.root / "shop" / "1.0.1").mkdir()
    assert registry.next_version("shop", "1.0.0") == "1.0.2"
    assert registry.next_version("shop", "1.0.1-rc.1") == "1.0.2"


def test_a_candidate_needs_a_model_folder(tmp_path: Path) -> None:
    """A pointer to nothing helps nobody."""
    with pytest.raises(BundleNotFound, match="no model folder"):
        Registry(tmp_path).offer("shop", "1.0.0")


def test_the_commands_say_what_changed(registry: Registry, capsys: pytest.CaptureFixture[str]) -> None:
    """promote, rollback and list, as a person uses them."""
    root = ["--registry", str(registry.root)]
    assert main(["promote", "shop", "1.0.0", *root]) == 0
    assert main(["promote", "shop", "1.1.0", "--who", "bob", *root]) == 0
    assert main(["promote", "shop", "1.1.0", *root]) == 0
    assert main(["rollback", "shop", "--why", "drill", *root]) == 0
    (registry.root / "shop" / "1.1.0" / "card.md").chmod(0o644)
    (registry.root / "shop" / "1.1.0" / "card.md").write_text("forged", encoding="utf-8")
    assert main(["list", *root]) == 0
    told = capsys.readouterr().out
    assert "shop 1.0.0 is in production; before: nothing" in told
    assert "shop 1.1.0 is in production; before: 1.0.0" in told
    assert "shop 1.1.0 is in production already" in told
    assert "shop 1.0.0 is in production again; before: 1.1.0" in told
    lines = {tuple(line.split()[:3]) for line in told.splitlines()}
    assert ("shop", "1.0.0", "production") in lines
    assert ("shop", "1.10.0", "candidate") in lines
    assert ("shop", "1.1.0", "unusable:") in lines
    assert [change.who for change in registry.history("shop")][1] == "bob"
    assert registry.history("shop")[-1].why == "drill"


def test_an_empty_registry_says_how_to_fill_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The first command of a newcomer is answered with the next one."""
    assert main(["list", "--registry", str(tmp_path)]) == 0
    assert "python -m training run CONFIG" in capsys.readouterr().out
