"""Steps: a chain of fitted transformers, compiled one by one; dispatch by class.

What is not known here is left to the fitted step itself, called with what scikit-learn would call it with.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from model_server.compiled import scaling
from model_server.compiled.encoders import encoder
from model_server.compiled.inputs import Array, Given, Inputs, Step, columns_of, matrix_of, plain, row_count, selected
from model_server.parity.unforeseen import Unforeseen

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


class Steps:
    """Transformers one after the other."""

    def __init__(self, steps: Sequence[Any], given: Given) -> None:
        """Compile fitted steps.

        Args:
            steps: Transformers in order; None and "passthrough" do nothing.
            given: What the first one is given.

        Raises:
            Unforeseen: One of them cannot even be called apart from the others.
        """
        self._steps: list[Step] = []
        self.left: list[str] = []
        for step in steps:
            given = self._add(step, given)
        self.given = given

    def __call__(self, inputs: Inputs) -> Inputs:
        """Run the steps.

        Raises:
            Unforeseen: A value, such as a category that training never saw, is scikit-learn's to judge.
        """
        for step in self._steps:
            inputs = step(inputs)
        return inputs

    def _add(self, step: Any, given: Given) -> Given:
        if _does_nothing(step):
            return given
        compiled, left = compile_step(step, given)
        self._steps.append(compiled)
        self.left += left
        return Given(compiled(given.sample), named=False)


def compile_step(step: Any, given: Given) -> tuple[Step, list[str]]:
    """Compile one fitted transformer.

    Returns:
        The step, and the names of the transformers in it that are left to scikit-learn.

    Raises:
        Unforeseen: Neither can it be compiled nor called apart from the others.
    """
    if getattr(step, "_sklearn_output_config", {}).get("transform", "default") not in (None, "default"):
        raise Unforeseen(f"{type(step).__name__} gives out a table")
    if type(step).__module__.startswith("sklearn."):
        kind = type(step).__name__
        if kind in _CONTAINERS:
            return _CONTAINERS[kind](step, given)
        if kind in _MAKERS:
            try:
                return _MAKERS[kind](step, given), []
            except Unforeseen:
                pass
    return _as_it_is(step, given), [type(step).__name__]


def _does_nothing(step: Any) -> bool:
    if isinstance(step, str) or step is None:
        return step in (None, "passthrough")
    return type(step).__name__ == "FunctionTransformer" and step.func is None and not step.validate


def _as_it_is(step: Any, given: Given) -> Step:
    names = getattr(step, "feature_names_in_", None)
    if not given.named:
        if any(given.texts) or names is not None:
            raise Unforeseen(f"{type(step).__name__} is not known here, and takes no plain numbers")
        return lambda inputs: plain(step.transform(matrix_of(inputs)))
    if names is None:
        raise Unforeseen(f"{type(step).__name__} is not known here, and does not say which columns it takes")
    return lambda inputs: plain(step.transform(table(names, inputs)))


def table(names: Sequence[str], inputs: Inputs) -> Any:
    """Give columns as the pandas table that scikit-learn would hand on."""
    import pandas as pd  # heavy, and imported already where a pipeline takes tables

    return pd.DataFrame(dict(zip(names, columns_of(inputs), strict=True)), copy=False)


def _column_transformer(step: Any, given: Given) -> tuple[Step, list[str]]:
    if step.transformer_weights:
        raise Unforeseen("weights of transformers")
    chosen = step._transformer_to_input_indices  # noqa: SLF001 - the public attribute holds names, masks and slices
    parts: list[tuple[slice, list[int], Step | None]] = []
    left: list[str] = []
    for name, transformer, columns in step.transformers_:
        place = step.output_indices_[name]
        if place == slice(0, 0) or not len(chosen[name]):
            continue
        if np.isscalar(columns):
            raise Unforeseen("a transformer of one flat column")
        if _does_nothing(transformer):
            parts.append((place, chosen[name], None))
            continue
        part, unknown = compile_step(transformer, given.take(chosen[name]))
        parts.append((place, chosen[name], part))
        left += unknown
    return _joined(parts, given), left


def _joined(parts: list[tuple[slice, list[int], Step | None]], given: Given) -> Step:
    """Put the parts of a ColumnTransformer beside one another; objects among them make it a list of columns."""
    ordered = sorted(parts, key=lambda part: part[0].start)
    width = max((place.stop for place, _, _ in ordered), default=0)
    given_texts = given.texts

    def columns(inputs: Inputs) -> Inputs:
        each = [(selected(inputs, chosen), part) for _, chosen, part in ordered]
        return [column for some, part in each for column in columns_of(some if part is None else part(some))]

    def matrix(inputs: Inputs) -> Inputs:
        result = np.empty((row_count(inputs), width))
        for place, chosen, part in ordered:
            some = selected(inputs, chosen)
            _write(result, place, some if part is None else part(some))
        return result

    passes_text = any(given_texts[at] for _, chosen, part in ordered if part is None for at in chosen)
    if passes_text or any(column.dtype.kind == "O" for column in columns(given.sample)):
        return columns
    return matrix


def _write(result: Array, place: slice, part: Inputs) -> None:
    if not isinstance(part, list):
        result[:, place] = part
        return
    for at, column in enumerate(part, place.start):
        result[:, at] = column


def _pipeline(step: Any, given: Given) -> tuple[Step, list[str]]:
    inner = Steps([part for _, part in step.steps], given)
    return inner, inner.left


_MAKERS: dict[str, Callable[[Any, Given], Step]] = {
    "StandardScaler": scaling.standard_scaler,
    "RobustScaler": scaling.robust_scaler,
    "MinMaxScaler": scaling.min_max_scaler,
    "MaxAbsScaler": scaling.max_abs_scaler,
    "SimpleImputer": scaling.simple_imputer,
    "OrdinalEncoder": encoder,
    "OneHotEncoder": encoder,
    "TargetEncoder": encoder,
}
_CONTAINERS: dict[str, Callable[[Any, Given], tuple[Step, list[str]]]] = {
    "ColumnTransformer": _column_transformer,
    "Pipeline": _pipeline,
}
