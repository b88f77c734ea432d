"""Explanations of trees: equal to Shapley values by definition, and adding up to what the model answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.ensemble import (
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.linear_model import LogisticRegression
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from model_server.contract import Contract, Feature
from model_server.errors import BugError, NotSupported
from model_server.explain import Explainer
from model_server.explain.layout import Layout
from model_server.explain.nodes import of_trees
from model_server.explain.paths import leaf_paths
from model_server.explain.shapley import ForestShapley
from model_server.explain.trees import TreeModel
from tests.bundles import contracts, writing
from tests.model_server import oracle
from tests.model_server.drawing import few

if TYPE_CHECKING:
    from pathlib import Path

Array = np.ndarray[Any, Any]


def table(seed: int, columns: int = 4, rows: int = 120, missing_share: float = 0.0) -> tuple[Array, Array]:
    """Make a table whose columns interact, X float64 [rows, columns] and a number y [rows]."""
    random = np.random.default_rng(seed)
    X = random.normal(size=(rows, columns)).round(1)
    y = X[:, 0] * X[:, 1] + np.abs(X[:, 2]) + 0.1 * random.normal(size=rows)
    X[random.random(X.shape) < missing_share] = np.nan
    return X, y


def explainer(directory: Path, estimator: Any, X: Array, output: Any, *, nullable: bool = False) -> Explainer:
    """Bundle a fitted estimator with its first twenty rows as golden rows, and explain it."""
    contract = Contract(features=contracts.numbers(X.shape[1], nullable=nullable), output=output)
    golden = contract.frame_from_matrix(X[:20])
    return Explainer.for_predictor(writing.predictor(directory / "small", estimator, contract, golden))


def explain(explained: Explainer, X: Array) -> Any:
    """Explain a matrix."""
    return explained.explain(explained.predictor.contract.frame_from_matrix(X))


@few
@given(seed=st.integers(0, 10_000), depth=st.integers(1, 6), columns=st.integers(3, 5))
def test_contributions_are_shapley_values_by_definition(seed: int, depth: int, columns: int) -> None:
    """The fast way and the sum over all subsets agree, with columns that a path splits on several times."""
    X, y = table(seed, columns)
    tree = DecisionTreeRegressor(max_depth=depth, random_state=seed).fit(X, y).tree_
    forest = ForestShapley(of_trees([tree], [tree.value[:, 0, :]]), np.arange(columns))
    actual = np.zeros((2, columns, 1))

    forest.add_to(actual, X[:2].astype(np.float32).astype(np.float64))

    for row, numbers in zip(X[:2], actual, strict=True):
        assert oracle.close(oracle.shapley(oracle.tree_game(tree, row, 0), columns), numbers[:, 0])
    assert oracle.close(oracle.tree_game(tree, X[0], 0)(frozenset()), forest.base[0])


@few
@given(seed=st.integers(0, 10_000))
def test_missing_values_follow_the_side_the_tree_learned(seed: int) -> None:
    """A missing value takes part like any other: known or unknown to the subset."""
    X, y = table(seed, 4, missing_share=0.3)
    tree = DecisionTreeRegressor(max_depth=5, random_state=seed).fit(X, y).tree_
    forest = ForestShapley(of_trees([tree], [tree.value[:, 0, :]]), np.arange(4))
    actual = np.zeros((3, 4, 1))

    forest.add_to(actual, X[:3].astype(np.float32).astype(np.float64))

    for row, numbers in zip(X[:3], actual, strict=True):
        assert oracle.close(oracle.shapley(oracle.tree_game(tree, row, 0), 4), numbers[:, 0])


@few
@given(seed=st.integers(0, 10_000), rows=st.lists(st.lists(st.floats(-1e6, 1e6), min_size=3, max_size=3), min_size=1))
def test_any_row_adds_up(seed: int, rows: list[list[float]]) -> None:
    """Also far from all training rows, and on a threshold to the last bit."""
    X, y = table(seed, columns=3, rows=60)
    model = GradientBoostingRegressor(n_estimators=4, subsample=0.7, random_state=seed).fit(X, y)
    trees = TreeModel(model, Layout.of_features(3))
    thresholds = np.array([tree.tree_.threshold[[0, 0, 0]] for tree in model.estimators_[:, 0]])
    asked = np.concatenate([np.array(rows), thresholds, X])

    margin = trees.base + trees.contributions(asked, 3).sum(axis=1)

    assert oracle.close(model.predict(asked)[:, None], margin)


def test_gradient_boosting_is_explained_in_log_odds(tmp_path: Path) -> None:
    """Each tree counts with the learning rate; the base holds the first guess as well."""
    X, y = table(1)
    model = GradientBoostingClassifier(n_estimators=6, max_depth=3, random_state=0).fit(X, y > 1)
    explained = explainer(tmp_path, model, X, contracts.classes(0, 1, positive=1))

    answer = explain(explained, X)

    games = [oracle.tree_game(tree[0].tree_, X[7], 0) for tree in model.estimators_]
    assert oracle.close(0.1 * oracle.total(games, 4), answer.contributions[7, :, 0])
    assert oracle.close(model.decision_function(X)[:, None], answer.margin)
    assert (answer.space, answer.output_names, answer.base.shape) == ("log-odds", ("1",), (1,))


def test_the_sign_follows_the_positive_class(tmp_path: Path) -> None:
    """A contract may name the first class as the positive one; its log-odds are the estimator's score turned round."""
    X, y = table(2)
    model = GradientBoostingClassifier(n_estimators=4, random_state=0).fit(X, y > 1)
    explained = explainer(tmp_path, model, X, contracts.classes(0, 1, positive=0))

    answer = explain(explained, X)

    p = model.predict_proba(X)[:, 0]
    assert oracle.close(np.log(p / (1 - p))[:, None], answer.margin, 1e-9)
    assert answer.output_names == ("0",)


MODELS = {
    "boosting": (GradientBoostingClassifier(n_estimators=5, random_state=0), "log-odds"),
    "boosting from zero": (GradientBoostingClassifier(n_estimators=5, init="zero", random_state=0), "log-odds"),
    "subsampled boosting": (GradientBoostingClassifier(n_estimators=5, subsample=0.5, random_state=0), "log-odds"),
    "histogram": (HistGradientBoostingClassifier(max_iter=5, min_samples_leaf=5, random_state=0), "log-odds"),
    "forest": (RandomForestClassifier(n_estimators=5, random_state=0), "probability"),
    "weighted forest": (RandomForestClassifier(5, class_weight="balanced", random_state=0), "probability"),
    "extra trees": (ExtraTreesClassifier(n_estimators=5, random_state=0), "probability"),
    "tree": (DecisionTreeClassifier(max_depth=4, random_state=0), "probability"),
    "stump without a split": (DecisionTreeClassifier(max_depth=1, min_samples_leaf=100), "probability"),
}


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("name", MODELS)
def test_classifiers_add_up(name: str, n_classes: int, tmp_path: Path) -> None:
    """Base plus contributions is the model's own margin, for two classes and for more."""
    X, y = table(3)
    estimator, space = MODELS[name]
    labels = np.digitize(y, [0.5, 1.5][: n_classes - 1])
    model = estimator.fit(X, labels)
    output = contracts.classes(0, 1, positive=1) if n_classes == 2 else contracts.classes(0, 1, 2)

    answer = explain(explainer(tmp_path, model, X, output), X)

    margin = model.decision_function(X) if space == "log-odds" else model.predict_proba(X)
    if n_classes == 2:
        margin = margin.reshape(len(X), -1)[:, -1:]
    assert answer.space == space
    assert oracle.close(margin, answer.margin, 1e-9)
    assert answer.contributions.shape == (len(X), 4, 1 if n_classes == 2 else 3)
    assert answer.output_names == (("1",) if n_classes == 2 else ("0", "1", "2"))


@pytest.mark.parametrize(
    "estimator",
    [
        GradientBoostingRegressor(n_estimators=5, random_state=0),
        GradientBoostingRegressor(n_estimators=5, loss="huber", random_state=0),
        HistGradientBoostingRegressor(max_iter=5, min_samples_leaf=5, random_state=0),
        HistGradientBoostingRegressor(max_iter=5, loss="quantile", quantile=0.8, random_state=0),
        RandomForestRegressor(n_estimators=5, random_state=0),
        ExtraTreesRegressor(n_estimators=5, random_state=0),
        DecisionTreeRegressor(random_state=0),
    ],
    ids=["boosting", "boosting huber", "histogram", "histogram quantile", "forest", "extra trees", "deep tree"],
)
def test_regressors_add_up(estimator: Any, tmp_path: Path) -> None:
    """The space of a regression is the value itself."""
    X, y = table(4)
    model = estimator.fit(X, 1000 * y)

    answer = explain(explainer(tmp_path, model, X, contracts.VALUE), X)

    assert oracle.close(model.predict(X)[:, None], answer.margin, 1e-7)
    assert (answer.space, answer.output_names) == ("value", ("y",))


def test_a_forest_is_the_mean_of_its_trees(tmp_path: Path) -> None:
    """Probabilities average, so contributions do; a tree's own counts are shares of its bootstrap sample."""
    X, y = table(5)
    model = RandomForestClassifier(n_estimators=3, max_depth=3, random_state=0).fit(X, y > 1)
    explained = explainer(tmp_path, model, X, contracts.classes(0, 1, positive=1))

    answer = explain(explained, X[:1])

    games = [oracle.tree_game(tree.tree_, X[0], 1) for tree in model.estimators_]
    assert oracle.close(oracle.total(games, 4) / 3, answer.contributions[0, :, 0])


def test_histogram_trees_split_by_category_and_on_missing_values(tmp_path: Path) -> None:
    """Categories are sets of codes, over forty of them here; a category that training never saw counts as missing."""
    random = np.random.default_rng(0)
    X, y = table(6, columns=3, rows=900, missing_share=0.1)
    codes = random.integers(0, 100, size=len(X)).astype(float)
    codes[::11] = np.nan
    X = np.column_stack([X[:, 0], codes, X[:, 1:]])
    y = np.nan_to_num(y) + np.nan_to_num(codes) % 3
    model = HistGradientBoostingRegressor(max_iter=4, max_leaf_nodes=12, categorical_features=[1], random_state=0)
    model.fit(X, y)
    trees = [tree for (tree,) in model._predictors]  # noqa: SLF001 - scikit-learn has no public way to them
    assert any(tree.nodes["is_categorical"].any() for tree in trees)
    rows = np.concatenate([X[:30], np.array([[0.5, 250.0, np.nan, -1.0]])])
    explained = explainer(tmp_path, model, X, contracts.VALUE, nullable=True)

    answer = explain(explained, rows)

    assert oracle.close(model.predict(rows)[:, None], answer.margin, 1e-9)
    encoded = model._preprocess_X(rows, reset=False)  # noqa: SLF001 - same
    for row in (0, 11, 30):
        games = [oracle.histogram_game(tree, encoded[row]) for tree in trees]
        contributions = oracle.total(games, 4)[[1, 0, 2, 3]]  # the encoder had put the categories first
        assert oracle.close(contributions, answer.contributions[row, :, 0])


def test_histogram_trees_take_strings_as_categories(tmp_path: Path) -> None:
    """A table with string columns may go straight to an estimator that encodes them itself."""
    random = np.random.default_rng(0)
    colours = random.choice(["red", "green", "blue"], size=200)
    x = random.normal(size=200)
    features = (Feature(name="colour", dtype="string"), Feature(name="x", dtype="float"))
    contract = Contract(features=features, output=contracts.VALUE)
    frame = contract.frame_from_columns({"colour": colours.tolist(), "x": x})
    model = HistGradientBoostingRegressor(max_iter=5, categorical_features=["colour"], random_state=0)
    model.fit(frame.as_dataframe(), x + (colours == "red"))
    predictor = writing.predictor(tmp_path / "small", model, contract, frame.take(slice(0, 20)))

    answer = Explainer.for_predictor(predictor).explain(frame)

    assert oracle.close(model.predict(frame.as_dataframe())[:, None], answer.margin, 1e-9)
    colour, x_part = answer.contributions[:, :, 0].T
    assert np.corrcoef(colour, colours == "red")[0, 1] > 0.8
    assert np.corrcoef(x_part, x)[0, 1] > 0.8


def test_many_rows_are_explained_like_single_ones(tmp_path: Path) -> None:
    """Rows are worked on in chunks; no row may feel it."""
    X, y = table(7, rows=400)
    model = GradientBoostingClassifier(n_estimators=60, max_depth=5, random_state=0).fit(X, y > 1)
    explained = explainer(tmp_path, model, X, contracts.classes(0, 1, positive=1))

    together = explain(explained, X).contributions
    singles = np.concatenate([explain(explained, X[row : row + 1]).contributions for row in range(0, 400, 25)])

    assert np.array_equal(together[::25], singles)


def test_deep_trees_stay_exact(tmp_path: Path) -> None:
    """Paths over thirty columns are far beyond any enumeration; they add up all the same."""
    random = np.random.default_rng(0)
    X = random.normal(size=(600, 40))
    y = random.normal(size=600)
    model = ExtraTreesRegressor(n_estimators=3, max_features=1, random_state=0).fit(X, y)
    explained = explainer(tmp_path, model, X, contracts.VALUE)

    answer = explain(explained, X[:50])

    assert max(tree.get_depth() for tree in model.estimators_) > 16
    assert oracle.close(model.predict(X[:50])[:, None], answer.margin, 1e-12)


def test_a_feature_no_tree_asks_about_contributes_nothing(tmp_path: Path) -> None:
    """A dummy player gets exactly zero."""
    X, y = table(8)
    X[:, 3] = 0.0
    model = GradientBoostingRegressor(n_estimators=10, random_state=0).fit(X, y)

    answer = explain(explainer(tmp_path, model, X, contracts.VALUE), X)

    assert not answer.contributions[:, 3].any()


@pytest.mark.parametrize(
    ("estimator", "word"),
    [
        (GradientBoostingClassifier(n_estimators=2, loss="exponential"), "loss='log_loss'"),
        (GradientBoostingClassifier(n_estimators=2, init=LogisticRegression()), "init"),
    ],
    ids=["exponential loss", "first guess by another model"],
)
def test_a_boosting_that_is_no_sum_of_its_trees_is_refused(estimator: Any, word: str, tmp_path: Path) -> None:
    """The class is supported, this setting is not; the text says which."""
    X, y = table(9)
    model = estimator.fit(X, y > 1)

    with pytest.raises(NotSupported, match=f"this GradientBoostingClassifier: .*{word}"):
        explainer(tmp_path, model, X, contracts.classes(0, 1, positive=1))


def test_a_regression_behind_a_logarithm_is_refused(tmp_path: Path) -> None:
    """The trees of a Poisson regression add up to the logarithm of its answer, not to the answer."""
    X, y = table(9)
    model = HistGradientBoostingRegressor(max_iter=2, loss="poisson").fit(X, np.abs(y))

    with pytest.raises(NotSupported, match="loss='poisson'"):
        explainer(tmp_path, model, X, contracts.VALUE)


def test_a_missing_value_that_boosting_would_refuse_is_not_explained(tmp_path: Path) -> None:
    """There is no answer to explain; a made-up one would look like one."""
    X, y = table(9)
    model = GradientBoostingRegressor(n_estimators=2).fit(X, y)
    explained = explainer(tmp_path, model, X, contracts.VALUE, nullable=True)
    X[0, 0] = np.nan

    with pytest.raises(BugError, match="imputer"):
        explain(explained, X)


def test_a_forest_beyond_all_bounds_is_refused() -> None:
    """An explanation that would take gigabytes is refused when the model is loaded, not when a client asks."""
    X, y = table(9)
    model = RandomForestRegressor(n_estimators=5, random_state=0).fit(X, y)
    trees = [tree.tree_ for tree in model.estimators_]
    nodes = of_trees(trees, [tree.value[:, 0, :] for tree in trees])

    with pytest.raises(NotSupported, match="over 1000 conditions on its paths: limit max_depth"):
        leaf_paths(nodes, most_conditions=1000)
