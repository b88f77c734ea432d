"""A registry with the deliberately slow model, made as any user would make it: by `training adopt`."""

from __future__ import annotations

import csv
import subprocess
import sys
from typing import TYPE_CHECKING

import joblib
import numpy as np
import pytest

from tests.bundles.estimators import Held
from tests.checkout import ROOT

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="session")
def slow_registry(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A registry whose model ``slow`` takes as many seconds as the feature ``delay_s`` says, and opens when allowed."""
    folder = tmp_path_factory.mktemp("slow")
    labels = np.random.default_rng(0).normal(size=60)
    rows = np.column_stack([labels, np.zeros(60)])
    joblib.dump(Held().fit(rows), folder / "slow.joblib")
    with (folder / "sample.csv").open("w", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["value", "delay_s", "label"])
        writer.writerows([*row, label] for row, label in zip(rows.tolist(), labels.tolist(), strict=True))
    subprocess.run(_adopt(folder), cwd=ROOT, check=True, capture_output=True)
    return folder / "registry"


def _adopt(folder: Path) -> list[str]:
    files = ["--model", str(folder / "slow.joblib"), "--sample", str(folder / "sample.csv"), "--target", "label"]
    where = ["--name", "slow", "--version", "1.0.0", "--registry", str(folder / "registry"), "--promote"]
    return [sys.executable, "-m", "training", "adopt", *files, *where]


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the processes' output goes."""
    return tmp_path_factory.mktemp("process")
