"""Explanations as JSON documents; knows the v1 ``:explain`` answer, not how contributions are found."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from model_server.explain import Explanation


def v1_explanations(explanation: Explanation) -> list[dict[str, Any]]:
    """Give one object a row: base plus all contributions is the model's margin in the named space.

    With one explained output, ``base`` is a number and ``contributions`` maps features to numbers; with several, both
    are keyed by output first.
    """
    names = [str(name) for name in explanation.output_names]
    base = explanation.base.tolist()
    return [_row(explanation, names, base, row) for row in explanation.contributions.tolist()]


def _row(explanation: Explanation, names: list[str], base: list[float], row: list[list[float]]) -> dict[str, Any]:
    columns = [dict(zip(explanation.features, (feature[k] for feature in row), strict=True)) for k in range(len(names))]
    single = len(names) == 1
    return {
        "space": explanation.space,
        "output": names[0] if single else names,
        "base": base[0] if single else dict(zip(names, base, strict=True)),
        "contributions": columns[0] if single else dict(zip(names, columns, strict=True)),
    }
