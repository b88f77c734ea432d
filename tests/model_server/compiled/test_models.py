"""Compiled estimators: scikit-learn's answers to the last bit, or to 1e-12 where a sum goes through BLAS."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import ensemble, linear_model, svm, tree
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, PowerTransformer, StandardScaler
from threadpoolctl import threadpool_limits

from model_server.compiled.compiled_model import CompiledModel
from model_server.compiled.inputs import Given
from model_server.compiled.joined import MOST_NODES, JoinedTrees
from model_server.compiled.models import compile_model
from model_server.compiled.ranked import RankedTrees
from model_server.contract import Contract, Feature
from model_server.parity.unforeseen import Unforeseen
from model_server.predictor import Fitted
from tests.bundles import contracts
from tests.model_server.drawing import few

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from model_server.frame import Frame

BLAS = 1e-12
RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(300, 5))
VALUES = np.abs(X @ np.arange(5.0) + X[:, 0] ** 2) + 0.1
LABELS: dict[int, Any] = {
    2: np.where(X[:, 0] + 0.3 * RANDOM.normal(size=300) > 0, "yes", "no"),
    3: np.digitize(X[:, 0] + X[:, 1], [-0.5, 0.7]),
    10: np.digitize(X[:, 0], np.linspace(-1, 1, 9)),
}
NUMBERS = Contract(features=contracts.numbers(5, nullable=True), output=contracts.VALUE)
MANY = NUMBERS.frame_from_matrix(RANDOM.normal(size=(600, 5)))
GAPS = np.where(RANDOM.random(X.shape) < 0.1, np.nan, X)

# Asked for labels and probabilities of two, three and ten classes.
TREES: dict[str, Any] = {
    "boosted": ensemble.GradientBoostingClassifier(n_estimators=12, subsample=0.7, random_state=0),
    "boosted from zero": ensemble.GradientBoostingClassifier(n_estimators=3, init="zero", random_state=0),
    "histogram": ensemble.HistGradientBoostingClassifier(max_iter=8, max_leaf_nodes=8),
    "forest": ensemble.RandomForestClassifier(n_estimators=15, random_state=0),
    "extra trees": ensemble.ExtraTreesClassifier(n_estimators=15, random_state=0),
    "tree": tree.DecisionTreeClassifier(max_depth=5, random_state=0),
    "extra tree": tree.ExtraTreeClassifier(max_depth=5, random_state=0),
    "isotonic forest": CalibratedClassifierCV(
        ensemble.RandomForestClassifier(n_estimators=5, random_state=0), method="isotonic", cv=3
    ),
    "isotonic boosting": CalibratedClassifierCV(
        ensemble.GradientBoostingClassifier(n_estimators=5, random_state=0), method="isotonic", ensemble=False, cv=3
    ),
    "sigmoid boosting": CalibratedClassifierCV(
        ensemble.HistGradientBoostingClassifier(max_iter=3, max_leaf_nodes=5), cv=2
    ),
}
LINEAR: dict[str, Any] = {
    "logistic": linear_model.LogisticRegression(max_iter=1000),
    "logistic, cross-validated": linear_model.LogisticRegressionCV(
        Cs=2, cv=2, max_iter=1000, use_legacy_attributes=False, l1_ratios=(0,), scoring="accuracy"
    ),
    "by gradient descent": linear_model.SGDClassifier(loss="log_loss", random_state=0),
    "calibrated machine": CalibratedClassifierCV(svm.LinearSVC(random_state=0), cv=3),
    "calibrated pipeline": CalibratedClassifierCV(
        make_pipeline(StandardScaler(), linear_model.LogisticRegression(max_iter=1000)), cv=3
    ),
    "isotonic machine": CalibratedClassifierCV(svm.LinearSVC(random_state=0), method="isotonic", cv=3),
}
SCORED: dict[str, Any] = {
    "machine": svm.LinearSVC(random_state=0),
    "ridge": linear_model.RidgeClassifier(),
    "ridge, cross-validated": linear_model.RidgeClassifierCV(),
    "hinge": linear_model.SGDClassifier(random_state=0),
    "perceptron": linear_model.Perceptron(random_state=0),
}
TREE_REGRESSIONS: dict[str, Any] = {
    "boosted": ensemble.GradientBoostingRegressor(n_estimators=12, random_state=0),
    "boosted, huber": ensemble.GradientBoostingRegressor(n_estimators=5, loss="huber", random_state=0),
    "histogram": ensemble.HistGradientBoostingRegressor(max_iter=12),
    "histogram, poisson": ensemble.HistGradientBoostingRegressor(max_iter=12, loss="poisson"),
    "forest": ensemble.RandomForestRegressor(n_estimators=15, random_state=0),
    "extra trees": ensemble.ExtraTreesRegressor(n_estimators=15, random_state=0),
    "tree": tree.DecisionTreeRegressor(random_state=0),
    "extra tree": tree.ExtraTreeRegressor(random_state=0),
}
REGRESSIONS: dict[str, Any] = {
    "least squares": linear_model.LinearRegression(),
    "ridge": linear_model.Ridge(),
    "ridge, cross-validated": linear_model.RidgeCV(),
    "lasso": linear_model.Lasso(),
    "lasso, cross-validated": linear_model.LassoCV(cv=3),
    "elastic net": linear_model.ElasticNet(),
    "elastic net, cross-validated": linear_model.ElasticNetCV(cv=3),
    "least angles": linear_model.Lars(),
    "bayesian": linear_model.BayesianRidge(),
    "relevance": linear_model.ARDRegression(),
    "huber": linear_model.HuberRegressor(),
    "median": linear_model.QuantileRegressor(),
    "by gradient descent": linear_model.SGDRegressor(random_state=0),
    "machine": svm.LinearSVR(random_state=0),
    "matching pursuit": linear_model.OrthogonalMatchingPursuit(),
    "theil-sen": linear_model.TheilSenRegressor(random_state=0, max_subpopulation=500),
}
# Asked themselves, behind compiled steps.
OTHERS: dict[str, Any] = {
    "neighbours": KNeighborsClassifier(),
    "boosted stumps": ensemble.AdaBoostClassifier(n_estimators=3, random_state=0),
    "other probabilities": linear_model.SGDClassifier(loss="modified_huber", random_state=0),
    "other loss": ensemble.GradientBoostingClassifier(n_estimators=3, loss="exponential"),
    "other first guess": ensemble.GradientBoostingClassifier(n_estimators=3, init=linear_model.LogisticRegression()),
    "other calibration": CalibratedClassifierCV(linear_model.LogisticRegression(), method="temperature", cv=3),
}


@cache
def fitted(kind: str, name: str, n_classes: int = 0) -> tuple[Fitted, CompiledModel]:
    """Fit behind a scaler and compile, once."""
    estimator = {"tree": TREES, "linear": LINEAR, "scored": SCORED, "tree value": TREE_REGRESSIONS}.get(
        kind, REGRESSIONS
    )
    pipeline = make_pipeline(StandardScaler(), clone(estimator[name]))
    return compiled(pipeline.fit(X, LABELS[n_classes] if n_classes else VALUES), MANY)


def compiled(pipeline: Any, sample: Frame) -> tuple[Fitted, CompiledModel]:
    """Compile a fitted pipeline."""
    model = Fitted(pipeline, is_numeric=sample.matrix is not None)
    return model, CompiledModel(model, sample.take(slice(0, 10)))


def assert_alike(
    models: tuple[Fitted, CompiledModel], asks: Sequence[str], frame: Frame, tolerance: float = 0.0
) -> None:
    """Ask both models the same rows: at once, in parts, and each alone; labels must be the same at any tolerance."""
    model, fast = models
    for ask in asks:
        for step in {frame.n_rows, 3, 1}:
            for start in range(0, min(frame.n_rows, step * 4), step):
                some = frame.take(slice(start, start + step))
                expected, actual = getattr(model, ask)(some), getattr(fast, ask)(some)
                assert expected.shape == actual.shape
                if expected.dtype.kind != "f":
                    assert expected.tolist() == actual.tolist()
                elif tolerance:
                    assert np.allclose(expected, actual, rtol=tolerance, atol=tolerance)
                else:
                    assert np.array_equal(expected, actual)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Keep OpenMP to one thread: on a busy machine many small parallel loops wait for one another."""
    with threadpool_limits(1):
        yield


few_rows = st.lists(st.lists(st.floats(-4, 4), min_size=5, max_size=5), min_size=1, max_size=6).map(NUMBERS.frame)
brief = settings(few, max_examples=4)
classes = pytest.mark.parametrize("n_classes", LABELS)


@classes
@pytest.mark.parametrize("name", TREES)
@brief
@given(frame=few_rows)
def test_trees_answer_classes_with_the_same_bits(name: str, n_classes: int, frame: Frame) -> None:
    """Walked one by one or all at once, alone or among many rows."""
    models = fitted("tree", name, n_classes)

    assert models[1].kernel.left == ()
    assert models[1].is_bounded
    assert models[1].kernel.blas == ()
    assert_alike(models, ["predict", "predict_proba"], frame)


@classes
@pytest.mark.parametrize("name", LINEAR)
@brief
@given(frame=few_rows)
def test_linear_classifiers_answer_within_the_tolerance(name: str, n_classes: int, frame: Frame) -> None:
    """A BLAS adds in another order when there are more rows, or when they lie otherwise in memory."""
    models = fitted("linear", name, n_classes)

    if name == "by gradient descent" and n_classes > 2:
        assert models[1].kernel.left == ("SGDClassifier",)
        assert not models[1].is_bounded
    else:
        assert len(models[1].kernel.blas) == 1
    assert_alike(models, ["predict", "predict_proba"], frame, BLAS)


@classes
@pytest.mark.parametrize("name", SCORED)
@brief
@given(frame=few_rows)
def test_classifiers_without_probabilities_answer_labels(name: str, n_classes: int, frame: Frame) -> None:
    """The sign of the score decides between two classes, the highest among more."""
    models = fitted("scored", name, n_classes)

    assert models[1].kernel.predict_proba is None
    assert_alike(models, ["predict"], frame)


@pytest.mark.parametrize("name", TREE_REGRESSIONS)
@brief
@given(frame=few_rows)
def test_trees_answer_values_with_the_same_bits(name: str, frame: Frame) -> None:
    """Values are on the scale of the target, whatever the loss is counted in."""
    models = fitted("tree value", name)

    assert models[1].kernel.left == ()
    assert_alike(models, ["predict"], frame)


@pytest.mark.parametrize("name", REGRESSIONS)
@brief
@given(frame=few_rows)
def test_linear_regressions_answer_within_the_tolerance(name: str, frame: Frame) -> None:
    """The product is taken in one go, as scikit-learn does, and may round otherwise."""
    models = fitted("value", name)

    assert len(models[1].kernel.blas) == 1
    assert_alike(models, ["predict"], frame, BLAS)


CLASSIFIERS = [("tree", name, n) for name in TREES for n in LABELS]
CLASSIFIERS += [("linear", name, n) for name in LINEAR for n in LABELS]
WITHOUT = [("scored", name, n) for name in SCORED for n in LABELS] + [
    ("tree value", name, 0) for name in TREE_REGRESSIONS
]
WITHOUT += [("value", name, 0) for name in REGRESSIONS]


@pytest.mark.parametrize(("kind", "name", "n_classes"), [*CLASSIFIERS, *WITHOUT])
def test_many_rows_are_answered_alike(kind: str, name: str, n_classes: int) -> None:
    """Beyond the rows for which trees are walked at once, and for which a BLAS works in blocks."""
    asks = ["predict", "predict_proba"] if kind in ("tree", "linear") else ["predict"]

    assert_alike(fitted(kind, name, n_classes), asks, MANY, BLAS if kind in ("linear", "value") else 0.0)


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("name", OTHERS)
def test_an_estimator_that_is_not_known_is_asked_itself(name: str) -> None:
    """On columns that compiled steps made; and so is a step in the middle."""
    pipeline = make_pipeline(StandardScaler(), PowerTransformer(), OTHERS[name]).fit(X, LABELS[2])
    models = compiled(pipeline, MANY)

    assert models[1].kernel.left == ("PowerTransformer", type(OTHERS[name]).__name__)
    assert_alike(models, ["predict", "predict_proba"], MANY)


@pytest.mark.parametrize(
    "estimator",
    [
        ensemble.RandomForestClassifier(n_estimators=9, random_state=0),
        tree.DecisionTreeClassifier(random_state=0),
        ensemble.HistGradientBoostingClassifier(max_iter=9),
    ],
    ids=lambda estimator: type(estimator).__name__,
)
def test_missing_values_go_where_training_sent_them(estimator: Any) -> None:
    """Trees that learnt from gaps know a branch for them."""
    models = compiled(make_pipeline(StandardScaler(), estimator).fit(GAPS, LABELS[3]), MANY)

    assert_alike(models, ["predict_proba"], NUMBERS.frame_from_matrix(GAPS))


@pytest.mark.parametrize(
    "estimator",
    [ensemble.GradientBoostingClassifier(n_estimators=3), linear_model.LogisticRegression()],
    ids=lambda estimator: type(estimator).__name__,
)
def test_missing_values_that_an_estimator_refuses_are_refused(estimator: Any) -> None:
    """A kernel without checks would answer something."""
    model, fast = compiled(make_pipeline(StandardScaler(), estimator).fit(X, LABELS[2]), MANY)
    gaps = NUMBERS.frame_from_matrix(GAPS)

    with pytest.raises(Unforeseen):
        fast.kernel.predict(gaps.as_matrix())
    with pytest.raises(ValueError, match="NaN"):
        model.predict_proba(gaps)
    with pytest.raises(ValueError, match="NaN"):
        fast.predict_proba(gaps)


def test_numbers_too_large_for_a_tree_are_refused() -> None:
    """Trees compare in single precision, where such a number is infinite."""
    pipeline = make_pipeline(StandardScaler(), tree.DecisionTreeClassifier()).fit(X * 1e-20, LABELS[2])
    _, fast = compiled(pipeline, NUMBERS.frame_from_matrix(X * 1e-20))

    with np.errstate(over="ignore"), pytest.raises(ValueError, match="infinity"):
        fast.predict_proba(NUMBERS.frame([[1e30] * 5]))


MIXED = Contract(
    features=(
        Feature(name="x", dtype="float"),
        Feature(name="colour", dtype="string", categories=("red", "green", "blue")),
        Feature(name="n", dtype="int"),
        Feature(name="flag", dtype="bool"),
    ),
    output=contracts.VALUE,
)
TABLE = MIXED.frame(
    [[float(x[0]), ("red", "green")[int(x[1] > 0)], int(10 * x[2]), bool(x[3] > 0)] for x in X.tolist()]
)
OTHER_ROWS = MIXED.frame([[0.5, "blue", 7, True], [-0.5, "red", -70, False], [0.0, "blue", 0, False]])


def encoded(estimator: Any) -> Pipeline:
    """Put an encoder of one column before an estimator."""
    words = ("words", OneHotEncoder(handle_unknown="ignore"), ["colour"])
    return make_pipeline(ColumnTransformer([words], remainder="passthrough"), estimator)


@pytest.mark.parametrize(
    "estimator",
    [
        encoded(ensemble.GradientBoostingClassifier(n_estimators=9)),
        encoded(CalibratedClassifierCV(ensemble.RandomForestClassifier(n_estimators=5), cv=3)),
        CalibratedClassifierCV(encoded(ensemble.ExtraTreesClassifier(n_estimators=5)), cv=3),
        ensemble.HistGradientBoostingClassifier(max_iter=9, categorical_features=["colour", "flag"]),
        make_pipeline(
            ColumnTransformer([("words", OrdinalEncoder(), ["colour"])], remainder="passthrough", sparse_threshold=0.0),
            ensemble.HistGradientBoostingClassifier(max_iter=9, categorical_features=[0]),
        ),
    ],
    ids=["boosting", "calibration after", "calibration around", "histogram of words", "histogram of codes"],
)
def test_mixed_tables_give_the_same_bits(estimator: Any) -> None:
    """No pandas table is made for them; an unknown category is treated, or refused, as scikit-learn does."""
    models = compiled(estimator.fit(TABLE.as_dataframe(), LABELS[2]), TABLE)

    assert models[1].kernel.left == ()
    assert_alike(models, ["predict", "predict_proba"], TABLE)
    if "words" not in str(estimator) or "OneHot" in str(estimator):
        assert_alike(models, ["predict_proba"], OTHER_ROWS)
    else:
        with pytest.raises(ValueError, match="unknown categories"):
            models[1].predict_proba(OTHER_ROWS)


class Quiet(ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn ships no types
    """Somebody's own classifier, which does not say what it was fitted on."""

    def fit(self, X: Any, y: Any) -> Quiet:  # noqa: ARG002 - scikit-learn's interface
        """Learn the classes."""
        self.classes_ = np.unique(y)
        return self

    def predict(self, X: Any) -> Any:
        """Answer the first class."""
        return np.repeat(self.classes_[:1], len(X))


@pytest.mark.parametrize(
    "estimator",
    [Quiet(), make_pipeline("passthrough", Quiet())],
    ids=["alone", "in a pipeline"],
)
def test_an_estimator_of_unknown_columns_is_left_with_its_whole_pipeline(estimator: Any) -> None:
    """Nobody knows whether it would take columns without names."""
    model = Fitted(estimator.fit(TABLE.as_dataframe(), LABELS[2]), is_numeric=False)

    with pytest.raises(Unforeseen, match="Quiet"):
        CompiledModel(model, TABLE)


def test_a_classifier_of_several_labels_is_asked_itself() -> None:
    """Its answers are lists of arrays, which no kernel gives."""
    both = np.column_stack([X[:, 0] > 0, X[:, 1] > 0]).astype(int)
    forest = ensemble.RandomForestClassifier(n_estimators=3).fit(X, both)

    assert compile_model(forest, Given(X, named=False)).left == ("RandomForestClassifier",)
    ridge = linear_model.RidgeClassifier().fit(X, both)
    assert compile_model(ridge, Given(X, named=False)).left == ("RidgeClassifier",)


@pytest.mark.parametrize(
    ("kernel", "estimator"),
    [
        ("sklearn.ensemble._gradient_boosting.predict_stages", ensemble.GradientBoostingRegressor(n_estimators=3)),
        (
            "sklearn.ensemble._hist_gradient_boosting._predictor._predict_from_raw_data",
            ensemble.HistGradientBoostingRegressor(max_iter=3),
        ),
    ],
    ids=["stages", "histogram"],
)
def test_a_scikit_learn_without_a_kernel_is_asked_itself(
    kernel: str, estimator: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernels have no public names, so another version may have others."""
    pipeline = make_pipeline(StandardScaler(), estimator).fit(X, VALUES)
    monkeypatch.delattr(kernel)

    models = compiled(pipeline, MANY)

    assert models[1].kernel.left == (type(estimator).__name__,)
    assert_alike(models, ["predict"], MANY)


def test_a_forest_that_is_too_large_to_join_is_walked_tree_by_tree() -> None:
    """Joining copies every node."""
    member = tree.DecisionTreeRegressor().fit(X, VALUES).tree_
    count = MOST_NODES // member.node_count + 1

    with pytest.raises(Unforeseen):
        JoinedTrees([member] * count, [member.value[:, 0, :]] * count)


def test_a_large_model_is_walked_tree_by_tree(monkeypatch: pytest.MonkeyPatch) -> None:
    """It gives the same answers for few rows as for many."""
    monkeypatch.setattr("model_server.compiled.joined.MOST_NODES", 5)  # else the test would train for minutes

    for estimator in (
        ensemble.GradientBoostingRegressor(n_estimators=5, random_state=0),
        ensemble.RandomForestRegressor(n_estimators=5, random_state=0),
        ensemble.HistGradientBoostingRegressor(max_iter=5),
    ):
        assert_alike(compiled(estimator.fit(X, VALUES), MANY), ["predict"], MANY)


@pytest.mark.parametrize("most_leaves", [2, 8, 9, 16, 17, 32, 33, 64, 65])
def test_masks_have_a_bit_for_each_leaf(most_leaves: int) -> None:
    """Of as many leaves as each width holds, and of one more; single rows and the few more that masks are for."""
    model = ensemble.GradientBoostingRegressor(n_estimators=6, max_depth=None, max_leaf_nodes=most_leaves)
    plain, fast = compiled(model.fit(X, VALUES), MANY)

    assert max(member.tree_.n_leaves for member in model.estimators_[:, 0]) == most_leaves
    for rows in (MANY.take(slice(1)), MANY.take(slice(2)), MANY.take(slice(7)), MANY):
        assert np.array_equal(plain.predict(rows), fast.predict(rows))


@pytest.mark.parametrize("bits", [64, 65])
def test_trees_with_more_leaves_than_bits_are_walked(bits: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """So are trees that do not split at all, and those whose masks would fill the cache."""
    member = tree.DecisionTreeRegressor(max_leaf_nodes=bits).fit(X, VALUES).tree_
    values = [member.value[:, 0, 0]]

    if bits == 64:
        assert RankedTrees([member], values).most_rows > 0
        monkeypatch.setattr("model_server.compiled.ranked.MOST_BYTES", 8 * bits)  # it has a few columns' masks more
        with pytest.raises(Unforeseen):
            RankedTrees([member], values)
    else:
        with pytest.raises(Unforeseen):
            RankedTrees([member], values)
    stump = tree.DecisionTreeRegressor().fit(X, np.zeros(len(X))).tree_
    with pytest.raises(Unforeseen):
        RankedTrees([stump], [stump.value[:, 0, 0]])


def test_a_value_on_a_threshold_goes_left_as_in_scikit_learn() -> None:
    """On it, one float32 below and one above, for thresholds that are float32 and that are none."""
    rng = np.random.default_rng(5)
    member = tree.DecisionTreeRegressor(max_leaf_nodes=64).fit(rng.normal(size=(400, 3)), rng.normal(size=400)).tree_
    ranked = RankedTrees([member], [member.value[:, 0, 0]])
    inner = member.feature >= 0
    at = member.threshold[inner].astype(np.float32)
    for value in (at, np.nextafter(at, np.float32(-9)), np.nextafter(at, np.float32(9))):
        rows = rng.normal(size=(len(at), 3)).astype(np.float32)
        rows[np.arange(len(at)), member.feature[inner]] = value
        assert np.array_equal(ranked.answers(rows)[:, 0], member.predict(rows)[:, 0])


def test_masks_that_cannot_be_shown_to_agree_are_not_used() -> None:
    """A compiler may round a product and a sum at once; here a leaf that is no number stands for such a sum."""
    model = ensemble.GradientBoostingRegressor(n_estimators=5, random_state=0).fit(X, VALUES)
    model.estimators_[0, 0].tree_.value[:] = np.nan
    plain, fast = compiled(model, MANY)

    assert fast.kernel.left == ()
    assert np.array_equal(plain.predict(MANY), fast.predict(MANY), equal_nan=True)


def test_a_tree_of_another_form_is_not_joined() -> None:
    """Another scikit-learn may give its nodes other fields."""
    member = tree.DecisionTreeRegressor(max_depth=2).fit(X, VALUES).tree_

    class Renamed:
        n_features = member.n_features

        def __getstate__(self) -> dict[str, Any]:
            nodes = member.__getstate__()["nodes"]
            return {"nodes": nodes[[name for name in nodes.dtype.names if name != "impurity"]].copy()}

    with pytest.raises(Unforeseen):
        JoinedTrees([Renamed()] * 2, [member.value[:, 0, :]] * 2)


def test_weights_in_single_precision_are_left_to_the_estimator() -> None:
    """Their products are rounded otherwise."""
    model = linear_model.Ridge().fit(X.astype(np.float32), VALUES.astype(np.float32))

    assert compile_model(model, Given(X, named=False)).left == ("Ridge",)


def test_probabilities_that_nobody_gives_are_refused_as_ever() -> None:
    """A compiled estimator must not answer what the estimator itself refuses."""
    _, fast = compiled(svm.LinearSVC(random_state=0).fit(X, LABELS[2]), MANY)

    with pytest.raises(AttributeError):
        fast.predict_proba(MANY)


def calibrated(method: str) -> CalibratedClassifierCV:
    """Fit a calibrated classifier whose parts the next test changes."""
    return CalibratedClassifierCV(ensemble.GradientBoostingClassifier(n_estimators=3), method=method, cv=2).fit(
        X, LABELS[3]
    )


def test_calibrations_of_another_form_are_left_to_scikit_learn() -> None:
    """A fold that lacks a class, a curve that is not cut at its ends."""
    short, open_ended = calibrated("sigmoid"), calibrated("isotonic")
    short.calibrated_classifiers_[0].classes = np.arange(4)
    open_ended.calibrated_classifiers_[0].calibrators[0].out_of_bounds = "nan"

    for model in (short, open_ended):
        assert compile_model(model, Given(X, named=False)).left == ("CalibratedClassifierCV",)


def test_a_calibrated_probability_just_above_one_is_one() -> None:
    """A curve through points ends a rounding above it."""
    model = CalibratedClassifierCV(tree.DecisionTreeClassifier(max_depth=1), method="isotonic", cv=2)
    model.fit(X, X[:, 0] > 0)
    for member in model.calibrated_classifiers_:
        curve = member.calibrators[0]
        curve.y_thresholds_ = curve.y_thresholds_ + 5e-6
        curve._build_f(curve.X_thresholds_, curve.y_thresholds_)  # noqa: SLF001 - as scikit-learn does after a fit
    models = compiled(model, MANY)

    assert models[0].predict_proba(MANY).max() == 1.0
    assert_alike(models, ["predict_proba"], MANY)


def test_wide_tables_are_walked_tree_by_tree() -> None:
    """A copy of a row for each tree costs more than a call for each."""
    wide = RANDOM.normal(size=(60, 5000))
    contract = Contract(features=contracts.numbers(5000), output=contracts.VALUE)
    frame = contract.frame_from_matrix(wide)

    for estimator in (
        ensemble.GradientBoostingRegressor(n_estimators=60, max_depth=2, max_features=9),
        ensemble.RandomForestRegressor(n_estimators=60, max_features=9),
        ensemble.HistGradientBoostingRegressor(max_iter=60, max_features=0.01),
    ):
        assert_alike(compiled(estimator.fit(wide, wide[:, 0]), frame), ["predict"], frame)
