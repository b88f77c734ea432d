"""The command `run`: from a YAML to a bundle, and every way in which it must refuse."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from model_server import bundle
from tests.bundles.visits import visits, write_config
from training.__main__ import main
from training.figures import Figures
from training.registry import Registry

if TYPE_CHECKING:
    from pathlib import Path


def _run(folder: Path, *words: str, changes: dict[str, Any] | None = None, rows: Any = None) -> tuple[int, Path]:
    path = write_config(folder, changes, rows)
    return main(["run", str(path), "--registry", str(folder / "registry"), *words]), folder / "registry"


def test_a_stranger_s_csv_needs_only_a_yaml(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Trained, measured, written, promoted; the report says what is where."""
    code, root = _run(tmp_path, "--promote", "--who", "ann", "--why", "first one")
    told = capsys.readouterr().out
    assert code == 0
    assert all(
        word in told for word in ("cross-validating", "roc_auc", "PASS", "Digest", "shop 1.0.0 is in production")
    )
    assert _run(tmp_path)[0] == 0
    assert "Put it into production" not in capsys.readouterr().out
    registry = Registry(root)
    assert (registry.production("shop"), registry.candidate("shop")) == ("1.0.0", "1.0.0")
    (change,) = registry.history("shop")
    assert (change.who, change.why, change.previous) == ("ann", "first one", None)
    assert change.digest == bundle.verify(root / "shop" / "1.0.0").digest


@pytest.mark.parametrize(
    ("variables", "who"),
    [
        ({"USER": "ann"}, "ann"),
        ({"USER": "", "LOGNAME": "bob"}, "bob"),
        ({"USER": "", "LOGNAME": ""}, f"uid {os.getuid()}"),
    ],
    ids=["user", "login", "nameless"],
)
def test_who_promotes_is_the_user_unless_told(
    shop_registry: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], who: str
) -> None:
    """Every change of production has a name, in a container without names as well."""
    shutil.copytree(shop_registry, tmp_path / "registry")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert main(["promote", "shop", "1.0.0", "--registry", str(tmp_path / "registry")]) == 0
    assert Registry(tmp_path / "registry").history("shop")[0].who == who


@pytest.mark.parametrize("rule", [{"by": "group", "column": "customer"}, {"by": "time", "column": "day"}])
def test_group_and_time_splits_run_to_the_end(tmp_path: Path, rule: dict[str, Any]) -> None:
    """The other two ways to set rows apart make bundles as well."""
    code, root = _run(tmp_path, changes={"split": rule})
    assert code == 0
    parts = (root / "shop" / "1.0.0" / "evidence" / "split.csv").read_text(encoding="utf-8").splitlines()
    assert parts[0] == "row_id,part"
    assert len(parts) == len(visits()) + 1


def test_a_regression_on_a_table_of_one_s_own(tmp_path: Path) -> None:
    """Another task, another metric, the same command."""
    changes = {
        "target": {"column": "basket", "task": "regression", "label_definition": "francs spent", "unit": "francs"},
        "gates": {"primary": "rmse", "ceilings": {"test_metrics.rmse": 100}, "beat": []},
        "estimator": {"use": "sklearn.linear_model.Ridge"},
        "features": [{"name": "age", "dtype": "int"}, {"name": "member", "dtype": "bool"}],
        "preprocessing": [],
        "report.pictures": True,
    }
    rows = [
        row | {"age": row["age"] or 40, "basket": 0.0 if row["basket"] == "NA" else row["basket"]} for row in visits()
    ]
    code, root = _run(tmp_path, changes=changes, rows=rows)
    assert code == 0
    assert (root / "shop" / "1.0.0" / "evidence" / "residuals.png").read_bytes().startswith(b"\x89PNG")


def test_the_same_inputs_again_are_recognised_and_nothing_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Running twice is harmless: the bundle is there."""
    _, root = _run(tmp_path)
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    code, _ = _run(tmp_path)
    assert code == 0
    assert "is there already, made from the same inputs" in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*")} == before


def test_other_inputs_under_the_same_version_are_refused_and_the_next_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A version means one model for ever."""
    _, root = _run(tmp_path)
    kept = bundle.verify(root / "shop" / "1.0.0").digest
    code, _ = _run(tmp_path, changes={"estimator.params.C": 0.5})
    assert code == 1
    assert "--version 1.0.1" in capsys.readouterr().err
    assert bundle.verify(root / "shop" / "1.0.0").digest == kept


def test_bump_takes_the_next_free_version_once(tmp_path: Path) -> None:
    """A changed model gets a new version, and the same change does not get another."""
    root = _run(tmp_path)[1]
    assert _run(tmp_path, "--bump", changes={"estimator.params.C": 0.5})[0] == 0
    assert _run(tmp_path, "--bump", changes={"estimator.params.C": 0.5})[0] == 0
    assert _run(tmp_path, "--bump", changes={"estimator.params.C": 0.25})[0] == 0
    assert Registry(root).versions("shop") == ["1.0.0", "1.0.1", "1.0.2"]


def test_a_version_can_be_given(tmp_path: Path) -> None:
    """The command line wins over the file."""
    code, root = _run(tmp_path, "--version", "2.0.0-rc.1")
    assert code == 0
    assert Registry(root).versions("shop") == ["2.0.0-rc.1"]


def test_shuffled_labels_fail_their_gate_with_metric_value_and_limit(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A model of noise does not enter the registry, and the exit code stops the build."""
    rows = visits()
    shuffled = [row | {"bought": rows[(index * 89) % len(rows)]["bought"]} for index, row in enumerate(rows)]
    code, root = _run(tmp_path, rows=shuffled)
    told = capsys.readouterr().err
    assert code == 1
    assert "gates-failed: shop 1.0.0 is not good enough" in told
    assert "test_metrics.roc_auc floor: observed 0." in told
    assert "limit 0.6" in told
    assert "nothing was written" in told
    assert Registry(root).versions("shop") == []


def test_a_rejected_model_can_be_kept_to_look_at_but_never_promoted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its bundle is whole, its verdict is in it, and promotion reads it."""
    strict = {"gates.floors": {"test_metrics.roc_auc": 0.99}}
    code, root = _run(tmp_path, "--keep-rejected", "--promote", changes=strict)
    assert code == 1
    assert Registry(root).versions("shop") == ["1.0.0"]
    assert Registry(root).candidate("shop") is None
    figures = Figures.from_bytes(bundle.verify(root / "shop" / "1.0.0").read("metrics.json"))
    assert "FAIL" in {check.status for check in figures.gates.checks}
    capsys.readouterr()
    assert main(["promote", "shop", "1.0.0", "--registry", str(root)]) == 1
    told = capsys.readouterr().err
    assert "not-approved: shop 1.0.0 is not promoted, nothing stays in production" in told
    assert "limit 0.99" in told
    assert Registry(root).production("shop") is None
    assert _run(tmp_path, changes=strict)[0] == 1


def test_a_model_worse_than_production_is_refused_at_training_and_at_promotion(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The last approved bundle is the measure, whatever the absolute floor says."""
    _run(tmp_path, "--promote")
    weak = {
        "estimator": {"use": "sklearn.tree.DecisionTreeClassifier", "params": {"max_depth": 1, "random_state": 0}},
        "gates.floors": {},
        "gates.beat": [],
    }
    code, root = _run(tmp_path, "--version", "1.1.0", changes=weak)
    told = capsys.readouterr().err
    assert code == 1
    assert "test roc_auc against 1.0.0 in production" in told
    assert "worse than 1.0.0 by more than gates.max_drop 0.01" in told
    assert _run(tmp_path, "--version", "1.1.0", "--keep-rejected", changes=weak)[0] == 1
    assert main(["promote", "shop", "1.1.0", "--registry", str(root)]) == 1
    assert Registry(root).production("shop") == "1.0.0"


def test_wall_clock_values_are_in_run_json_alone(shop_registry: Path) -> None:
    """The hashed files hold no time and no host, so equal inputs give equal bytes."""
    folder = shop_registry / "shop" / "1.0.0"
    facts = orjson.loads((folder / "run.json").read_bytes())
    assert {"started_at", "finished_at", "train_duration_s", "host", "gates"} == facts.keys()
    for name in bundle.verify(folder).manifest.files:
        content = (folder / name).read_bytes()
        assert facts["started_at"][:13].encode() not in content, name


def test_the_manifest_answers_where_a_model_comes_from(shop_registry: Path) -> None:
    """Name, version, data, code, lock, label, steps and parameters, with nothing empty."""
    manifest = bundle.verify(shop_registry / "shop" / "1.0.0").manifest
    lineage = manifest.lineage
    assert (manifest.name, manifest.version, lineage.git_commit, lineage.git_dirty) == (
        "shop",
        "1.0.0",
        "c0ffee",
        False,
    )
    assert (lineage.dataset.name, lineage.dataset.n_rows) == ("visits.csv", len(visits()))
    assert lineage.estimator == "sklearn.linear_model.LogisticRegression"
    assert lineage.hyperparameters["max_iter"] == 500
    assert lineage.label_definition.startswith("yes = ")
    assert lineage.preprocessing == (
        "numbers: SimpleImputer then StandardScaler on age, basket",
        "flags: as they are on all bool",
        "places: SimpleImputer then OneHotEncoder on all string",
    )
    assert {"python", "scikit-learn", "numpy", "joblib"} <= manifest.libraries.keys()
    assert len(lineage.lock_sha256) == 64


@pytest.mark.parametrize(
    ("words", "ending"),
    [
        pytest.param(["run", "absent.yaml"], (2, "bad-config: absent.yaml: cannot be read"), id="no file"),
        pytest.param(["verify", "absent"], (1, "bundle-not-found: no bundle at absent"), id="no bundle"),
        pytest.param(["promote", "absent", "1.0.0"], (1, "bundle-not-found: no bundle at"), id="no model"),
        pytest.param(["rollback", "absent"], (1, "not-approved: absent has no earlier"), id="nothing to go back to"),
    ],
)
def test_a_mistake_is_one_clear_line_and_an_exit_code(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    ending: tuple[int, str],
) -> None:
    """Nobody who mistypes a name gets a traceback."""
    monkeypatch.chdir(tmp_path)
    code, told = ending
    assert main(words) == code
    err = capsys.readouterr().err
    assert told in err
    assert err.count("\n") == 1


def test_a_registry_that_cannot_be_written_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file where a folder should be, a full disk, a missing right: one line, with the path."""
    path = write_config(tmp_path)
    assert main(["run", str(path), "--registry", str(tmp_path / "visits.csv")]) == 2
    assert re.search(r"^file-error: .*visits\.csv.*: (Not a directory|File exists)$", capsys.readouterr().err)


def _hear_ctrl_c() -> None:
    # A shell starts its background jobs deaf to it, tests among them, and children inherit that.
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_ctrl_c_ends_a_training_without_a_traceback(tmp_path: Path) -> None:
    """A long training is often stopped."""
    path = write_config(tmp_path, {"report.bootstrap_resamples": 100_000})
    words = [sys.executable, "-m", "training", "run", str(path), "--registry", str(tmp_path / "registry")]
    with subprocess.Popen(
        words,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=_hear_ctrl_c,  # noqa: PLW1509 - it only sets a signal's default
    ) as process:
        assert process.stdout is not None
        while "resampling" not in process.stdout.readline():
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=60)
    assert (process.returncode, told) == (130, "interrupted: nothing was written that is not whole\n")
    assert not (tmp_path / "registry").exists()


@pytest.mark.parametrize("command", ["", "run", "adopt", "promote", "rollback", "list", "verify", "inspect", "export"])
def test_every_command_explains_itself(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    """`--help` of each is there and says what it does."""
    with pytest.raises(SystemExit) as ended:
        main([*([command] if command else []), "--help"])
    assert ended.value.code == 0
    assert "usage: python -m training" in capsys.readouterr().out
