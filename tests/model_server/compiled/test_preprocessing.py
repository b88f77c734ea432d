"""Compiled steps: the same bits as scikit-learn's, or none at all."""

from __future__ import annotations

import warnings
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    KBinsDiscretizer,
    MaxAbsScaler,
    MinMaxScaler,
    OneHotEncoder,
    OrdinalEncoder,
    PolynomialFeatures,
    PowerTransformer,
    RobustScaler,
    StandardScaler,
    TargetEncoder,
)

from model_server.compiled.preprocessing import Preprocessing, preprocessing
from model_server.contract import Contract, Feature
from model_server.explain.additive import dense
from model_server.parity.unforeseen import Unforeseen
from tests.bundles import contracts, writing
from tests.model_server.drawing import few

if TYPE_CHECKING:
    from model_server.frame import Frame

COLOURS = ("blue", "green", "red")
CONTRACT = Contract(
    features=(
        Feature(name="x", dtype="float", nullable=True),
        Feature(name="n", dtype="int"),
        Feature(name="colour", dtype="string", categories=(*COLOURS, "unseen"), nullable=True),
        Feature(name="flag", dtype="bool"),
        Feature(name="size", dtype="int", minimum=0, maximum=9),
    ),
    output=contracts.VALUE,
)
NUMBERS = Contract(features=contracts.numbers(3, nullable=True), output=contracts.VALUE)
SOME = CONTRACT.frame(
    [[0.1 * i if i % 5 else None, i * i, COLOURS[i % 8 % 3], i % 2 == 0, i % 4] for i in range(40)],
)
WITH_GAPS = CONTRACT.frame([[*row[:2], row[2] if i % 7 else None, *row[3:]] for i, row in enumerate(SOME.to_rows())])
MATRIX = NUMBERS.frame_from_matrix(np.random.default_rng(0).normal(3.0, 7.0, size=(30, 3)))
GAPS = NUMBERS.frame_from_matrix(np.where(np.eye(30, 3) + np.eye(30, 3, k=-9) > 0, np.nan, MATRIX.as_matrix()))
TARGET = np.arange(40) % 3


def unknown_as(code: float, **settings: Any) -> OrdinalEncoder:
    """Encode an unknown category as a number."""
    return OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=code, **settings)


ENCODERS: dict[str, Any] = {
    "codes": OrdinalEncoder(),
    "codes of given order": unknown_as(-1, categories=[["red", "blue", "green"], [0, 1, 2, 3]]),
    "codes, unknown is -1": unknown_as(-1),
    "codes, unknown is NaN": unknown_as(np.nan),
    "codes, missing is -5": unknown_as(-1, encoded_missing_value=-5),
    "codes, rare ones together": unknown_as(-1, max_categories=2),
    "one-hot": OneHotEncoder(),
    "one-hot, dense": OneHotEncoder(sparse_output=False),
    "one-hot, unknown ignored": OneHotEncoder(handle_unknown="ignore"),
    "one-hot, unknown warned of": OneHotEncoder(handle_unknown="warn", min_frequency=12),
    "one-hot, first dropped": OneHotEncoder(drop="first"),
    "one-hot, first dropped, unknown ignored": OneHotEncoder(drop="first", handle_unknown="ignore"),
    "one-hot, one of two dropped": OneHotEncoder(drop="if_binary", sparse_output=False),
    "one-hot, rare ones together": OneHotEncoder(min_frequency=12),
    "one-hot, rare and unknown together": OneHotEncoder(max_categories=2, handle_unknown="infrequent_if_exist"),
    "means of a target": TargetEncoder(target_type="continuous"),
    "means of three targets": TargetEncoder(target_type="multiclass"),
}
TEXTS: dict[str, Any] = {
    "most frequent": SimpleImputer(strategy="most_frequent", missing_values=None),
    "constant": SimpleImputer(strategy="constant", fill_value="none", missing_values=None),
    "another mark": SimpleImputer(strategy="constant", fill_value="none"),
}
SCALERS: dict[str, Any] = {
    "standard": StandardScaler(),
    "standard, mean only": StandardScaler(with_std=False),
    "standard, deviation only": StandardScaler(with_mean=False),
    "standard, neither": StandardScaler(with_mean=False, with_std=False),
    "robust": RobustScaler(),
    "robust, centre only": RobustScaler(with_scaling=False),
    "robust, range only": RobustScaler(with_centering=False),
    "between bounds": MinMaxScaler((-1, 2)),
    "cut at bounds": MinMaxScaler(clip=True),
    "by the largest": MaxAbsScaler(),
    "by the largest, cut": MaxAbsScaler(clip=True),
    "nothing": FunctionTransformer(),
    "imputed": SimpleImputer(strategy="median"),
    "imputed, marked": SimpleImputer(add_indicator=True),
    "imputed by a constant": SimpleImputer(strategy="constant", fill_value=-1.5, add_indicator=True),
    "chain": make_pipeline("passthrough", SimpleImputer(), RobustScaler(), StandardScaler()),
    "by place": ColumnTransformer(
        [("b", StandardScaler(), [2]), ("a", "passthrough", [0]), ("c", "drop", [1])], remainder=MinMaxScaler()
    ),
    "by slice": ColumnTransformer([("b", StandardScaler(), slice(1, 3))], remainder="passthrough"),
}
# Left to scikit-learn, step by step.
OTHERS: dict[str, Any] = {
    "a function": FunctionTransformer(np.abs),
    "components": PCA(2),
    "powers": PolynomialFeatures(2),
    "bins": KBinsDiscretizer(3, encode="ordinal", quantile_method="averaged_inverted_cdf"),
    "transformed": PowerTransformer(),
    "another mark for missing": SimpleImputer(missing_values=-1.0),
    "within a chain": make_pipeline(StandardScaler(), PowerTransformer(), MinMaxScaler()),
}


def mixed(words: Any) -> ColumnTransformer:
    """Put an encoder beside imputing, scaling, passing through and dropping."""
    return ColumnTransformer(
        [
            ("words", words, ["colour", "size"]),
            ("none", StandardScaler(), []),
            ("numbers", make_pipeline(SimpleImputer(), StandardScaler()), ["n", "x"]),
        ],
        remainder="passthrough",
    )


def filled(words: Any) -> ColumnTransformer:
    """Fill gaps in texts, then encode them; the encoder is fitted on an array without names."""
    return ColumnTransformer([("words", make_pipeline(words, OneHotEncoder(handle_unknown="ignore")), ["colour"])])


def transformed(step: Any, frame: Frame) -> Any:
    """Ask scikit-learn; None when it refuses."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return dense(step.transform(writing.fitting_input(frame)))
        except ValueError:
            return None


@cache
def fitted(kind: str, name: str, *, gaps: bool = False) -> tuple[Any, Preprocessing]:
    """Fit and compile once; every example of a property asks the same step."""
    if kind == "scaler":
        step = SCALERS[name].fit(GAPS.as_matrix())
        return step, Preprocessing([step], GAPS)
    table = WITH_GAPS if gaps else SOME
    step = mixed(ENCODERS[name]) if kind == "encoder" else filled(TEXTS[name])
    step.fit(table.as_dataframe(), TARGET)
    return step, Preprocessing([step], table)


def answers_alike(step: Any, compiled: Preprocessing, frame: Frame) -> bool:
    """Compare one frame; say whether the compiled steps answered at all."""
    expected = transformed(step, frame)
    try:
        columns = compiled.columns(frame)
    except Unforeseen:
        return False
    assert expected is not None
    assert np.array_equal(expected, columns, equal_nan=True)
    assert columns.flags.c_contiguous
    assert columns.dtype == np.float64
    return True


def compiled_alike(step: Any, frame: Frame, sample: Frame) -> bool:
    """Compile a step and compare one frame."""
    return answers_alike(step, Preprocessing([step], sample), frame)


rows = st.lists(
    st.tuples(
        st.none() | st.floats(-1e9, 1e9),
        st.integers(-(10**9), 10**9),
        st.sampled_from([*COLOURS, "unseen", None]),
        st.booleans(),
        st.integers(0, 4),
    ).map(list),
    min_size=1,
    max_size=5,
)


@pytest.mark.parametrize("gaps", [False, True], ids=["whole", "gaps"])
@pytest.mark.parametrize("name", ENCODERS)
@settings(few, max_examples=8)
@given(rows=rows)
def test_mixed_columns_give_the_same_bits(name: str, gaps: bool, rows: list[Any]) -> None:  # noqa: FBT001 - a table
    """Every column in its place, every number to the last bit; what scikit-learn refuses or warns of is left to it."""
    answered = answers_alike(*fitted("encoder", name, gaps=gaps), CONTRACT.frame(rows))

    assert answered or any(row[2] not in COLOURS or row[4] == 4 for row in rows)


@pytest.mark.parametrize("value", ["unseen", None])
@pytest.mark.parametrize("name", [name for name in ENCODERS if "unknown is" in name or "unknown ignored" in name])
def test_unknown_categories_that_are_no_mistake_need_no_scikit_learn(name: str, value: str | None) -> None:
    """Else one new customer would make every request of a batch slow."""
    warned_of = "dropped" in name  # scikit-learn warns of each, and goes on doing so
    frame = CONTRACT.frame([[1.0, 2, value, True, 7]])

    assert answers_alike(*fitted("encoder", name), frame) is not warned_of


@pytest.mark.parametrize("name", TEXTS)
@few
@given(rows=rows)
def test_gaps_in_texts_give_the_same_bits(name: str, rows: list[Any]) -> None:
    """Filled as in training, before they are encoded."""
    assert answers_alike(*fitted("texts", name, gaps=True), CONTRACT.frame(rows))


@pytest.mark.parametrize("name", SCALERS)
@few
@given(rows=st.lists(st.lists(st.none() | st.floats(-1e12, 1e12), min_size=3, max_size=3), min_size=1, max_size=4))
def test_numbers_give_the_same_bits(name: str, rows: list[Any]) -> None:
    """A tree's threshold may lie between two neighbouring floats; missing ones pass as scikit-learn passes them."""
    step, compiled = fitted("scaler", name)

    assert answers_alike(step, compiled, NUMBERS.frame(rows))
    assert compiled.left == []


@pytest.mark.filterwarnings("ignore:Skipping features")
@pytest.mark.parametrize("keep", [False, True])
def test_a_column_that_was_never_filled_gives_the_same_bits(keep: bool) -> None:  # noqa: FBT001 - a table
    """It is dropped, unless it was asked to be kept."""
    empty = NUMBERS.frame_from_matrix(np.column_stack([MATRIX.as_matrix()[:, :2], np.full(30, np.nan)]))
    step = SimpleImputer(keep_empty_features=keep, add_indicator=True).fit(empty.as_matrix())

    assert compiled_alike(step, GAPS, MATRIX)


@pytest.mark.parametrize("name", OTHERS)
def test_a_step_that_is_not_known_is_asked_itself(name: str) -> None:
    """One unknown step must not make the known ones slow."""
    step = OTHERS[name].fit(MATRIX.as_matrix())
    compiled = Preprocessing([step, StandardScaler().fit(step.transform(MATRIX.as_matrix()))], MATRIX)

    assert len(compiled.left) == 1
    assert compiled_alike(step, MATRIX, MATRIX)


def test_a_step_that_takes_a_table_is_handed_one() -> None:
    """It gets the names that it was fitted on, or it would warn at every request."""
    step = ColumnTransformer([("bins", KBinsDiscretizer(3, encode="ordinal", quantile_method="linear"), ["n", "size"])])

    assert compiled_alike(step.fit(SOME.as_dataframe()), SOME, SOME)


def test_numbers_are_encoded_as_categories() -> None:
    """In a matrix they are floats, NaN among them."""
    sizes = NUMBERS.frame_from_matrix(np.array([[1.0, 5.0, np.nan], [2.0, 5.0, 7.0], [1.0, np.nan, 7.0]]))
    others = NUMBERS.frame([[2.0, 5.0, 7.0], [None, 6.0, 7.5], [3.0, None, None]])

    for encoder in (OneHotEncoder(handle_unknown="ignore"), unknown_as(-2, encoded_missing_value=-1), TargetEncoder()):
        step = encoder.fit(sizes.as_matrix(), [0.0, 1.0, 3.0])
        assert compiled_alike(step, sizes, sizes)
        assert compiled_alike(step, others, sizes)


def test_truth_values_are_encoded_as_categories() -> None:
    """Also where training saw only one of them."""
    for fitted_on in (SOME, SOME.take([0, 2, 4])):
        step = ColumnTransformer([("flag", OneHotEncoder(handle_unknown="ignore"), ["flag"])])
        assert compiled_alike(step.fit(fitted_on.as_dataframe()), SOME, fitted_on)


class Named(TransformerMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn ships no types
    """Somebody's own step, which picks columns by name and does not say so."""

    def fit(self, X: Any, y: Any = None) -> Named:  # noqa: ARG002 - scikit-learn's interface
        """Learn nothing."""
        return self

    def transform(self, X: Any) -> Any:
        """Pick a column."""
        return X[["n"]].to_numpy(dtype=np.float64)


def flat(column: Any) -> Any:
    """Turn one flat column into a table of one."""
    return np.asarray(column, dtype=np.float64).reshape(-1, 1)


LEFT: dict[str, tuple[Any, Frame]] = {
    "a step of unknown columns": (Named().fit(SOME.as_dataframe()), SOME),
    "single precision": (mixed(OrdinalEncoder(dtype=np.float32)).fit(SOME.as_dataframe()), SOME),
    "a table between steps": (StandardScaler().set_output(transform="pandas").fit(MATRIX.as_matrix()), MATRIX),
    "words that no step encodes": (
        ColumnTransformer([("all", "passthrough", list(CONTRACT.names))]).fit(SOME.as_dataframe()),
        SOME,
    ),
    "weights": (
        ColumnTransformer([("a", StandardScaler(), [0])], transformer_weights={"a": 2}).fit(MATRIX.matrix),
        MATRIX,
    ),
    "gaps filled with no text": (
        ColumnTransformer(
            [("a", SimpleImputer(strategy="constant", fill_value=0, missing_values=None), ["colour"])]
        ).fit(WITH_GAPS.as_dataframe()),
        WITH_GAPS,
    ),
    "one flat column": (ColumnTransformer([("a", FunctionTransformer(flat), "n")]).fit(SOME.as_dataframe()), SOME),
    "a table of its own": (
        ColumnTransformer([("a", FunctionTransformer(np.abs), ["n"])]).fit(SOME.as_dataframe()),
        SOME,
    ),
    "names that nobody gives": (
        Pipeline(
            [
                ("first", StandardScaler().fit(MATRIX.as_matrix())),
                ("then", PowerTransformer().fit(MATRIX.as_dataframe())),
            ]
        ),
        MATRIX,
    ),
    "marked gaps in texts": (
        ColumnTransformer([("a", SimpleImputer(strategy="most_frequent", add_indicator=True), ["colour"])]).fit(
            WITH_GAPS.as_dataframe()
        ),
        WITH_GAPS,
    ),
}


@pytest.mark.parametrize("name", LEFT)
def test_what_is_not_understood_is_left_to_scikit_learn(name: str) -> None:
    """Being slower is better than being nearly right."""
    step, sample = LEFT[name]

    with pytest.raises(Unforeseen):
        Preprocessing([step], sample)


def test_compiled_steps_are_used_only_where_they_agree() -> None:
    """Compared on the golden rows when a model is loaded."""
    step = StandardScaler().fit(MATRIX.as_matrix())

    assert preprocessing([step], MATRIX, lambda frame: transformed(step, frame)) is not None
    assert preprocessing([step], MATRIX, lambda frame: np.nextafter(transformed(step, frame), np.inf)) is None
    weighted, frame = LEFT["weights"]
    assert preprocessing([weighted], frame, lambda frame: transformed(weighted, frame)) is None
