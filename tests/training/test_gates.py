"""Gates: what must fail fails, with metric, value, limit and what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from model_server.checks import Status
from tests.bundles.visits import changed, visits, write_config
from training import data, gates
from training.config import TrainConfig, load
from training.errors import BadConfig
from training.gates import absolute, relative

if TYPE_CHECKING:
    from pathlib import Path

    from model_server.checks import Check
    from training.evaluate import Trained
    from training.figures import Figures


def _config(**changes: Any) -> TrainConfig:
    return TrainConfig.model_validate(changed(changes))


def _only(checks: list[Check], name: str) -> Check:
    return next(check for check in checks if check.name == name)


def _absolute(model: tuple[Trained, Figures], gates_: dict[str, Any]) -> list[Check]:
    return absolute(_config(gates=gates_), model[1], model[0].table)


@pytest.mark.parametrize(
    ("rules", "name"),
    [
        ({"floors": {"test_metrics.roc_auc": 0.999}}, "test_metrics.roc_auc floor"),
        ({"floors": {"cross_validation.mean": 0.999}}, "cross_validation.mean floor"),
        ({"ceilings": {"calibration.brier": 0.001}}, "calibration.brier ceiling"),
        ({"ceilings": {"per_class.yes.support": 3}}, "per_class.yes.support ceiling"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_limit_that_is_not_reached_fails_with_value_limit_and_fix(
    shop_model: tuple[Trained, Figures], rules: dict[str, Any], name: str
) -> None:
    """The build log alone is enough to know what happened."""
    check = _only(_absolute(shop_model, rules), name)
    path = name.split(" ", maxsplit=1)[0]
    (limit,) = next(iter(rules.values())).values()
    assert (check.status, check.observed, check.limit) == (Status.FAIL, shop_model[1].at(path), limit)
    assert "improve the data or the model" in check.text


def test_a_limit_that_is_reached_passes(shop_model: tuple[Trained, Figures]) -> None:
    """A floor or ceiling is itself good enough."""
    value = shop_model[1].at("test_metrics.roc_auc")
    assert value is not None
    checks = _absolute(
        shop_model, {"floors": {"test_metrics.roc_auc": value}, "ceilings": {"test_metrics.roc_auc": value}}
    )
    assert _only(checks, "test_metrics.roc_auc floor").status is Status.PASS
    assert _only(checks, "test_metrics.roc_auc ceiling").status is Status.PASS


@pytest.mark.parametrize("kind", ["floors", "ceilings"])
def test_a_limit_on_an_unknown_figure_is_a_mistake_and_lists_the_known(
    shop_model: tuple[Trained, Figures], kind: str
) -> None:
    """A misspelled gate must not pass by never being asked."""
    with pytest.raises(BadConfig, match=rf"gates\.{kind}: 'test\.auc' is not a figure .*test_metrics\.roc_auc"):
        _absolute(shop_model, {kind: {"test.auc": 0.5}})


def test_an_unknown_primary_metric_is_a_mistake(shop_model: tuple[Trained, Figures]) -> None:
    """The metric that decides must have been measured."""
    trained, figures = shop_model
    renamed = figures.model_copy(update={"gates": figures.gates.model_copy(update={"primary": "auc"})})
    with pytest.raises(BadConfig, match=r"gates\.primary: 'auc' is not measured .*roc_auc"):
        absolute(_config(**{"gates.primary": "auc"}), renamed, trained.table)


def test_a_model_no_better_than_a_simple_one_fails(shop_model: tuple[Trained, Figures]) -> None:
    """The shop's model is a logistic regression itself, so it cannot beat one by far."""
    trained, figures = shop_model
    better = {"majority": {"roc_auc": 0.5}, "logistic_regression": {"roc_auc": 0.9999}}
    checks = absolute(_config(gates={}), figures.model_copy(update={"baselines": better}), trained.table)
    check = _only(checks, "test roc_auc better than logistic_regression")
    assert (check.status, check.limit) == (Status.FAIL, 0.9999)
    assert "serve that" in check.text
    assert _only(checks, "test roc_auc better than majority").status is Status.PASS


def test_a_baseline_without_the_metric_is_no_pass(shop_model: tuple[Trained, Figures]) -> None:
    """No evidence is inconclusive."""
    trained, figures = shop_model
    checks = absolute(_config(gates={}), figures.model_copy(update={"baselines": {"majority": {}}}), trained.table)
    assert _only(checks, "test roc_auc better than majority").status is Status.INCONCLUSIVE


def test_only_the_named_baselines_must_be_beaten(shop_model: tuple[Trained, Figures]) -> None:
    """A linear model need not beat a linear model."""
    names = {check.name for check in _absolute(shop_model, {"beat": []})}
    assert not any("better than" in name for name in names)


def _figures(figures: Figures, metric: str, value: float, max_drop: float | None = 0.01) -> Figures:
    gate = figures.gates.model_copy(update={"primary": metric, "max_drop": max_drop})
    return figures.model_copy(update={"test_metrics": {metric: value}, "gates": gate})


@pytest.mark.parametrize(
    ("metric", "value", "before", "status"),
    [
        ("roc_auc", 0.98, 0.99, Status.PASS),
        ("roc_auc", 0.9799, 0.99, Status.FAIL),
        ("roc_auc", 1.0, 0.99, Status.PASS),
        ("rmse", 50.01, 50.0, Status.PASS),
        ("rmse", 50.02, 50.0, Status.FAIL),
        ("rmse", 10.0, 50.0, Status.PASS),
    ],
)
def test_a_drop_against_production_beyond_the_limit_fails(
    shop_model: tuple[Trained, Figures], metric: str, value: float, before: float, status: Status
) -> None:
    """The limit itself is admitted; for errors, more is worse."""
    figures = shop_model[1]
    check = relative(_figures(figures, metric, value), _figures(figures, metric, before), "1.0.0")
    assert check.status is status
    assert ("gates.max_drop 0.01" in check.text) == (status is Status.FAIL)


def test_models_without_a_common_metric_are_inconclusive(shop_model: tuple[Trained, Figures]) -> None:
    """A comparison that cannot be made is no pass."""
    figures = shop_model[1]
    assert (
        relative(_figures(figures, "f1", 0.9), _figures(figures, "roc_auc", 0.9), "1.0.0").status is Status.INCONCLUSIVE
    )


def test_without_a_drop_limit_nothing_is_compared(shop_model: tuple[Trained, Figures]) -> None:
    """Adopted models are measured on other rows."""
    figures = shop_model[1]
    check = relative(_figures(figures, "roc_auc", 0.5, max_drop=None), _figures(figures, "roc_auc", 0.9), "1.0.0")
    assert check.status is Status.PASS


@pytest.mark.parametrize(
    ("rules", "name", "observed"),
    [
        ({"min_rows": 1000}, "data rows", 240),
        ({"max_missing_share": 0.0}, "data missing share", 0.1),
        ({"min_class_share": 0.5}, "data rarest class share", 0.49),
    ],
    ids=["rows", "missing", "class"],
)
def test_a_table_that_is_not_as_expected_fails(
    shop_model: tuple[Trained, Figures], rules: dict[str, Any], name: str, observed: float
) -> None:
    """Bad data are told before a model hides them."""
    check = _only(_absolute(shop_model, {"data": rules}), name)
    assert check.status is Status.FAIL
    assert check.observed == pytest.approx(observed, abs=0.05)
    assert "gates.data" in check.text


def test_repeated_rows_are_counted(tmp_path: Path) -> None:
    """A table that was joined wrongly has the same rows again and again."""
    rows = visits()
    again = [row | {"visit": f"W{index}"} for index, row in enumerate(rows[:60])]
    path = write_config(tmp_path, {}, rows + again)
    config = load(path)
    table = data.load(config, path.parent)
    rules = config.gates.data.model_copy(update={"max_duplicate_share": 0.1})
    check = _only(gates.data_sanity(rules, table, is_classification=True), "data duplicate share")
    assert (check.status, check.observed) == (Status.FAIL, 0.2)
