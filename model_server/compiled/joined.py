"""Joined trees: a whole forest as one tree, so that one call walks all of it.

scikit-learn's kernels walk one tree a call, and a call costs far more than the walk of one row. Here the trees hang
below a routing tree, which splits on one more column, the number of the tree: N rows become T x N rows that differ in
that column, and one call finds all their leaves. The copies cost more than the calls once there are many rows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from model_server.parity.unforeseen import Unforeseen

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from model_server.compiled.inputs import Array

#: Larger forests are walked tree by tree: joining copies their nodes, at 64 bytes each.
MOST_NODES = 300_000
#: Numbers in the copies of one call, beyond which T calls are cheaper: a call of a forest's tree costs some 5 µs.
MOST_COPIED = 250_000


class Copies:
    """Makes T copies of some rows, each with the number of its tree in a last column."""

    def __init__(self, n_trees: int, n_columns: int, dtype: Any) -> None:
        self._numbers = np.arange(n_trees, dtype=dtype)[:, None]
        self._shape = n_trees, n_columns
        self._dtype = dtype
        self.most_rows = MOST_COPIED // (n_trees * (n_columns + 1))

    def of(self, rows: Array) -> Array:
        """Copy N rows; [T * N, C + 1]."""
        n_trees, n_columns = self._shape
        copies = np.empty((n_trees, len(rows), n_columns + 1), dtype=self._dtype)
        copies[:, :, :-1] = rows
        copies[:, :, -1] = self._numbers
        return copies.reshape(-1, n_columns + 1)


class JoinedTrees:
    """The trees of ``sklearn.tree`` as one of them; finds leaves."""

    def __init__(self, trees: Sequence[Any], values: Sequence[Array]) -> None:
        """Join trees.

        Args:
            trees: T fitted ``tree_`` objects.
            values: What each node of each tree answers, float64 [nodes, K].

        Raises:
            Unforeseen: They are too large, or this scikit-learn builds trees otherwise.
        """
        self.n_columns = n_columns = int(trees[0].n_features)
        nodes, routes = _joined([tree.__getstate__()["nodes"] for tree in trees], _ROUTED, n_columns)
        self._tree = _made(nodes, n_columns + 1)
        self._values = np.concatenate([np.zeros((routes, values[0].shape[1])), *values])
        self._n_trees = len(trees)
        self._copies = Copies(len(trees), n_columns, np.float32)
        self.most_rows = self._copies.most_rows

    def answers(self, rows: Array) -> Array:
        """Walk every tree with every row.

        Args:
            rows: float64 or float32 [N, C].

        Returns:
            float64 [T, N, K].
        """
        leaves = self._tree.apply(self._copies.of(rows))
        answers: Array = self._values.take(leaves.reshape(self._n_trees, len(rows)), axis=0)
        return answers


class JoinedHistogramTrees:
    """The trees of histogram-based boosting as one of them; answers at once."""

    def __init__(self, predictors: Sequence[Any], n_columns: int, known: Array, places: Array) -> None:
        """Join trees.

        Args:
            predictors: T fitted trees.
            n_columns: C.
            known: Which categories are known, as bit sets, uint32 [categorical columns, 8].
            places: Row in ``known`` of each column, uint32 [C].

        Raises:
            Unforeseen: They are too large.
        """
        sets = [predictor.raw_left_cat_bitsets for predictor in predictors]
        firsts = np.cumsum([0, *map(len, sets)])
        parts = [predictor.nodes.copy() for predictor in predictors]
        for part, first in zip(parts, firsts, strict=False):
            part["bitset_idx"] += np.uint32(first)
        self._nodes, _ = _joined(parts, _HISTOGRAM_ROUTED, n_columns)
        self._sets = np.ascontiguousarray(np.concatenate(sets))
        self._known, self._places = known, np.append(places, np.uint32(0)).astype(np.uint32)
        self._copies = Copies(len(parts), n_columns, np.float64)
        self._n_trees = len(parts)
        self._walk = histogram_walk()
        self.most_rows = self._copies.most_rows

    def answers(self, rows: Array) -> Array:
        """Walk every tree with every row, float64 [N, C] -> float64 [T, N]."""
        copies = self._copies.of(rows)
        found = np.empty(len(copies))
        self._walk(self._nodes, copies, self._sets, self._known, self._places, 1, found)
        return found.reshape(self._n_trees, len(rows))


#: Names of the fields of a node: split column, threshold, children, and what marks a node that splits.
_ROUTED = {"column": "feature", "threshold": "threshold", "left": "left_child", "right": "right_child"}
_HISTOGRAM_ROUTED = {"column": "feature_idx", "threshold": "num_threshold", "left": "left", "right": "right"}


def _joined(parts: Sequence[Array], fields: dict[str, str], column: int) -> tuple[Array, int]:
    """Hang trees below a routing tree on a column; the nodes, and how many of them only route."""
    routes = len(parts) - 1
    total = routes + sum(map(len, parts))
    if total > MOST_NODES:
        raise Unforeseen("too many nodes to join")
    roots = np.cumsum([routes, *map(len, parts)])[:-1]
    nodes = np.zeros(total, dtype=parts[0].dtype)
    for root, part in zip(roots, parts, strict=True):
        moved = part.copy()
        inner = _splits(part)
        for side in (fields["left"], fields["right"]):
            moved[side][inner] += moved[side].dtype.type(root)
        nodes[root : root + len(part)] = moved
    _route(nodes, roots, fields, column)
    return nodes, routes


def _splits(part: Array) -> Array:
    split: Array = part["is_leaf"] == 0 if "is_leaf" in (part.dtype.names or ()) else part["left_child"] >= 0
    return split


def _route(nodes: Array, roots: Array, fields: dict[str, str], column: int) -> None:
    """Fill in the routing tree: it halves the numbers of the trees until one is left."""
    free = iter(range(len(roots) - 1))

    def place(first: int, end: int) -> int:
        if end - first == 1:
            return int(roots[first])
        at, middle = next(free), (first + end) // 2
        nodes[fields["column"]][at] = column
        nodes[fields["threshold"]][at] = middle - 0.5
        nodes[fields["left"]][at] = place(first, middle)
        nodes[fields["right"]][at] = place(middle, end)
        return at

    place(0, len(roots))


def _made(nodes: Array, n_columns: int) -> Any:
    from sklearn.tree._tree import Tree

    tree = Tree(n_columns, np.ones(1, dtype=np.intp), 1)
    state = {"max_depth": 1, "node_count": len(nodes), "nodes": nodes, "values": np.zeros((len(nodes), 1, 1))}
    try:
        tree.__setstate__(state)
    except (ValueError, KeyError, TypeError) as error:
        raise Unforeseen("this scikit-learn builds its trees otherwise") from error
    return tree


def histogram_walk() -> Callable[..., None]:
    """Give the kernel that walks one histogram-based tree.

    Raises:
        Unforeseen: This scikit-learn has none of that name.
    """
    try:
        from sklearn.ensemble._hist_gradient_boosting._predictor import _predict_from_raw_data
    except ImportError as error:
        raise Unforeseen("this scikit-learn has no such kernel") from error
    walk: Callable[..., None] = _predict_from_raw_data
    return walk
