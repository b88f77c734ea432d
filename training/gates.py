"""Gates: figures and a table -> verdicts; knows limits, not how figures are found or what a verdict leads to.

Two kinds. ``absolute`` needs nothing but the training itself and is written into the bundle. ``relative`` holds two
bundles against each other; it is asked when a model is made and again when it is promoted, because what is in
production may have changed in between.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from model_server.checks import Check, Status
from training.data import is_missing
from training.errors import BadConfig
from training.scores import LOWER_IS_BETTER

if TYPE_CHECKING:
    from training.config import TrainConfig
    from training.data import Table
    from training.figures import Figures
    from training.sections import Sanity

_BETTER = "improve the data or the model; if the limit is wrong, change it in the configuration"


def absolute(config: TrainConfig, figures: Figures, table: Table) -> list[Check]:
    """Hold a training against the limits of its configuration.

    Args:
        config: Sets the limits.
        figures: What was measured.
        table: All rows.

    Returns:
        One check a limit, at least the sanity of the data.

    Raises:
        BadConfig: A gate names a figure that was not measured.
    """
    _known_primary(config.primary, figures)
    gates = config.gates
    checks = [_limit(figures, path, limit, is_floor=True) for path, limit in sorted(gates.floors.items())]
    checks += [_limit(figures, path, limit, is_floor=False) for path, limit in sorted(gates.ceilings.items())]
    checks += [
        _baseline(figures, name) for name in sorted(figures.baselines) if gates.beat is None or name in gates.beat
    ]
    return checks + data_sanity(gates.data, table, is_classification=config.is_classification)


def _known_primary(primary: str, figures: Figures) -> None:
    if figures.primary is None:
        measured = ", ".join(name for name in figures.test_metrics if name != "split")
        raise BadConfig(f"gates.primary: {primary!r} is not measured for this model; measured are {measured}")


def _limit(figures: Figures, path: str, limit: float, *, is_floor: bool) -> Check:
    kind = "floors" if is_floor else "ceilings"
    observed = figures.at(path)
    if observed is None:
        raise BadConfig(
            f"gates.{kind}: {path!r} is not a figure of this training; figures are {', '.join(figures.paths())}"
        )
    holds = observed >= limit if is_floor else observed <= limit
    word = "at least" if is_floor else "at most"
    text = "" if holds else f"{path} must be {word} {limit:g}: {_BETTER} (gates.{kind})"
    return Check(f"{path} {'floor' if is_floor else 'ceiling'}", verdict(holds=holds), observed, limit, text)


def verdict(*, holds: bool) -> Status:
    """Turn yes or no into a status."""
    return Status.PASS if holds else Status.FAIL


def _baseline(figures: Figures, name: str) -> Check:
    metric, observed = figures.gates.primary, figures.primary
    limit = figures.baselines[name].get(metric)
    title = f"test {metric} better than {name}"
    if observed is None or limit is None:
        return Check(title, Status.INCONCLUSIVE, observed, limit, f"{metric} is not defined for the baseline {name}")
    holds = _gain(metric, observed, limit) > 0
    text = "" if holds else f"a {name} model does as well: serve that, or {_BETTER} (gates.beat)"
    return Check(title, verdict(holds=holds), observed, limit, text)


def _gain(metric: str, observed: float, other: float) -> float:
    return other - observed if metric in LOWER_IS_BETTER else observed - other


def relative(figures: Figures, approved: Figures, approved_version: str) -> Check:
    """Hold a training against the bundle in production.

    Args:
        figures: Of the new model.
        approved: Of the model in production.
        approved_version: Its version, for the text.

    Returns:
        The check on the primary test metric; inconclusive when the two do not share it.
    """
    metric, observed, before = (
        figures.gates.primary,
        figures.primary,
        approved.at(f"test_metrics.{figures.gates.primary}"),
    )
    title, allowed = f"test {metric} against {approved_version} in production", figures.gates.max_drop
    if allowed is None:
        return Check(title, Status.PASS, observed, before, "no drop limit was set")
    if observed is None or before is None:
        return Check(title, Status.INCONCLUSIVE, observed, before, f"{metric} was not measured for both")
    worst = before + allowed if metric in LOWER_IS_BETTER else before - allowed
    # Rounded: 0.99 - 0.01 is not exactly 0.98.
    holds = round(_gain(metric, observed, worst), 9) >= 0
    text = "" if holds else f"worse than {approved_version} by more than gates.max_drop {allowed:g}: {_BETTER}"
    return Check(title, verdict(holds=holds), observed, round(worst, 9), text)


def data_sanity(rules: Sanity, table: Table, *, is_classification: bool) -> list[Check]:
    """Hold a table against what the configuration expects of it.

    Args:
        rules: The limits.
        table: All rows.
        is_classification: Whether class shares are meant.

    Returns:
        One check a rule.
    """
    fix = "correct the table, or the limit in gates.data"
    share, feature = _missing(table)
    checks = [
        Check("data rows", verdict(holds=table.n_rows >= rules.min_rows), table.n_rows, rules.min_rows, ""),
        Check(
            "data missing share",
            verdict(holds=share <= rules.max_missing_share),
            share,
            rules.max_missing_share,
            feature,
        ),
    ]
    repeated = _duplicate_share(table)
    holds = repeated <= rules.max_duplicate_share
    checks.append(Check("data duplicate share", verdict(holds=holds), repeated, rules.max_duplicate_share, ""))
    if is_classification:
        rarest = float(np.unique(table.target, return_counts=True)[1].min() / table.n_rows)
        holds = rarest >= rules.min_class_share
        checks.append(
            Check("data rarest class share", verdict(holds=holds), round(rarest, 4), rules.min_class_share, "")
        )
    return [check if check.status is Status.PASS else _with_fix(check, fix) for check in checks]


def _with_fix(check: Check, fix: str) -> Check:
    return Check(check.name, check.status, check.observed, check.limit, "; ".join(filter(None, [check.text, fix])))


def _missing(table: Table) -> tuple[float, str]:
    shares = {name: _missing_share(table, name) for name in table.frame.names}
    name = max(shares, key=lambda name: shares[name])
    return round(shares[name], 4), f"most in feature {name!r}" if shares[name] else ""


def _missing_share(table: Table, name: str) -> float:
    return sum(map(is_missing, table.frame.column(name).tolist())) / table.n_rows


def _duplicate_share(table: Table) -> float:
    rows = {(*row, label) for row, label in zip(map(tuple, table.frame.to_rows()), table.target.tolist(), strict=True)}
    return round(1 - len(rows) / table.n_rows, 4)
