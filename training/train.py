"""Train: chains data, split, fit, evaluate and gates for one configuration; knows their order, not the registry."""

from __future__ import annotations

from typing import TYPE_CHECKING

from model_server.contract import Contract
from training import fit, gates
from training.evaluate import Trained, evaluate
from training.figures import GateCheck
from training.split import split

if TYPE_CHECKING:
    from collections.abc import Callable

    from training.config import TrainConfig
    from training.data import Table
    from training.figures import Figures


def train(config: TrainConfig, table: Table, say: Callable[[str], None]) -> tuple[Trained, Figures]:
    """Fit a model and measure it.

    Args:
        config: The configuration.
        table: The rows.
        say: Is told what is going on, a line at a time.

    Returns:
        The fitted model, and its figures with the verdicts of the absolute gates.

    Raises:
        BadConfig: Something in the configuration does not work with this table.
        BadData: The table cannot be split.
    """
    parts = split(table, config)
    frame, target = table.frame.take(parts.train.tolist()), table.target[parts.train]
    name = config.estimator.use.rsplit(".", 1)[1]
    say(f"fitting {name} on {len(parts.train)} rows, {len(parts.test)} set apart")
    pipeline = fit.fit(fit.build(config), frame, target)
    output = fit.output(config.target, pipeline, frame)
    trained = Trained(config, table, parts, pipeline, Contract(features=config.features, output=output))
    figures = evaluate(trained, say)
    checks = tuple(GateCheck.of(check) for check in gates.absolute(config, figures, table))
    return trained, figures.model_copy(update={"gates": figures.gates.model_copy(update={"checks": checks})})
