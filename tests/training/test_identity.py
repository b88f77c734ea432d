"""Byte identity: equal inputs give equal files, in other folders, other processes and with other hash seeds."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from model_server.bundle import RUN
from tests.bundles.visits import write_config

#: Trees are arrays of structures with padding between fields, which a pickle would carry along.
TREES = {"use": "sklearn.ensemble.GradientBoostingClassifier", "params": {"n_estimators": 20, "random_state": 0}}

ROOT = Path(__file__).resolve().parents[2]


def _checkout(folder: Path) -> Path:
    # Copies of the code in folders of other names: a path that crept into a file would differ.
    for package in ("model_server", "training"):
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def _train(checkout: Path, config: Path, seed: str, threads: str) -> subprocess.Popen[str]:
    words = [sys.executable, "-m", "training", "run", str(config), "--registry", "artifacts", "--git-commit", "c0ffee"]
    environment = {**os.environ, "PYTHONHASHSEED": seed, "OPENBLAS_NUM_THREADS": threads, "PYTHONPATH": str(checkout)}
    return subprocess.Popen(
        words, cwd=checkout, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


@pytest.mark.parametrize("model", ["iris", "shop"])
def test_the_same_training_elsewhere_gives_the_same_bytes(tmp_path: Path, model: str) -> None:
    """Every hashed file, pictures and the pickle included, so that a digest names a model and not a run."""
    first = _checkout(tmp_path / "a")
    second = shutil.copytree(first, tmp_path / "another-place" / "b")
    config = Path("training/configs") / f"{model}.yaml"
    if model == "shop":
        for checkout in (first, second):
            write_config(checkout / "mine", {"estimator": TREES})
        config = Path("mine/shop.yaml")
    runs = [_train(first, config, "1", "1"), _train(second, config, "2", "2")]
    for run in runs:
        told, _ = run.communicate(timeout=120)
        assert run.returncode == 0, told
    folders = [checkout / "artifacts" / model / "1.0.0" for checkout in (first, second)]
    contents = [
        {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        for folder in folders
    ]
    for content in contents:
        content.pop(Path(RUN))
    assert contents[0].keys() == contents[1].keys()
    assert [name for name in contents[0] if contents[0][name] != contents[1][name]] == []
    assert {"pipeline.joblib", "manifest.json", "metrics.json", "reference.json", "golden.json", "card.md"} <= {
        str(name) for name in contents[0]
    }


def _hashed_files(folder: Path) -> dict[Path, bytes]:
    return {
        path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.name != RUN
    }
