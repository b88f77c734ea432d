"""The configuration: every mistake names file, key path and rule; equal configurations hash equally."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.bundles.visits import CONFIG, changed
from training.config import load
from training.errors import BadConfig

EXAMPLES = sorted((Path(__file__).resolve().parents[2] / "training" / "configs").glob("*.yaml"))


def _written(folder: Path, raw: Any) -> Path:
    path = folder / "model.yaml"
    path.write_text(raw if isinstance(raw, str) else yaml.safe_dump(raw), encoding="utf-8")
    return path


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_the_examples_are_valid_and_named_like_their_files(path: Path) -> None:
    """`make run` finds the configuration of a model by its name."""
    assert load(path).name == path.stem.replace("_", "-")


def test_equal_content_hashes_equally_whatever_the_layout(tmp_path: Path) -> None:
    """A comment or another order of keys is no other training."""
    one = load(_written(tmp_path, CONFIG)).sha256
    other = load(_written(tmp_path, "# a comment\n" + yaml.safe_dump(CONFIG, sort_keys=False, indent=6))).sha256
    assert one == other


def test_a_given_version_replaces_the_file_s_and_counts_in_the_hash(tmp_path: Path) -> None:
    """Two versions are two bundles."""
    path = _written(tmp_path, CONFIG)
    assert load(path, "1.2.0").version == "1.2.0"
    assert load(path, "1.2.0").sha256 != load(path).sha256


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        pytest.param({"colour": "red"}, ["colour", "Extra inputs"], id="unknown key"),
        pytest.param({"gates.floor": 1}, ["gates.floor", "Extra inputs"], id="unknown nested key"),
        pytest.param({"name": "My Shop"}, ["name", "pattern"], id="bad name"),
        pytest.param({"version": 1.0}, ["version", "string"], id="version is a number"),
        pytest.param({"version": "1.0"}, ["version", "pattern"], id="version is not semantic"),
        pytest.param({"data": {"kind": "sql"}}, ["data", "kind"], id="unknown source"),
        pytest.param({"data": {"kind": "builtin", "name": "titanic"}}, ["data.builtin.name"], id="unknown table"),
        pytest.param({"split": {"test_share": 0.2}}, ["split", "by"], id="split without a rule"),
        pytest.param({"split.test_share": 1.5}, ["split.random.test_share", "less than 1"], id="share too large"),
        pytest.param({"estimator.use": "LogisticRegression"}, ["estimator.use", "pattern"], id="no import path"),
        pytest.param({"target.column": "age"}, ["target", "must not be a feature"], id="target is a feature"),
        pytest.param({"target.task": "ranking"}, ["target.task"], id="unknown task"),
        pytest.param({"target.classes": ["yes", "no"]}, ["target", "ascending"], id="classes out of order"),
        pytest.param({"target.classes": [1, "no"]}, ["target", "all integers or all strings"], id="mixed classes"),
        pytest.param(
            {"target.classes": ["no", "yes"], "target.class_names": ["no"]}, ["one name a class"], id="too few names"
        ),
        pytest.param(
            {"target.classes": ["no", "yes"], "target.positive": "maybe"}, ["positive", "one of"], id="strange positive"
        ),
        pytest.param(
            {"target.task": "regression", "target.threshold": 0.5}, ["target", "no threshold"], id="threshold"
        ),
        pytest.param({"features.0.name": "basket"}, ["features", "repeated: basket"], id="repeated feature"),
        pytest.param({"features.0.dtype": "date"}, ["features.0.dtype"], id="unknown dtype"),
        pytest.param({"preprocessing.0.columns": ["shoe"]}, ["preprocessing", "'shoe'", "not a feature"], id="column"),
        pytest.param({"preprocessing.0.dtypes": ["int"]}, ["preprocessing.0", "not both"], id="two selectors"),
        pytest.param({"preprocessing.1.name": "numbers"}, ["preprocessing", "repeated: numbers"], id="repeated group"),
        pytest.param({"report.slices": ["shoe"]}, ["report.slices", "'shoe'"], id="unknown slice"),
        pytest.param({"cross_validation.folds": 1}, ["cross_validation.folds", "greater"], id="one fold"),
    ],
)
def test_a_mistake_names_file_key_and_rule(tmp_path: Path, changes: dict[str, Any], words: list[str]) -> None:
    """Whoever wrote the YAML finds the line to change."""
    path = _written(tmp_path, changed(changes))
    with pytest.raises(BadConfig) as caught:
        load(path)
    assert all(word in str(caught.value) for word in [str(path), *words]), str(caught.value)


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        pytest.param("name: [", "is not YAML", id="broken YAML"),
        pytest.param("- a\n- b\n", "must be a mapping", id="a list"),
        pytest.param("", "must be a mapping", id="empty"),
        pytest.param("1: a\n2: b\n", "key must be str", id="numbers for keys"),
    ],
)
def test_a_file_that_is_no_configuration_is_named(tmp_path: Path, text: str, rule: str) -> None:
    """A wrong file is a mistake like any other, not a traceback."""
    with pytest.raises(BadConfig, match=rule):
        load(_written(tmp_path, text))


def test_an_absent_file_is_named_and_examples_are_shown(tmp_path: Path) -> None:
    """The first mistake of a newcomer is a path."""
    with pytest.raises(BadConfig, match=r"nothing\.yaml: cannot be read .*training/configs"):
        load(tmp_path / "nothing.yaml")


def test_the_primary_metric_follows_the_task(tmp_path: Path) -> None:
    """A configuration that names no metric is judged by the usual one."""
    regression = changed({"target.task": "regression"})
    assert load(_written(tmp_path, CONFIG)).primary == "roc_auc"
    assert load(_written(tmp_path, regression)).primary == "r2"
    assert load(_written(tmp_path, changed({"gates.primary": "f1"}))).primary == "f1"
