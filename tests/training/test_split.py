"""The split: no row on both sides, groups whole, time forward, on every level, and the same each time."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from model_server.errors import BugError
from tests.bundles.visits import visits, write_config
from training import data
from training.config import load
from training.errors import BadData
from training.split import split

if TYPE_CHECKING:
    from pathlib import Path

    from training.data import Table
    from training.split import Split

RANDOM = {"by": "random", "test_share": 0.25, "seed": 1}
GROUP = {"by": "group", "column": "customer", "test_share": 0.25, "seed": 1}
TIME = {"by": "time", "column": "day", "test_share": 0.25}


def _split(folder: Path, rule: dict[str, Any], **changes: Any) -> tuple[Table, Split]:
    path = write_config(folder, {"split": rule, **changes})
    config = load(path)
    table = data.load(config, path.parent)
    return table, split(table, config)


@pytest.mark.parametrize(
    "rule", [RANDOM, RANDOM | {"stratify": False}, GROUP, TIME], ids=["random", "plain", "group", "time"]
)
def test_every_row_is_on_one_side_and_folds_lie_inside_training(tmp_path: Path, rule: dict[str, Any]) -> None:
    """A test row that helps to fit or to choose is no test row."""
    table, parts = _split(tmp_path, rule)
    assert sorted([*parts.train.tolist(), *parts.test.tolist()]) == list(range(table.n_rows))
    assert len(parts.folds) == 3
    for fitted_on, scored_on in parts.folds:
        assert not set(fitted_on.tolist()) & set(scored_on.tolist())
        assert max([*fitted_on, *scored_on]) < len(parts.train)


@pytest.mark.parametrize("rule", [RANDOM, GROUP, TIME], ids=["random", "group", "time"])
def test_equal_tables_split_equally(tmp_path: Path, rule: dict[str, Any]) -> None:
    """The split is part of what a training is made from."""
    one, other = _split(tmp_path / "a", rule)[1], _split(tmp_path / "b", rule)[1]
    assert one.train.tolist() == other.train.tolist()
    assert [[part.tolist() for part in fold] for fold in one.folds] == [
        [part.tolist() for part in fold] for fold in other.folds
    ]


def test_a_random_split_keeps_the_class_shares(tmp_path: Path) -> None:
    """A rare class is tested in its share."""
    table, parts = _split(tmp_path, RANDOM)
    shares = [np.mean(table.target[rows] == "yes") for rows in (parts.train, parts.test)]
    assert shares[0] == pytest.approx(shares[1], abs=0.02)


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_no_group_is_on_both_sides(tmp_path: Path, task: str) -> None:
    """A customer who was learned by heart must not be asked about."""
    rows = [row | {"bought": int(row["bought"] == "yes")} for row in visits()]
    path = write_config(tmp_path, {"split": GROUP, "target.task": task}, rows)
    table = data.load(load(path), path.parent)
    parts = split(table, load(path))
    groups = np.asarray(table.group)
    assert not set(groups[parts.train]) & set(groups[parts.test])
    for fitted_on, scored_on in parts.folds:
        assert not set(groups[parts.train[fitted_on]]) & set(groups[parts.train[scored_on]])


def test_every_training_time_is_before_every_test_time(tmp_path: Path) -> None:
    """Nobody learns from tomorrow; rows of one day stay together."""
    table, parts = _split(tmp_path, TIME)
    times = np.asarray(table.time)
    assert times[parts.train].max() < times[parts.test].min()
    assert len(parts.test) == pytest.approx(0.25 * table.n_rows, abs=5)
    for fitted_on, scored_on in parts.folds:
        assert times[parts.train[fitted_on]].max() < times[parts.train[scored_on]].min()


@pytest.mark.parametrize(
    ("rule", "changes", "words"),
    [
        pytest.param(TIME | {"column": "city"}, {"preprocessing": []}, "city", id="time column with gaps"),
        pytest.param(
            RANDOM, {"cross_validation.folds": 50, "target.column": "day"}, "cannot be split", id="rare classes"
        ),
        pytest.param(GROUP | {"column": "bought"}, {}, "cannot be split", id="two groups for three folds"),
    ],
)
def test_a_table_that_cannot_be_split_so_is_told(
    tmp_path: Path, rule: dict[str, Any], changes: dict[str, Any], words: str
) -> None:
    """The text names the table and what is missing for the split."""
    with pytest.raises(BadData, match=words):
        _split(tmp_path, rule, **changes)


def test_times_may_be_numbers(tmp_path: Path) -> None:
    """A year, or a counter that only grows."""
    path = write_config(tmp_path, {"split": TIME}, [row | {"day": index // 4} for index, row in enumerate(visits())])
    table = data.load(load(path), path.parent)
    parts = split(table, load(path))
    assert np.asarray(table.time)[parts.train].max() < np.asarray(table.time)[parts.test].min()


def test_a_table_without_its_groups_is_our_own_mistake(tmp_path: Path) -> None:
    """The loader reads the column that splits; a table from elsewhere must bring it as well."""
    path = write_config(tmp_path, {"split": GROUP})
    table = data.load(load(path), path.parent)
    with pytest.raises(BugError):
        split(replace(table, group=None), load(path))


@pytest.mark.parametrize(
    ("first", "place"), [(230, "the training part"), (100, "what fold 1 is fitted on")], ids=["training", "fold"]
)
def test_a_class_that_training_would_never_see_is_told(tmp_path: Path, first: int, place: str) -> None:
    """A model without the class would answer probabilities of the wrong classes."""
    rows = [row | {"bought": "later" if index >= first else row["bought"]} for index, row in enumerate(visits())]
    path = write_config(tmp_path, {"split": TIME}, rows)
    with pytest.raises(BadData, match=f"class 'later' has no row in {place}"):
        split(data.load(load(path), path.parent), load(path))


def test_one_moment_cannot_be_cut(tmp_path: Path) -> None:
    """A time split needs a before and an after."""
    path = write_config(tmp_path, {"split": TIME}, [row | {"day": "2026-01-01"} for row in visits()])
    with pytest.raises(BadData, match="too few distinct times"):
        split(data.load(load(path), path.parent), load(path))
