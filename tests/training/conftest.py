"""Trained models that several tests of training look at; none of them is changed by a test."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.bundles.visits import write_config
from training import data
from training.__main__ import main
from training.config import load
from training.train import train

if TYPE_CHECKING:
    from pathlib import Path

    from training.evaluate import Trained
    from training.figures import Figures


@pytest.fixture(scope="session")
def shop_config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The YAML of the shop, with its table beside it."""
    return write_config(tmp_path_factory.mktemp("shop"))


@pytest.fixture(scope="session")
def shop_model(shop_config: Path) -> tuple[Trained, Figures]:
    """The shop's model with its figures, in memory."""
    config = load(shop_config)
    return train(config, data.load(config, shop_config.parent), lambda _: None)


@pytest.fixture(scope="session")
def shop_registry(shop_config: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A registry with the shop's model as 1.0.0, not in production; read only."""
    root = tmp_path_factory.mktemp("shop-registry")
    assert main(["run", str(shop_config), "--registry", str(root), "--git-commit", "c0ffee"]) == 0
    return root
