"""CloseCalls: answers so near to a decision limit that the tolerance could change the label or the tier."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from model_server.compiled.inputs import Array
    from model_server.contract import Output


class CloseCalls:
    """The limits that labels and tiers are decided by, each with a margin to either side."""

    def __init__(self, output: Output, tolerance: float) -> None:
        """Collect the limits of an output.

        Args:
            output: What is answered.
            tolerance: How far a number may be from the true one; relative where that is above 1.
        """
        limits = [tier.at_least for tier in output.tiers]
        limits += [output.threshold] if output.decision == "threshold" else []
        self._limits = np.unique(np.array(limits, dtype=np.float64))
        # Numbers of which each may be wrong by the tolerance change places within twice that much.
        self._margin = 2.0 * tolerance
        self._column = output.positive_index if output.decision == "threshold" else 0
        self._highest_wins = output.decision == "argmax"

    def rows(self, answers: Array) -> list[int]:
        """Find answers that are too close to call.

        Args:
            answers: float64, probabilities [N, K] or values [N, 1].

        Returns:
            Their rows.
        """
        close = self._contested(answers) if self._highest_wins else self._at_a_limit(answers[:, self._column])
        return [] if close is None else np.flatnonzero(close).tolist()

    def _contested(self, probabilities: Array) -> Array:
        highest = np.partition(probabilities, -2, axis=1)[:, -2:]
        close: Array = highest[:, 1] - highest[:, 0] <= self._margin
        return close

    def _at_a_limit(self, numbers: Array) -> Array | None:
        close = None
        for limit in self._limits.tolist():
            near = np.abs(numbers - limit) <= self._margin * max(1.0, abs(limit))
            close = near if close is None else close | near
        return close
