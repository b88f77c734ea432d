"""Explanations as values: their rows can be taken and joined again, and nothing else of them changes."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from model_server.explain import Explanation


def explained(n_rows: int, n_features: int, n_outputs: int, seed: int) -> Explanation:
    """Draw an explanation; nothing about its numbers is special."""
    rng = np.random.default_rng(seed)
    return Explanation(
        space="log-odds",
        base=rng.normal(size=n_outputs),
        contributions=rng.normal(size=(n_rows, n_features, n_outputs)),
        features=tuple(f"x{index}" for index in range(n_features)),
        output_names=tuple(f"class {index}" for index in range(n_outputs)),
        reference="the rows of training",
    )


def about(explanation: Explanation) -> tuple[object, ...]:
    """Give what all rows have in common."""
    return (
        explanation.space,
        explanation.base.tolist(),
        explanation.features,
        explanation.output_names,
        explanation.reference,
    )


@given(cuts=st.lists(st.integers(0, 9), max_size=5), n_outputs=st.integers(1, 3), seed=st.integers(0, 99))
def test_joining_undoes_taking(cuts: list[int], n_outputs: int, seed: int) -> None:
    """A request that ran in slices is answered as if it had run at once, bit for bit, wherever the cuts are."""
    whole = explained(9, 2, n_outputs, seed)
    first, *others = [whole.take(*pair) for pair in pairwise(sorted({0, 9, *cuts}))]

    joined = first.joined(others)

    assert joined.contributions.tobytes() == whole.contributions.tobytes()
    assert joined.contributions.shape == whole.contributions.shape
    assert about(joined) == about(whole)


@given(start=st.integers(0, 8), count=st.integers(1, 9), seed=st.integers(0, 99))
def test_taken_rows_keep_their_margins_and_reasons(start: int, count: int, seed: int) -> None:
    """A row is explained alike in whatever company it is; the base is that of the model, not of the rows."""
    whole = explained(9, 4, 3, seed)
    stop = min(9, start + count)

    part = whole.take(start, stop)

    assert part.margin.tolist() == whole.margin[start:stop].tolist()
    assert part.reasons(2) == whole.reasons(2)[start:stop]
    assert about(part) == about(whole)


def test_rows_are_taken_without_a_copy() -> None:
    """Each request of a batch takes its rows out of it; copying them would cost as much as explaining them."""
    whole = explained(9, 4, 1, 0)

    assert np.shares_memory(whole.take(2, 5).contributions, whole.contributions)
    assert whole.take(4, 4).contributions.shape == (0, 4, 1)
