"""Ranked trees: the leaves of all trees by masks instead of walks, for a few rows.

A walk of T small trees is some thousand jumps that no processor can guess. Instead, each split that a row fails (its
value is above the threshold) rules out the leaves on its left; what is left of a tree's leaves, the leftmost is the
one. Splits are sorted by column and threshold, so the splits that a value fails are the first few of its column: how
many says which prepared row of masks to take. That is the idea of QuickScorer (Lucchese et al., "QuickScorer: a fast
algorithm to rank documents with additive ensembles of regression trees", SIGIR 2015), laid out for numpy.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from model_server.parity.unforeseen import Unforeseen

if TYPE_CHECKING:
    from collections.abc import Sequence

    from model_server.compiled.inputs import Array

#: Prepared masks may take so many bytes; beyond it they would not stay in a processor's cache.
MOST_BYTES = 4_000_000
#: Masks that may be taken for one call, beyond which scikit-learn's own kernel is quicker: 16 rows of 30 columns that
#: are split in 200 trees.
MOST_TAKEN = 100_000
_MASKS = (np.uint8, np.uint16, np.uint32, np.uint64)


@dataclass(frozen=True, slots=True)
class _Split:
    """An inner node: at most ``threshold`` goes left; above it, the leaves of ``kept`` are left of tree ``tree``."""

    column: int
    threshold: np.float32
    tree: int
    kept: int


class RankedTrees:
    """The trees of ``sklearn.tree``, asked for float32 rows without missing values."""

    def __init__(self, trees: Sequence[Any], values: Sequence[Array]) -> None:
        """Prepare the masks.

        Args:
            trees: T fitted ``tree_`` objects.
            values: What each node of each tree answers, float64 [nodes].

        Raises:
            Unforeseen: A tree has over 64 leaves, no tree has a split, or the masks are too large.
        """
        most_leaves = max(int(tree.n_leaves) for tree in trees)
        dtype = next((dtype for dtype in _MASKS if most_leaves <= np.iinfo(dtype).bits), None)
        if dtype is None:
            raise Unforeseen("a tree has more leaves than a mask has bits")
        full = int(np.iinfo(dtype).max)
        splits: list[_Split] = []
        self.n_columns = int(trees[0].n_features)
        by_leaf = np.zeros((len(trees), most_leaves))
        for number, (tree, answers) in enumerate(zip(trees, values, strict=True)):
            leaves = _leaves_and_splits(tree, number, full, splits)
            by_leaf[number, : len(leaves)] = answers[leaves]
        self._values = by_leaf.ravel()
        self._places = np.arange(len(trees)) * most_leaves
        self._prepare(splits, np.full(len(trees), full, dtype=dtype))

    def _prepare(self, splits: list[_Split], full: Array) -> None:
        columns = sorted({split.column for split in splits})
        if not columns or (len(splits) + len(columns)) * full.nbytes > MOST_BYTES:
            raise Unforeseen("no splits, or too many for their masks")
        splits.sort(key=lambda split: (split.column, split.threshold))
        masks: list[Array] = []
        starts, cuts = [], []
        for column in columns:
            mine = [split for split in splits if split.column == column]
            starts.append(len(masks))
            cuts.append(len(masks) - len(starts) + 1)
            mask = full.copy()
            masks.append(mask.copy())
            for split in mine:
                mask[split.tree] &= full.dtype.type(split.kept)
                masks.append(mask.copy())
        self._masks, self._starts, self._cuts = np.array(masks), np.array(starts), np.array(cuts)
        self._columns = np.array([split.column for split in splits])
        self._thresholds = np.array([split.threshold for split in splits], dtype=np.float32)
        self.most_rows = MOST_TAKEN // (len(columns) * len(full))

    def answers(self, rows: Array) -> Array:
        """Find each row's leaf in each tree.

        Args:
            rows: float32 [N, C].

        Returns:
            float64 [N, T].
        """
        failed = rows.take(self._columns, axis=1) > self._thresholds
        ranks = np.add.reduceat(failed, self._cuts, axis=1, dtype=np.intp)
        ranks += self._starts
        left = np.bitwise_and.reduce(self._masks.take(ranks, axis=0), axis=1)
        below = left & -left  # the lowest bit alone; less one, it has as many bits as there are leaves to its left
        below -= 1
        answers: Array = self._values.take(np.bitwise_count(below) + self._places)
        return answers


def _leaves_and_splits(tree: Any, number: int, full: int, splits: list[_Split]) -> list[int]:
    """Number a tree's leaves from left to right, and add its splits; gives the leaves' nodes."""
    leaves: list[int] = []

    def visit(node: int) -> int:
        """Give the bits of the leaves below a node."""
        if tree.children_left[node] < 0:
            leaves.append(node)
            return 1 << (len(leaves) - 1)
        left = visit(int(tree.children_left[node]))
        right = visit(int(tree.children_right[node]))
        threshold = _at_most(float(tree.threshold[node]))
        splits.append(_Split(int(tree.feature[node]), threshold, number, full & ~left))
        return left | right

    visit(0)
    return leaves


def _at_most(threshold: float) -> np.float32:
    """Give the largest float32 that is no larger: a float32 is above the one if and only if it is above the other."""
    single = np.float32(threshold)
    return np.nextafter(single, np.float32(-np.inf)) if float(single) > threshold else single
