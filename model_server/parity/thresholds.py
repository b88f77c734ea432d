"""Thresholds: rows one step of the number line to either side of a model's splits.

A split is on a column that the pipeline's steps computed. The feature's value at which that column crosses the
threshold is found by bisecting the feature's own numbers, down to two neighbours: two floats with none between them, or
two integers. Two such neighbours are the rows on which a rounding that differs in the last bit takes another branch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from model_server.columns import EXACT_INT, LARGEST_FLOAT
from model_server.parity.substitution import Substitution
from model_server.parity.unforeseen import Unforeseen

if TYPE_CHECKING:
    from model_server.contract import Contract
    from model_server.feature import Feature
    from model_server.frame import Frame
    from model_server.parity.splits import Splits
    from model_server.predictor import Array

#: Features that are tried at once: their rows are a table as wide as all features.
AT_ONCE = 64
#: Splits of which one is looked at, beyond which they are not told apart first: sorting them would take seconds.
MOST_TOLD_APART = 100
#: Halvings that part any two of the 2**64 floats.
HALVINGS = 64


@dataclass(frozen=True, slots=True, eq=False)
class Neighbours:
    """Rows beside splits.

    Attributes:
        frame: Two rows a split, one on either side; None when there are none.
        found: How many different splits the model has; of very many, equal ones are counted again.
    """

    frame: Frame | None
    found: int

    @property
    def placed(self) -> int:
        """How many splits the rows stand beside."""
        return 0 if self.frame is None else self.frame.n_rows // 2


def neighbours(splits: Splits[Frame], contract: Contract, base: Frame, most: int) -> Neighbours:
    """Find rows beside the splits of a model.

    Args:
        splits: Where its answers jump.
        contract: Of the model.
        base: Real rows, whose other values the found rows take.
        most: How many splits to look at, evenly chosen.

    Returns:
        The rows. A split of a column that no number feeds has none: categories are tried one by one.
    """
    pairs = np.column_stack([splits.column, splits.threshold])
    if len(pairs) <= MOST_TOLD_APART * most:
        pairs = np.unique(pairs, axis=0)
    chosen = pairs[np.unique(np.linspace(0, len(pairs) - 1, min(most, len(pairs))).round().astype(np.int64))]
    if not len(chosen):
        return Neighbours(None, len(pairs))
    try:
        feature = _feeds(splits, contract, base)[chosen[:, 0].astype(np.int64)]
        fed = feature >= 0
        if not fed.any():
            return Neighbours(None, len(pairs))
        return Neighbours(_bisected(splits, contract, base, chosen[fed], feature[fed]), len(pairs))
    except Unforeseen:
        return Neighbours(None, len(pairs))


def _feeds(splits: Splits[Frame], contract: Contract, base: Frame) -> Array:
    """Name a number feature that moves each column; -1 for none. int64 [C]."""
    before = splits.before(base)
    feeding = np.full(before.shape[1], -1)
    numbers = [at for at, feature in enumerate(contract.features) if feature.dtype in ("float", "int")]
    for start in range(0, len(numbers), AT_ONCE):
        some = np.array(numbers[start : start + AT_ONCE])
        # A low and a high value each: one of them is another than the row's own.
        turns = np.repeat(np.arange(len(some)), 2)
        ends = np.array([_range(contract.features[at]) for at in some.tolist()]).ravel()
        moved = splits.before(Substitution(base, np.repeat(some, 2), turns).put(ends))
        own = before[turns % base.n_rows]
        changed = ((moved != own) & ~(np.isnan(moved) & np.isnan(own))).reshape(len(some), 2, -1).any(axis=1)
        found = np.where(changed.any(axis=0), some[changed.argmax(axis=0)], -1)
        feeding = np.where(feeding < 0, found, feeding)
    return feeding


def _range(feature: Feature) -> tuple[float, float]:
    largest = EXACT_INT if feature.dtype == "int" else LARGEST_FLOAT
    low, high = feature.bounds
    return max(low, -largest), min(high, largest)


def _bisected(splits: Splits[Frame], contract: Contract, base: Frame, pairs: Array, feature: Array) -> Frame | None:
    ranges = np.array([_range(each) for each in contract.features])[feature]
    whole = np.array([each.dtype == "int" for each in contract.features])[feature]
    column, threshold = pairs[:, 0].astype(np.int64), pairs[:, 1]
    rows, each = Substitution(base, feature), np.arange(len(pairs))

    def goes_left(keys: Array) -> Array:
        numbers = splits.before(rows.put(_numbers(keys, whole)))[each, column]
        left: Array = (numbers.astype(np.float32) if splits.single else numbers) <= threshold
        return left

    low, high = _keys(np.ceil(ranges[:, 0]), ranges[:, 0], whole), _keys(np.floor(ranges[:, 1]), ranges[:, 1], whole)
    at_low = goes_left(low)
    crossed = at_low != goes_left(high)
    for _ in range(HALVINGS):
        middle = (low >> 1) + (high >> 1) + (low & high & 1)
        same = goes_left(middle) == at_low
        low, high = np.where(same, middle, low), np.where(same, high, middle)
    if not crossed.any():
        return None
    both = Substitution(base, np.repeat(feature[crossed], 2), np.repeat(each[crossed], 2))
    beside = np.column_stack([low[crossed], high[crossed]]).ravel()
    return both.put(_numbers(beside, np.repeat(whole[crossed], 2)))


def _keys(integers: Array, floats: Array, whole: Array) -> Array:
    """Number the values of a feature in their order: an integer is its own number, a float's is that of its bits."""
    bits = np.abs(floats).view(np.int64)
    return np.where(whole, np.clip(integers, -EXACT_INT, EXACT_INT).astype(np.int64), np.where(floats < 0, -bits, bits))


def _numbers(keys: Array, whole: Array) -> Array:
    magnitude = np.abs(keys).view(np.float64)
    return np.where(whole, keys.astype(np.float64), np.where(keys < 0, -magnitude, magnitude))
