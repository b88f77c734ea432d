"""The parity record: made with every bundle, shown by inspect, and enough for a server to use compiled kernels."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import joblib
import pytest
from sklearn.datasets import load_diabetes
from sklearn.ensemble import RandomForestRegressor

from model_server import compiled
from model_server.bundle import open_bundle, verify
from model_server.manifest import FileRecord
from model_server.parity.record import PARITY, Parity, recorded
from model_server.predictor import Predictor
from tests.bundles.writing import rewrite_manifest
from tests.model_server import oracle
from training.__main__ import main

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

#: What each example's record says of the kernels' sums.
EXACT = {"breast-cancer": True, "churn": True, "diabetes": True, "iris": False}


@pytest.mark.parametrize("name", EXACT)
def test_every_example_is_served_by_compiled_kernels(name: str, registry: Path) -> None:
    """Trees with the same bits, a logistic regression within 1e-12; nothing is left to scikit-learn."""
    opened = open_bundle(verify(registry / name / "1.0.0"))
    record = recorded(opened.verified)
    chosen, why = compiled.choose(Predictor(opened))

    assert record is not None
    assert (record.used, record.left) == (True, ())
    assert record.rows["golden"] == 16
    assert record.rows["sample"] >= 100
    assert bool(record.splits_compared) is EXACT[name]
    assert (record.tolerance == 0.0) is EXACT[name]
    assert (chosen.model.name, why) == ("compiled", record.reason)


def test_compiled_kernels_answer_the_examples_as_scikit_learn_does(registry: Path) -> None:
    """All golden rows, at once and one by one."""
    for name, exact in EXACT.items():
        opened = open_bundle(verify(registry / name / "1.0.0"))
        plain = Predictor(opened)
        fast, _ = compiled.choose(plain)
        frame = plain.golden_frame()
        for rows in (slice(None), *(slice(at, at + 1) for at in range(frame.n_rows))):
            expected, actual = plain.predict(frame.take(rows)), fast.predict(frame.take(rows))
            left, right = (
                part.values if part.values is not None else part.probabilities for part in (expected, actual)
            )
            assert left is not None
            assert right is not None
            assert oracle.close(left, right, 0.0 if exact else 1e-12)


def test_inspect_shows_the_record(shop_registry: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Who answers, why, what was compared and how far apart it was."""
    assert main(["inspect", str(shop_registry / "shop" / "1.0.0")]) == 0
    shown = " ".join(capsys.readouterr().out.split())

    assert "Predictor served by compiled kernels because within 1e-12 of scikit-learn" in shown
    assert "sums in BLAS LogisticRegression" in shown
    assert "at most 1e-12 is admitted" in shown


@pytest.fixture(name="changed")
def _changed(shop_registry: Path, tmp_path: Path) -> Callable[[bytes | None], Path]:
    """Copy the shop's bundle and give it another record, or none."""

    def change(record: bytes | None) -> Path:
        folder = tmp_path / "1.0.0"
        shutil.copytree(shop_registry / "shop" / "1.0.0", folder)
        folder.joinpath(PARITY).unlink()
        if record is not None:
            folder.joinpath(PARITY).write_bytes(record)

        def listed(content: Any) -> None:
            del content["files"][PARITY]
            if record is not None:
                content["files"][PARITY] = FileRecord.of(record).model_dump()

        rewrite_manifest(folder, listed)
        return folder

    return change


def test_a_bundle_from_before_there_were_records_is_served_by_scikit_learn(
    changed: Callable[[bytes | None], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """It still opens, and inspect says so."""
    folder = changed(None)

    assert main(["inspect", str(folder)]) == 0
    assert "scikit-learn: the bundle was made before there was a parity record" in capsys.readouterr().out
    assert compiled.choose(Predictor(open_bundle(verify(folder))))[0].model.name == "scikit-learn"


def test_inspect_shows_why_scikit_learn_answers(
    changed: Callable[[bytes | None], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """Whoever wonders at a slow model finds the reason in its bundle."""
    folder = changed(Parity(used=False, reason="cannot be compiled: it is odd").model_dump_json().encode())

    assert main(["inspect", str(folder)]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "Predictor served by scikit-learn because cannot be compiled: it is odd" in shown
    assert "largest difference" not in shown


def test_inspect_of_a_record_that_is_none_says_so(
    changed: Callable[[bytes | None], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """A record of a later format, for example."""
    folder = changed(b'{"format": 2}')

    assert main(["inspect", str(folder)]) == 0
    assert "scikit-learn: the parity record cannot be read" in " ".join(capsys.readouterr().out.split())


def test_an_adopted_model_gets_a_record(tmp_path: Path) -> None:
    """It is compared on its sample, by the names it was fitted on."""
    X, y = load_diabetes(return_X_y=True, as_frame=True, scaled=False)
    joblib.dump(RandomForestRegressor(5, random_state=0).fit(X, y), tmp_path / "model.pkl")
    X.assign(y=y).to_csv(tmp_path / "sample.csv", index=False)
    files = ["--model", str(tmp_path / "model.pkl"), "--sample", str(tmp_path / "sample.csv"), "--target", "y"]
    assert main(["adopt", *files, "--name", "plain", "--version", "0.1.0", "--registry", str(tmp_path / "r")]) == 0
    record = recorded(verify(tmp_path / "r" / "plain" / "0.1.0"))

    assert record is not None
    assert (record.used, record.largest_difference) == (True, 0.0)
    assert record.rows["sample"] == len(X)
    assert record.splits_compared > 100
