"""Approval: which version is served, by its gates and by what its registry says; real bundles in real registries."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson
import pytest
from sklearn.linear_model import LinearRegression

from model_server import bundle
from model_server.approval import METRICS, Approval, admit, judge
from model_server.contract import Contract
from model_server.errors import BundleNotApproved, BundleTampered
from model_server.sources import uri as sources
from tests.bundles import contracts, writing

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from model_server.bundle import Verified

VERSIONS = ("1.0.0", "1.1.0", "2.0.0")
PASSED = {"name": "floor", "status": "PASS"}
FAILED = {"name": "test_metrics.roc_auc floor", "status": "FAIL"}


def write(directory: Path, version: str, metrics: Any) -> Verified:
    """Write a bundle whose metrics are the given ones."""
    contract = Contract(features=contracts.numbers(2), output=contracts.VALUE)
    X = np.eye(2)
    pipeline = LinearRegression().fit(X, X.sum(axis=1))
    content = writing.files(pipeline, {"rows": X.tolist(), "outputs": {"value": pipeline.predict(X).tolist()}})
    content[METRICS] = metrics if isinstance(metrics, bytes) else orjson.dumps(metrics)
    return bundle.write(directory, contracts.manifest(contract, version=version), content, {})


def gated(*checks: dict[str, Any]) -> dict[str, Any]:
    """Give metrics as training writes them, with further keys at each level."""
    return {"format": 1, "task": "regression", "gates": {"primary": "r2", "max_drop": None, "checks": list(checks)}}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A registry of the model `small` in three versions, and nothing in production."""
    for version in VERSIONS:
        write(tmp_path / "registry" / "small" / version, version, gated(PASSED))
    return tmp_path / "registry"


def change(root: Path, action: str, version: str, digest: str | None = None) -> None:
    """Change production as training does: a line of the history, then the pointer."""
    folder = root / "small"
    found = digest or bundle.verify(folder / version).digest
    line = {"time": "2026-05-01", "action": action, "version": version, "previous": None, "digest": found, "who": "ann"}
    with (folder / "history.jsonl").open("ab") as file:
        file.write(orjson.dumps(line) + b"\n")
    (folder / "production").write_text(version + "\n", encoding="utf-8")


def approval(uri: Path, version: str | None = None) -> Approval:
    """Find a bundle as the server does, and judge it."""
    directory = sources.from_uri(str(uri), "small", version)
    return judge(bundle.verify(directory), sources.record_of(directory, str(uri))).approval


def refusal(uri: Path, version: str | None = None) -> str:
    """Give the text with which a bundle is refused."""
    directory = sources.from_uri(str(uri), "small", version)
    with pytest.raises(BundleNotApproved) as caught:
        admit(bundle.verify(directory), sources.record_of(directory, str(uri)), allow_unapproved=False)
    return str(caught.value)


# --- in a registry ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["", "small"], ids=["registry", "model's folder"])
def test_a_version_of_a_registry_is_approved_by_production_alone(root: Path, where: str) -> None:
    """To ask for a version by its number approves nothing."""
    change(root, "promote", "1.0.0")

    assert [approval(root / where, version) for version in (None, *VERSIONS)] == [
        "production",
        "production",
        "unapproved",
        "unapproved",
    ]


def test_a_version_that_was_in_production_may_be_asked_for_again(root: Path) -> None:
    """A server goes back by its version while the registry goes on."""
    change(root, "promote", "1.0.0")
    change(root, "promote", "1.1.0")

    assert [approval(root, version) for version in VERSIONS] == ["previous", "production", "unapproved"]


def test_a_rollback_takes_the_approval_away(root: Path) -> None:
    """Somebody had a reason to take that version back."""
    change(root, "promote", "1.0.0")
    change(root, "promote", "1.1.0")
    change(root, "rollback", "1.0.0")

    assert [approval(root, version) for version in VERSIONS] == ["production", "unapproved", "unapproved"]


def test_other_bytes_under_a_version_that_was_approved_are_not(root: Path) -> None:
    """The history names the digest that was promoted."""
    change(root, "promote", "1.0.0", digest="0" * 64)
    change(root, "promote", "1.1.0")

    assert approval(root, "1.0.0") == "unapproved"


def test_a_registry_without_any_promotion_approves_nothing(root: Path) -> None:
    """The folders alone look like a registry that somebody copied by hand."""
    assert approval(root, "1.1.0") == "unapproved"


def test_the_folder_of_a_version_is_judged_by_the_registry_around_it(root: Path, tmp_path: Path) -> None:
    """A longer path, or a link, is no way past the registry."""
    change(root, "promote", "1.0.0")
    (tmp_path / "current").symlink_to(root / "small" / "2.0.0")

    assert approval(root / "small" / "1.0.0") == "production"
    assert approval(root / "small" / "2.0.0") == "unapproved"
    assert approval(tmp_path / "current") == "unapproved"


def test_a_candidate_that_nobody_promoted_is_not_approved(root: Path) -> None:
    """It passed its gates, and nobody decided."""
    (root / "small" / "candidate").write_text("2.0.0\n", encoding="utf-8")

    assert approval(root / "small" / "2.0.0") == "unapproved"


def test_the_text_names_what_is_in_production_and_both_ways_on(root: Path) -> None:
    """Promote it, or say so in words."""
    change(root, "promote", "1.0.0")

    assert refusal(root, "2.0.0") == (
        f"{root}/small/2.0.0 is not served: version 2.0.0 of small is not in production (1.0.0 is); "
        f"promote it with 'python -m training promote small 2.0.0 --registry {root}', or say that it is to be served "
        "all the same: allow_unapproved: true (--allow_unapproved true, MODEL_SERVER_ALLOW_UNAPPROVED=true)"
    )


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b"{", "line 2, is no change of production"),
        (b'{"action":"approve","version":"1.0.0","digest":"' + b"0" * 64 + b'"}', "action: Input should be"),
        (b'{"action":"promote","version":"../x","digest":"' + b"0" * 64 + b'"}', "version: String should match"),
        (b'{"action":"promote","version":"1.0.0"}', "digest: Field required"),
    ],
    ids=["cut off", "other action", "path for a version", "no digest"],
)
def test_a_damaged_history_approves_nothing_and_stops_nothing(root: Path, line: bytes, words: str) -> None:
    """What is in production goes on; for any other version the line is named."""
    change(root, "promote", "1.1.0")
    with (root / "small" / "history.jsonl").open("ab") as file:
        file.write(line + b"\n")

    assert approval(root) == "production"
    with pytest.raises(BundleTampered, match=words):
        approval(root, "1.0.0")


# --- by itself --------------------------------------------------------------------------------------------------------


def test_of_a_bundle_by_itself_nobody_knows_who_approved(root: Path, tmp_path: Path) -> None:
    """KServe's storage initializer mounts exactly one; it is served, and said to be unknown."""
    shutil.copytree(root / "small" / "2.0.0", tmp_path / "mnt" / "models")

    assert approval(tmp_path / "mnt" / "models") == "unknown"
    assert approval(tmp_path / "mnt" / "models", "2.0.0") == "unknown"


# --- gates ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("metrics", "words"),
    [
        (gated(PASSED, FAILED), "its gates did not pass (test_metrics.roc_auc floor: FAIL); train a version whose"),
        (gated({"name": "beat", "status": "INCONCLUSIVE"}), "its gates did not pass (beat: INCONCLUSIVE)"),
        (gated(), "no gate was asked when it was made"),
    ],
    ids=["failed", "inconclusive", "none asked"],
)
def test_a_bundle_whose_gates_did_not_pass_is_refused_wherever_it_lies(
    tmp_path: Path, metrics: dict[str, Any], words: str
) -> None:
    """By itself and, whatever the pointer says, in production as well; no evidence is no pass."""
    write(tmp_path / "alone", "1.0.0", metrics)
    write(tmp_path / "registry" / "small" / "1.0.0", "1.0.0", metrics)
    change(tmp_path / "registry", "promote", "1.0.0")

    assert approval(tmp_path / "alone") == approval(tmp_path / "registry") == "gates-failed"
    assert words in refusal(tmp_path / "alone")
    assert words in refusal(tmp_path / "registry")


@pytest.mark.parametrize(
    "metrics",
    [
        {},
        {"gates": {"checks": [{"name": "floor", "status": "pass"}]}},
        {"gates": {"checks": [{"status": "PASS"}]}},
        b"{",
    ],
    ids=["no gates", "other word", "no name", "no JSON"],
)
def test_metrics_that_do_not_say_how_the_gates_ended_are_refused(tmp_path: Path, metrics: Any) -> None:
    """Also where an operator allows what is not approved: nobody can tell what that would be."""
    verified = write(tmp_path / "alone", "1.0.0", metrics)

    with pytest.raises(BundleTampered, match=r"metrics\.json of .* does not say how the gates ended"):
        admit(verified, None, allow_unapproved=True)


def _alone_and_failed(folder: Path) -> Path:
    return write(folder / "alone", "1.0.0", gated(FAILED)).directory


def _never_promoted(folder: Path) -> Path:
    write(folder / "registry" / "small" / "1.0.0", "1.0.0", gated(PASSED))
    (folder / "registry" / "small" / "candidate").write_text("1.0.0\n", encoding="utf-8")
    return folder / "registry" / "small" / "1.0.0"


@pytest.mark.parametrize(
    ("make", "word"), [(_alone_and_failed, "gates-failed"), (_never_promoted, "unapproved")], ids=["gates", "promotion"]
)
def test_an_operator_may_say_so_in_words_and_the_verdict_stays(
    tmp_path: Path, make: Callable[[Path], Path], word: str
) -> None:
    """It is served, and what it is can still be read."""
    directory = make(tmp_path)
    verdict = admit(bundle.verify(directory), sources.record_of(directory, str(directory)), allow_unapproved=True)

    assert verdict.approval == word
    assert not verdict.is_served
