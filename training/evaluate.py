"""Evaluate: a fitted model and rows it has not seen -> figures; knows procedures, not formulas and not limits.

The test part is scored once, after everything was decided on the training part.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from training import fit
from training.baselines import baselines
from training.calibration import calibration
from training.figures import ClassFigures, Confusion, CrossValidated, Figures, GateRecord, Interval
from training.scores import Answers, Scores, confusion, per_class, rounded, score
from training.slices import slices

if TYPE_CHECKING:
    from collections.abc import Callable

    from model_server.contract import Contract
    from training.config import TrainConfig
    from training.data import Table
    from training.split import Split

Array = np.ndarray[Any, Any]
LEVEL = 0.95


@dataclass(frozen=True, slots=True, eq=False)
class Trained:
    """A fitted model with all that made it.

    Attributes:
        config: The configuration.
        table: All rows.
        split: Which of them train and which test.
        pipeline: Fitted on the training part.
        contract: Features and output.
    """

    config: TrainConfig
    table: Table
    split: Split
    pipeline: Any
    contract: Contract

    def answers(self, rows: Array, pipeline: Any = None) -> Answers:
        """Let a pipeline (left out: the model's) answer rows of the table."""
        frame = self.table.frame.take(rows.tolist())
        chosen = self.pipeline if pipeline is None else pipeline
        output = self.contract.output
        return Answers.of(output, self.table.target[rows], fit.answer(chosen, output, frame))


def evaluate(trained: Trained, say: Callable[[str], None]) -> Figures:
    """Measure a trained model.

    Args:
        trained: The model.
        say: Is told what is going on, a line at a time.

    Returns:
        All figures; the gates have no verdicts yet.
    """
    config, contract = trained.config, trained.contract
    test = trained.answers(trained.split.test)
    report = config.report
    say(f"cross-validating: {config.cross_validation.folds} folds, preprocessing fitted inside each")
    folds = cross_validate(trained, fit.build(config))
    say("comparing with baselines, resampling the test set for intervals")
    common = _identity(trained) | _class_figures(test)
    return Figures.model_validate(
        common
        | {
            "train_metrics": {"split": "train", **rounded(score(trained.answers(trained.split.train)))},
            "test_metrics": {"split": "test", **rounded(score(test))},
            **_cross_validated(trained, folds),
            "baselines": _baseline_scores(trained),
            "intervals": intervals(test, report.bootstrap_resamples, report.bootstrap_seed),
            "calibration": calibration(test),
            "slices": slices(contract, trained.table.frame, trained.split, test, report.slices),
            "gates": GateRecord(primary=config.primary, max_drop=config.gates.max_drop),
        }
    )


def _identity(trained: Trained) -> dict[str, Any]:
    model = trained.pipeline[-1]
    return {
        "task": trained.contract.output.task,
        "model_class": type(model).__name__,
        "model_config": plain_params(model),
        "feature_names": trained.contract.names,
        "n_features": len(trained.contract.names),
        "dataset": trained.table.name,
        "train_samples": len(trained.split.train),
        "test_samples": len(trained.split.test),
    }


def plain_params(model: Any) -> dict[str, Any]:
    """Read an estimator's parameters as JSON values; an object among them is named by its class."""
    params = model.get_params(deep=False) if hasattr(model, "get_params") else {}
    return {name: _plain(value) for name, value in sorted(params.items())}


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not np.isfinite(value):
        return str(value)
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value if value is None or isinstance(value, bool | int | float | str) else type(value).__name__


def cross_validate(trained: Trained, pipeline: Any) -> list[Scores]:
    """Fit a fresh copy of a pipeline on each fold's rows alone and score it on the rest.

    Args:
        trained: Gives rows and folds; its fitted pipeline is not used.
        pipeline: Unfitted.

    Returns:
        The scores of each fold.
    """
    from sklearn.base import clone

    table, train = trained.table, trained.split.train
    scores = []
    for fitted_on, scored_on in trained.split.folds:
        rows = train[fitted_on]
        fold = fit.fit(clone(pipeline), table.frame.take(rows.tolist()), table.target[rows])
        scores.append(score(trained.answers(train[scored_on], fold)))
    return scores


def _preprocessed_first(trained: Trained) -> list[Scores]:
    # The published recipe: preprocessing sees all folds before they are made. Comparable, but not honest.
    from sklearn.base import clone

    train, target = trained.split.train, trained.table.target[trained.split.train]
    X = trained.pipeline[:-1].transform(fit.inputs(trained.table.frame.take(train.tolist())))
    scores = []
    for fitted_on, scored_on in trained.split.folds:
        model = clone(trained.pipeline[-1]).fit(X[fitted_on], target[fitted_on])
        prediction = fit.answer_matrix(model, trained.contract.output, X[scored_on])
        scores.append(score(Answers.of(trained.contract.output, target[scored_on], prediction)))
    return scores


def _cross_validated(trained: Trained, folds: list[Scores]) -> dict[str, Any]:
    primary = trained.config.primary
    honest = _summary(primary, folds)
    parts: dict[str, Any] = {"cross_validation": honest}
    if trained.config.cross_validation.preprocessed_first and len(trained.pipeline) > 1:
        parts["cross_validation_preprocessed_first"] = _summary(primary, _preprocessed_first(trained))
    auc = _summary("roc_auc", folds)
    return parts | ({"cv_roc_auc_mean": auc.mean, "cv_roc_auc_std": auc.std} if auc else {})


def _summary(metric: str, folds: list[Scores]) -> CrossValidated | None:
    values = [scores[metric] for scores in folds if metric in scores]
    if not values:
        return None
    mean, std = round(float(np.mean(values)), 4), round(float(np.std(values)), 4)
    return CrossValidated(
        metric=metric, folds=len(values), scores=tuple(round(value, 4) for value in values), mean=mean, std=std
    )


def _baseline_scores(trained: Trained) -> dict[str, Scores]:
    train = trained.split.train
    frame, target = trained.table.frame.take(train.tolist()), trained.table.target[train]
    fitted = {name: fit.fit(model, frame, target) for name, model in baselines(trained.contract).items()}
    return {name: rounded(score(trained.answers(trained.split.test, model))) for name, model in fitted.items()}


def intervals(test: Answers, resamples: int, seed: int) -> dict[str, Interval]:
    """Draw the test rows anew, with replacement, and see how far each metric moves.

    Args:
        test: N answers.
        resamples: How many draws; 0 for no intervals.
        seed: Of the draws.

    Returns:
        The percentile interval of each metric; draws in which a metric is not defined are left out of it.
    """
    draw = np.random.default_rng(seed)
    drawn: dict[str, list[float]] = {}
    for _ in range(resamples):
        for name, value in score(test.take(draw.integers(0, len(test), len(test)))).items():
            drawn.setdefault(name, []).append(value)
    tails = ((1 - LEVEL) / 2, (1 + LEVEL) / 2)
    bounds = {name: np.quantile(values, tails).round(4).tolist() for name, values in sorted(drawn.items())}
    return {
        name: Interval(low=low, high=high, level=LEVEL, resamples=len(drawn[name]))
        for name, (low, high) in bounds.items()
    }


def _class_figures(test: Answers) -> dict[str, Any]:
    if test.output.task == "regression":
        return {}
    matrix = confusion(test)
    names = test.output.class_names or tuple(map(str, test.output.classes))
    columns = [part.round(4).tolist() for part in per_class(matrix)]
    figures = {
        name: ClassFigures(precision=precision, recall=recall, f1=f1, support=int(row.sum()))
        for name, precision, recall, f1, row in zip(names, *columns, matrix, strict=True)
    }
    table = Confusion(labels=test.output.classes, matrix=tuple(map(tuple, matrix.tolist())))
    return {"per_class": figures, "confusion_matrix": table}
