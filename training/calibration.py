"""Calibration: whether an answered probability of 0.3 comes true three times in ten; knows bins, not models."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from training.figures import Calibration, ReliabilityBin

if TYPE_CHECKING:
    from training.scores import Answers

Array = np.ndarray[Any, Any]
N_BINS = 10


def calibration(test: Answers) -> Calibration | None:
    """Compare answered probabilities of the positive class with what happened.

    Args:
        test: N answers of a two-class output.

    Returns:
        Brier score, expected calibration error (the bins' gaps, weighted by rows) and the bins that hold rows; None
        when there are not two classes or no probabilities.
    """
    if test.probabilities is None or len(test.output.classes) != 2:
        return None
    positive = test.output.positive_index
    answered, happened = test.probabilities[:, positive], test.truth == positive
    place = np.minimum((answered * N_BINS).astype(int), N_BINS - 1)
    bins = [_bin(index, answered[place == index], happened[place == index]) for index in np.unique(place).tolist()]
    gaps = sum(part.n_rows * abs(part.mean_probability - part.observed_share) for part in bins)
    brier = float(np.mean((answered - happened) ** 2))
    return Calibration(brier=round(brier, 4), expected_error=round(gaps / len(test), 4), bins=tuple(bins))


def _bin(index: int, answered: Array, happened: Array) -> ReliabilityBin:
    return ReliabilityBin(
        low=index / N_BINS,
        high=(index + 1) / N_BINS,
        n_rows=len(answered),
        mean_probability=round(float(answered.mean()), 4),
        observed_share=round(float(happened.mean()), 4),
    )
