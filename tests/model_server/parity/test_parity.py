"""The gate before compiled kernels: compared where a difference would show, recorded, refused where there is one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import GradientBoostingClassifier, HistGradientBoostingRegressor, RandomForestRegressor
from sklearn.linear_model import LinearRegression, LogisticRegression, RidgeClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import KBinsDiscretizer, OneHotEncoder, OrdinalEncoder, StandardScaler
from sklearn.tree import DecisionTreeRegressor

from model_server.bundle import Bundle, Golden, Verified, open_bundle, write
from model_server.compiled import CompiledModel, choose, measure
from model_server.contract import Contract, Feature, Output
from model_server.manifest import canonical_json
from model_server.parity.comparison import Comparison
from model_server.parity.probes import LOADING, UNKNOWN_TEXT, probes
from model_server.parity.record import PARITY, Parity, recorded
from model_server.parity.thresholds import neighbours
from model_server.predictor import Fitted, Predictor
from tests.bundles import contracts, writing
from tests.model_server.published import published, schema

if TYPE_CHECKING:
    from model_server.frame import Frame

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(200, 3))
TWO = (X[:, 0] + 0.3 * RANDOM.normal(size=200) > 0).astype(int)
NUMBERS = Contract(
    features=(
        Feature(name="a", dtype="float"),
        Feature(name="b", dtype="float", minimum=-3, maximum=3, nullable=True),
        Feature(name="c", dtype="float"),
    ),
    output=contracts.classes(0, 1, positive=1),
)
FRAME = NUMBERS.frame_from_matrix(X.clip(-3, 3))
MIXED = Contract(
    features=(
        Feature(name="months", dtype="int", minimum=0, maximum=120),
        Feature(name="plan", dtype="string", categories=("basic", "plus", "pro")),
        Feature(name="note", dtype="string"),
        Feature(name="paid", dtype="bool"),
        Feature(name="charge", dtype="float", minimum=0, maximum=500, nullable=True),
    ),
    output=contracts.VALUE,
)
CUSTOMERS = MIXED.frame(
    [[i % 121, ("basic", "plus")[i % 2], "ok", i % 3 == 0, None if i % 9 == 0 else 2.5 * (i % 200)] for i in range(300)]
)
CHARGES = CUSTOMERS.columns["months"] * 2.0 + np.nan_to_num(CUSTOMERS.columns["charge"])


class Doubtful(StandardScaler):  # type: ignore[misc]  # scikit-learn ships no types
    """Scales by one step of the number line more than it says; nothing but a comparison can tell."""

    def transform(self, X: Any, copy: bool | None = None) -> Any:  # noqa: FBT001 - scikit-learn's interface
        """Scale, and go one step up."""
        return np.nextafter(super().transform(X, copy), np.inf)


Doubtful.__module__ = StandardScaler.__module__
Doubtful.__name__ = StandardScaler.__name__


def boosted(scaler: Any) -> Any:
    """Fit a boosted classifier behind a scaler."""
    return make_pipeline(scaler, GradientBoostingClassifier(n_estimators=20, random_state=0)).fit(FRAME.matrix, TWO)


def customers(words: Any) -> Any:
    """Fit a histogram-based regression on mixed columns."""
    columns = ColumnTransformer(
        [("words", words, ["plan", "note"]), ("rest", "passthrough", ["months", "paid", "charge"])],
        sparse_threshold=0.0,
    )
    return make_pipeline(columns, HistGradientBoostingRegressor(max_iter=20)).fit(CUSTOMERS.as_dataframe(), CHARGES)


def predictor(pipeline: Any, contract: Contract, golden: Frame) -> Predictor:
    """Open a pipeline that lies in no bundle yet, as training does."""
    outputs = writing.outputs(pipeline, contract, writing.fitting_input(golden))
    rows = Golden(rows=tuple(golden.to_rows()), outputs=outputs)
    return Predictor(Bundle(Verified(Path(), contracts.manifest(contract), digest=""), pipeline, rows))


def written(directory: Path, pipeline: Any, contract: Contract, golden: Frame, record: bytes | None) -> Predictor:
    """Write the bundle of a pipeline with a record, and open it."""
    outputs = writing.outputs(pipeline, contract, writing.fitting_input(golden))
    files = writing.files(pipeline, {"rows": golden.to_rows(), "outputs": outputs, "tolerance": 1e-9})
    files |= {} if record is None else {PARITY: record}
    return Predictor(open_bundle(write(directory / "1.0.0", contracts.manifest(contract), files, {})))


def bytes_of(record: Parity) -> bytes:
    """Write a record as training does."""
    return canonical_json(record.model_dump(mode="json"))


def test_a_model_that_agrees_everywhere_is_recorded_with_what_was_compared() -> None:
    """So that a reader of the bundle knows what the word of it is worth."""
    record = measure(predictor(boosted(StandardScaler()), NUMBERS, FRAME.take(range(16))), FRAME)

    assert record.used
    assert record.reason == "the same bits as scikit-learn on every compared row"
    assert (record.tolerance, record.largest_difference) == (0.0, 0.0)
    assert (record.blas, record.left) == ((), ())
    assert (record.rows["golden"], record.rows["sample"], record.rows["missing"]) == (16, 200, 4)
    assert record.splits_compared == record.splits > 20
    assert record.rows["splits"] == 2 * record.splits_compared


def test_the_record_of_equal_models_is_equal_to_the_byte() -> None:
    """A bundle made twice is one bundle."""
    first, second = (measure(predictor(boosted(StandardScaler()), NUMBERS, FRAME), FRAME) for _ in range(2))

    assert bytes_of(first) == bytes_of(second)


def test_the_record_s_schema_is_the_published_one() -> None:
    """A server reads records that other releases wrote."""
    assert schema("parity") == published("parity")


def test_sums_in_blas_are_held_to_a_tolerance_and_named() -> None:
    """Their last bit depends on how many rows are asked at once."""
    pipeline = make_pipeline(StandardScaler(), LogisticRegression()).fit(FRAME.matrix, TWO)
    record = measure(predictor(pipeline, NUMBERS, FRAME.take(range(16))), FRAME)

    assert record.used
    assert record.reason == "within 1e-12 of scikit-learn on every compared row"
    assert (record.blas, record.tolerance) == (("LogisticRegression",), 1e-12)
    assert record.largest_difference is not None
    assert record.largest_difference <= 1e-14


def test_what_is_left_to_scikit_learn_is_named() -> None:
    """A compiled pipeline may be compiled in part."""
    bins = KBinsDiscretizer(3, encode="ordinal", quantile_method="linear")
    pipeline = make_pipeline(StandardScaler(), bins, LinearRegression()).fit(X, X[:, 0])
    contract = Contract(features=contracts.numbers(3), output=contracts.VALUE)
    record = measure(predictor(pipeline, contract, contract.frame_from_matrix(X[:16])), contract.frame_from_matrix(X))

    assert (record.used, record.left) == (True, ("KBinsDiscretizer",))


def test_a_difference_of_one_step_is_found_beside_the_splits_alone() -> None:
    """Real rows lie far from the thresholds, so they agree; that is why the neighbours of every split are compared."""
    pipeline = boosted(Doubtful())
    record = measure(predictor(pipeline, NUMBERS, FRAME.take(range(16))), FRAME)

    assert not record.used
    assert record.reason == "differs from scikit-learn on rows of these kinds: splits"
    assert record.largest_difference is not None
    assert record.largest_difference > 0


def test_unknown_categories_and_gaps_are_compared() -> None:
    """Every category of the contract, an unknown text where any is admitted, truth values and missing numbers."""
    encoder = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    asked = predictor(customers(encoder), MIXED, CUSTOMERS.take(range(10)))
    splits = CompiledModel(asked.fitted, CUSTOMERS.take(range(10))).splits
    rows = probes(MIXED, CUSTOMERS.take(range(10)), CUSTOMERS, splits, LOADING)
    tried = rows.frames["categories"].columns

    assert set(tried["plan"]) == {"basic", "plus", "pro"}
    assert UNKNOWN_TEXT in tried["note"].tolist()
    assert set(tried["paid"].tolist()) == {True, False}
    assert np.isnan(rows.frames["missing"].columns["charge"]).all()
    assert "sample" not in rows.frames
    assert measure(asked, CUSTOMERS).used


def test_refusing_the_same_rows_is_agreement() -> None:
    """Where an encoder takes no unknown category, both refuse it, and the rows around it are compared all the same."""
    record = measure(predictor(customers(OrdinalEncoder()), MIXED, CUSTOMERS.take(range(10))), CUSTOMERS)

    assert record.used
    assert record.rows["categories"] > 3


@pytest.mark.parametrize(
    ("expected", "actual", "differs"),
    [
        (None, None, False),
        (np.array([1.0]), None, True),
        (None, np.array([1.0]), True),
        (np.array([1.0]), np.array([1.0, 1.0]), True),
        (np.array([1.0, np.nan]), np.array([1.0, np.nan]), False),
        (np.array([1.0]), np.array([np.nan]), True),
        (np.array([1.0]), np.array([np.nextafter(1.0, 2)]), True),
        (np.array(["a", "b"]), np.array(["a", "c"]), True),
        (np.array(["a", "b"]), np.array(["a", "b"]), False),
    ],
    ids=str,
)
def test_any_difference_is_noted_with_the_kind_of_rows(expected: Any, actual: Any, differs: bool) -> None:  # noqa: FBT001
    """A refusal on one side, another shape, a NaN, a last bit, a label."""
    found = Comparison()
    found.note("golden", expected, actual)

    assert found.kinds == ({"golden"} if differs else set())
    assert bool(found.difference or found.labels_differ) is differs


def test_differences_of_large_values_are_relative() -> None:
    """The last bit of a million is worth 1e-10."""
    found = Comparison()
    found.note("golden", np.array([1e6]), np.array([np.nextafter(1e6, 2e6)]))

    assert 0 < found.difference < 1e-15


@pytest.mark.parametrize(
    ("pipeline", "contract", "frame"),
    [
        (boosted(StandardScaler()), NUMBERS, FRAME),
        (customers(OneHotEncoder(handle_unknown="ignore")), MIXED, CUSTOMERS),
        (RandomForestRegressor(n_estimators=5, random_state=0).fit(FRAME.matrix, X[:, 2]), NUMBERS, FRAME),
    ],
    ids=["scaled", "mixed", "bare"],
)
def test_neighbours_stand_on_both_sides_of_a_split(pipeline: Any, contract: Contract, frame: Frame) -> None:
    """Two numbers with none between them, or two integers; one goes left, the other right."""
    (splits,) = CompiledModel(Fitted(pipeline, is_numeric=contract.is_numeric), frame).splits
    beside = neighbours(splits, contract, frame.take(range(10)), 10_000)

    assert beside.frame is not None
    assert beside.placed > 0.5 * beside.found
    columns = splits.before(beside.frame)
    numbers = columns.astype(np.float32) if splits.single else columns
    pairs = set(zip(splits.column.tolist(), splits.threshold.tolist(), strict=True))
    parted = np.zeros(beside.placed, dtype=bool)
    for column, threshold in pairs:
        left = numbers[:, column] <= np.float64(threshold)  # a plain float would be rounded to float32 first
        parted |= left[0::2] != left[1::2]
    assert parted.all()
    for name, feature in zip(contract.names, contract.features, strict=True):
        low, high = beside.frame.column(name)[0::2], beside.frame.column(name)[1::2]
        if feature.dtype in ("int", "float"):
            step = low + 1 if feature.dtype == "int" else np.nextafter(low, np.inf)
            assert ((high == low) | (high == step) | (np.isnan(low) & np.isnan(high))).all()
            assert not (low < feature.bounds[0]).any()
            assert not (high > feature.bounds[1]).any()


def test_no_more_splits_are_looked_at_than_asked() -> None:
    """A forest has hundreds of thousands, and a server waits to be ready."""
    forest = RandomForestRegressor(n_estimators=20, random_state=0).fit(FRAME.matrix, X[:, 2])
    (splits,) = CompiledModel(Fitted(forest, is_numeric=True), FRAME).splits
    beside = neighbours(splits, NUMBERS, FRAME, 50)

    assert beside.found > 1000
    assert 25 < beside.placed <= 50


def test_of_very_many_splits_some_are_looked_at() -> None:
    """Without sorting them first: equal ones may be counted again."""
    forest = RandomForestRegressor(n_estimators=9, random_state=0).fit(FRAME.matrix, X[:, 2])
    (splits,) = CompiledModel(Fitted(forest, is_numeric=True), FRAME).splits
    beside = neighbours(splits, NUMBERS, FRAME, 3)

    assert beside.found == len(splits.column) > 300
    assert 0 < beside.placed <= 3


#: More months than the encoder has seen, and bounds that no split lies within.
LONGER = MIXED.model_copy(
    update={"features": (MIXED.features[0].model_copy(update={"maximum": 500}), *MIXED.features[1:])}
)
NARROW = NUMBERS.model_copy(
    update={"features": tuple(each.model_copy(update={"minimum": 5, "maximum": 6}) for each in NUMBERS.features)}
)


def tree_behind(step: Any) -> Any:
    """Fit a tree behind a step."""
    return make_pipeline(step, DecisionTreeRegressor()).fit(CUSTOMERS.as_dataframe(), CHARGES)


@pytest.mark.parametrize(
    ("pipeline", "contract", "frame"),
    [
        (DecisionTreeRegressor().fit(FRAME.matrix, np.ones(len(X))), NUMBERS, FRAME),
        (tree_behind(ColumnTransformer([("words", OrdinalEncoder(), ["plan"])])), MIXED, CUSTOMERS),
        (tree_behind(ColumnTransformer([("months", OrdinalEncoder(), ["months"])])), LONGER, CUSTOMERS),
        (boosted(StandardScaler()), NARROW, FRAME),
    ],
    ids=["no split", "splits of categories", "refused in between", "out of bounds"],
)
def test_splits_that_no_number_reaches_have_no_neighbours(pipeline: Any, contract: Contract, frame: Frame) -> None:
    """Categories are tried one by one instead."""
    (splits,) = CompiledModel(Fitted(pipeline, is_numeric=contract.is_numeric), frame).splits

    assert neighbours(splits, contract, frame, 10).placed == 0


class Picky(StandardScaler):  # type: ignore[misc]  # scikit-learn ships no types
    """Refuses what its parent scales."""

    def transform(self, X: Any, copy: bool | None = None) -> Any:  # noqa: FBT001 - scikit-learn's interface
        """Scale, but nothing large."""
        if np.nanmax(X) > 1e6:
            raise ValueError("too large")
        return super().transform(X, copy)


Picky.__module__, Picky.__name__ = StandardScaler.__module__, StandardScaler.__name__


def test_answering_what_the_pipeline_refuses_is_a_difference() -> None:
    """Of no size: infinity cannot be written in JSON."""
    asked = predictor(boosted(Picky()), NUMBERS, FRAME.take(range(16)))
    large = NUMBERS.frame([*FRAME.take(range(9)).to_rows(), [0.5, 0.5, 2e6]])
    record = measure(asked, large)

    assert (record.used, record.largest_difference) == (False, None)
    assert record.reason == "differs from scikit-learn on rows of these kinds: sample"


def test_a_bundle_with_a_record_is_served_by_compiled_kernels(tmp_path: Path) -> None:
    """They are compared once more on this machine before they are used."""
    pipeline = boosted(StandardScaler())
    record = measure(predictor(pipeline, NUMBERS, FRAME.take(range(16))), FRAME)
    opened = written(tmp_path, pipeline, NUMBERS, FRAME.take(range(16)), bytes_of(record))
    chosen, why = choose(opened)
    expected, actual = opened.predict(FRAME), chosen.predict(FRAME)

    assert (opened.model.name, chosen.model.name) == ("scikit-learn", "compiled")
    assert why == "the same bits as scikit-learn on every compared row"
    assert recorded(opened.bundle.verified) == record
    assert expected.labels is not None
    assert actual.labels is not None
    assert expected.labels.tolist() == actual.labels.tolist()
    assert np.array_equal(expected.probabilities, actual.probabilities)  # type: ignore[arg-type]  # None would differ


@pytest.mark.parametrize(
    ("record", "why"),
    [
        (None, "the bundle has no valid parity.json"),
        (b"{}", "the bundle has no valid parity.json"),
        (b"not JSON", "the bundle has no valid parity.json"),
        (orjson.dumps({"used": True, "reason": "", "format": 2}), "the bundle has no valid parity.json"),
        (bytes_of(Parity(used=False, reason="cannot be compiled: it is odd")), "cannot be compiled: it is odd"),
    ],
    ids=["none", "empty", "no JSON", "another format", "refused"],
)
def test_without_a_record_scikit_learn_answers(record: bytes | None, why: str, tmp_path: Path) -> None:
    """As it does for every bundle that was made before there were records."""
    opened = written(tmp_path, boosted(StandardScaler()), NUMBERS, FRAME.take(range(16)), record)

    assert choose(opened) == (opened, why)


def test_a_record_does_not_excuse_from_the_comparison_at_load(tmp_path: Path) -> None:
    """Another processor, another BLAS or another release of the libraries may answer otherwise."""
    record = Parity(used=True, reason="the same bits as scikit-learn on every compared row")
    good = written(tmp_path, boosted(StandardScaler()), NUMBERS, FRAME.take(range(16)), bytes_of(record))
    doubtful = Predictor(Bundle(good.bundle.verified, boosted(Doubtful()), good.bundle.golden))

    assert choose(doubtful) == (doubtful, "differs from scikit-learn on rows of these kinds: splits")


def test_a_pipeline_that_cannot_be_compiled_says_why() -> None:
    """The reason is recorded, so that somebody may mend it."""
    pipeline = make_pipeline(StandardScaler().set_output(transform="pandas"), LinearRegression()).fit(X, X[:, 0])
    contract = Contract(features=contracts.numbers(3), output=contracts.VALUE)
    record = measure(predictor(pipeline, contract, contract.frame_from_matrix(X[:4])), contract.frame_from_matrix(X))

    assert record == Parity(used=False, reason="cannot be compiled: StandardScaler gives out a table")


class Moody(LinearRegression):  # type: ignore[misc]  # scikit-learn ships no types
    """Refuses to be asked twice, with an error of its own."""

    def predict(self, X: Any) -> Any:
        """Answer once."""
        if getattr(self, "asked", False):
            raise LookupError("no second time")
        self.asked = True
        return super().predict(X)


def test_a_step_that_fails_in_its_own_way_stops_nothing() -> None:
    """A comparison is no reason not to serve."""
    contract = Contract(features=contracts.numbers(3), output=contracts.VALUE)
    asked = predictor(Moody().fit(X, X[:, 0]), contract, contract.frame_from_matrix(X[:4]))

    assert measure(asked, contract.frame_from_matrix(X)).reason == "cannot be compared: LookupError"


def test_labels_of_an_estimator_without_probabilities_are_compared() -> None:
    """They are all that it answers."""
    output = Output(target="y", task="classification", classes=(0, 1), decision="predict", probabilities=False)
    contract = Contract(features=contracts.numbers(3), output=output)
    ridge = RidgeClassifier().fit(X, TWO)
    record = measure(predictor(ridge, contract, contract.frame_from_matrix(X[:9])), contract.frame_from_matrix(X))

    assert (record.used, record.largest_difference, record.rows) == (True, 0.0, {"golden": 9, "sample": 200})
