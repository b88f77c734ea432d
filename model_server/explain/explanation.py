"""Explanation: a base plus one contribution a source feature; knows how to read reasons off it, not how it was made."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from model_server.explain.additive import Array, Space

Direction = Literal["increases", "decreases"]


@dataclass(frozen=True, slots=True)
class Reason:
    """One feature's part in one answer.

    Attributes:
        feature: Name of the source feature.
        contribution: What it adds to the output, in ``space``.
        direction: ``increases`` when the contribution is above 0, else ``decreases``.
        space: What the contribution is counted in.
        output: Which output it speaks of.
    """

    feature: str
    contribution: float
    direction: Direction
    space: Space
    output: str


@dataclass(frozen=True, slots=True, eq=False)
class Explanation:
    """N rows explained: ``base + contributions.sum(axis=1)`` is the model's margin.

    Attributes:
        space: ``log-odds`` of the output (for more than two classes: its score before the softmax), ``probability`` of
            it, or ``value`` of a regression.
        base: float64 [K'], the margin when no feature is known.
        contributions: float64 [N, F, K'] by source feature in contract order.
        features: The F feature names.
        output_names: What the K' outputs are: the positive class of two, each class of more, or the target.
        reference: What "no feature is known" stands for, in words.
    """

    space: Space
    base: Array
    contributions: Array
    features: tuple[str, ...]
    output_names: tuple[str, ...]
    reference: str

    @property
    def margin(self) -> Array:
        """The explained numbers, float64 [N, K']."""
        margin: Array = self.base + self.contributions.sum(axis=1)
        return margin

    def take(self, start: int, stop: int) -> Explanation:
        """Give the rows from ``start`` up to ``stop`` as an explanation of their own."""
        return replace(self, contributions=self.contributions[start:stop])

    def joined(self, others: Sequence[Explanation]) -> Explanation:
        """Put the rows of others of the same bundle below these."""
        return replace(self, contributions=np.concatenate([self.contributions, *(o.contributions for o in others)]))

    def reasons(self, count: int, outputs: Sequence[int] | None = None) -> list[tuple[Reason, ...]]:
        """Pick the features that matter most for each row.

        Args:
            count: How many a row; fewer when there are fewer features.
            outputs: Index of the output to speak of, one a row; by default the one with the largest margin.

        Returns:
            For each row its reasons by falling absolute contribution; equal ones in contract order.
        """
        chosen = self.margin.argmax(axis=1) if outputs is None else np.asarray(outputs, dtype=np.int64)
        of_row = np.take_along_axis(self.contributions, chosen[:, None, None], axis=2)[:, :, 0]
        ranked = np.argsort(-np.abs(of_row), axis=1, kind="stable")[:, :count]
        return [
            tuple(self._reason(feature, float(numbers[feature]), self.output_names[output]) for feature in best)
            for best, numbers, output in zip(ranked.tolist(), of_row, chosen, strict=True)
        ]

    def _reason(self, feature: int, contribution: float, output: str) -> Reason:
        direction: Direction = "increases" if contribution > 0 else "decreases"
        return Reason(self.features[feature], contribution, direction, self.space, output)
