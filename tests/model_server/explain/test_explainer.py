"""Explanations by source feature: pipelines taken apart, reasons picked, what cannot be split refused by name."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA
from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier
from sklearn.feature_selection import SelectKBest
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, OrdinalEncoder, RobustScaler, StandardScaler
from sklearn.svm import SVC

from model_server.contract import Contract, Feature
from model_server.errors import BugError, NotSupported
from model_server.explain import Explainer, Explanation
from model_server.explain.layout import Layout
from tests.bundles import contracts, writing
from tests.model_server import oracle
from tests.model_server.drawing import few

if TYPE_CHECKING:
    from pathlib import Path

    from model_server.frame import Frame

RANDOM = np.random.default_rng(0)
FEATURES = (
    Feature(name="plan", dtype="string", categories=("basic", "plus", "pro")),
    Feature(name="months", dtype="int", minimum=0),
    Feature(name="fee", dtype="float", nullable=True),
    Feature(name="city", dtype="string", nullable=True),
    Feature(name="paperless", dtype="bool"),
)
MIXED = Contract(features=FEATURES, output=contracts.classes("leave", "stay", positive="leave"))


def mixed_frame(rows: int = 200) -> Frame:
    """Draw rows of the mixed contract; fees and cities are missing now and then."""
    fee = RANDOM.gamma(2.0, 20.0, size=rows)
    fee[::9] = np.nan
    cities = [
        None if index % 13 == 0 else str(RANDOM.choice(["Rome", "Oslo", "Lima", "Bonn"])) for index in range(rows)
    ]
    return MIXED.frame_from_columns(
        {
            "plan": RANDOM.choice(["basic", "plus", "pro"], size=rows).tolist(),
            "months": RANDOM.integers(0, 70, size=rows),
            "fee": fee,
            "city": cities,
            "paperless": RANDOM.random(rows) < 0.5,
        }
    )


FRAME = mixed_frame()
LABELS = np.where(
    (FRAME.columns["plan"] == "basic") & (FRAME.columns["months"] < 40) | FRAME.columns["paperless"], "leave", "stay"
)


def preprocessing() -> ColumnTransformer:
    """Mix what one-hot encoding, imputing with indicators, scaling, dropping and passing through do to columns."""
    numbers = make_pipeline(SimpleImputer(strategy="median", add_indicator=True), StandardScaler())
    words = make_pipeline(
        "passthrough", SimpleImputer(strategy="constant", fill_value="none"), OneHotEncoder(drop="first")
    )
    return ColumnTransformer(
        [
            ("words", words, ["plan", "city"]),
            ("numbers", numbers, ["fee", "months"]),
            ("unused", "drop", []),
            ("rest", "passthrough", ["paperless"]),
        ]
    )


def fitted(estimator: Any, steps: Any = None) -> Pipeline:
    """Fit a pipeline on the mixed frame."""
    return make_pipeline(steps or preprocessing(), estimator).fit(FRAME.as_dataframe(), LABELS)


@pytest.fixture(scope="module")
def explainer(tmp_path_factory: pytest.TempPathFactory) -> Explainer:
    """Explain boosting on the mixed table."""
    pipeline = fitted(GradientBoostingClassifier(n_estimators=20, random_state=0))
    directory = tmp_path_factory.mktemp("bundles") / "small"
    return Explainer.for_predictor(writing.predictor(directory, pipeline, MIXED, FRAME))


def test_columns_are_summed_by_source_feature(explainer: Explainer) -> None:
    """One-hot columns and missing-value indicators belong to the feature they were made from."""
    pipeline = explainer.predictor.pipeline
    columns = np.asarray(pipeline[:-1].transform(FRAME.as_dataframe()), dtype=np.float64)
    names = pipeline[:-1].get_feature_names_out().tolist()
    plain = Contract(features=contracts.numbers(columns.shape[1]), output=explainer.predictor.contract.output)
    inner = pipeline[-1]

    answer = explainer.explain(FRAME)

    by_column = _explained_alone(inner, columns, plain)
    for index, feature in enumerate(answer.features):
        mine = [at for at, name in enumerate(names) if feature in name]
        assert oracle.close(by_column[:, mine].sum(axis=1), answer.contributions[:, index]), feature
    assert sum(sum(feature in name for feature in answer.features) for name in names) == len(names)


def _explained_alone(estimator: Any, columns: Any, contract: Contract) -> Any:
    from model_server.explain.trees import TreeModel

    sign = 1.0 if contract.output.positive_index == 1 else -1.0
    model = TreeModel(estimator, Layout.of_features(columns.shape[1]))
    return sign * model.contributions(columns, columns.shape[1])


def test_a_mixed_pipeline_adds_up(explainer: Explainer) -> None:
    """The margin is the log-odds of the positive class, here of the first one."""
    p = explainer.predictor.pipeline.predict_proba(FRAME.as_dataframe())[:, 0]

    answer = explainer.explain(FRAME)

    assert oracle.close(np.log(p / (1 - p)), answer.margin[:, 0], 1e-9)
    assert answer.output_names == ("leave",)
    assert answer.features == ("plan", "months", "fee", "city", "paperless")


STEPS = {
    "ordinal codes": OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1, encoded_missing_value=-2),
    "one-hot, sparse": OneHotEncoder(handle_unknown="ignore"),
    "one-hot, rare ones together": OneHotEncoder(handle_unknown="infrequent_if_exist", min_frequency=45),
    "one-hot, one of two dropped": OneHotEncoder(drop="if_binary"),
    "one-hot, first dropped of rare ones": OneHotEncoder(drop="first", max_categories=3, handle_unknown="ignore"),
}


@pytest.mark.filterwarnings("ignore:Found unknown categories")
@pytest.mark.parametrize("name", STEPS)
def test_each_encoding_keeps_its_columns_apart(name: str, tmp_path: Path) -> None:
    """A column more or less would shift all others to a wrong feature; a forest then speaks of the wrong cause."""
    words = make_pipeline(SimpleImputer(strategy="constant", fill_value="none"), STEPS[name])
    numbers = make_pipeline(SimpleImputer(add_indicator=True), RobustScaler())
    steps = ColumnTransformer(
        [
            ("words", words, [0, 3]),
            ("flag", "passthrough", slice(4, 5)),
            ("numbers", numbers, [False, True, True, False, False]),
        ]
    )
    pipeline = fitted(RandomForestClassifier(n_estimators=10, random_state=0), steps)
    small = writing.predictor(tmp_path / "small", pipeline, MIXED, FRAME)
    width = pipeline[:-1].transform(FRAME.as_dataframe()).shape[1]

    answer = Explainer.for_predictor(small).explain(FRAME)

    names = pipeline[:-1].get_feature_names_out()
    layout = Layout.of_features(5).through(pipeline[0])
    assert [
        next(i for i, f in enumerate(small.contract.names) if f in column) for column in names
    ] == layout.source.tolist()
    assert len(layout.source) == width
    assert answer.space == "probability"


def test_a_row_is_explained_alike_whoever_encodes_it(tmp_path: Path) -> None:
    """A category that training never saw goes the slow way, its neighbours too; the result is the same."""
    words = OneHotEncoder(handle_unknown="ignore")
    steps = ColumnTransformer([("words", words, ["plan"]), ("rest", "passthrough", ["months", "paperless"])])
    known = FRAME.take(np.flatnonzero(FRAME.columns["plan"] != "pro").tolist())
    labels = np.where(known.columns["paperless"], "leave", "stay")
    pipeline = make_pipeline(steps, GradientBoostingClassifier(n_estimators=5)).fit(known.as_dataframe(), labels)
    explainer = Explainer.for_predictor(writing.predictor(tmp_path / "small", pipeline, MIXED, known))

    answer = explainer.explain(FRAME)

    assert oracle.close(-pipeline.decision_function(FRAME.as_dataframe()), answer.margin[:, 0])
    fast = explainer.explain(known).contributions
    slow = answer.contributions[FRAME.columns["plan"] != "pro"]
    assert np.array_equal(fast, slow)


def test_selected_and_dropped_columns_are_followed() -> None:
    """Selection drops columns in the middle, an imputer those that were never filled."""
    X = np.array([[np.nan, 1.0, 5.0, 0.0], [np.nan, 2.0, 5.1, 1.0], [np.nan, 3.0, np.nan, 0.0]])
    imputer = SimpleImputer(add_indicator=True).set_output(transform="default")
    with pytest.warns(UserWarning, match="Skipping features"):
        columns = imputer.fit_transform(X)
    select = SelectKBest(k=2, score_func=lambda X, _: np.arange(X.shape[1], 0, -1)).fit(columns, [0, 1, 0])

    imputed = Layout.of_features(4).through(imputer)
    layout = imputed.through(select)

    assert imputed.source.tolist() == [1, 2, 3, 0, 2]
    assert layout.source.tolist() == [1, 2]


def test_a_linear_model_behind_encodings_states_a_mixed_reference(tmp_path: Path) -> None:
    """Scaled columns have a recorded mean, one-hot columns take that of the golden rows."""
    pipeline = fitted(LogisticRegression())
    small = writing.predictor(tmp_path / "small", pipeline, MIXED, FRAME.take(slice(0, 50)))

    explainer = Explainer.for_predictor(small)

    assert "StandardScaler recorded them, else the means of the 50 golden rows" in explainer.reference
    assert oracle.close(-pipeline.decision_function(FRAME.as_dataframe()), explainer.explain(FRAME).margin[:, 0])


@pytest.mark.parametrize(
    ("pipeline", "words"),
    [
        (KNeighborsClassifier(), "for KNeighborsClassifier; supported estimators: GradientBoostingClassifier, "),
        (SVC(), "for SVC; supported estimators: "),
        (
            make_pipeline(PCA(2), LogisticRegression()),
            "with a PCA step; supported steps: passthrough, StandardScaler, ",
        ),
        (
            make_pipeline(FunctionTransformer(np.abs), LogisticRegression()),
            "FunctionTransformer step: what its function",
        ),
    ],
    ids=["neighbours", "support vectors", "principal components", "a function"],
)
def test_what_cannot_be_split_is_refused_by_name(pipeline: Any, words: str, tmp_path: Path) -> None:
    """The text says which part is in the way and which ones are not."""
    X = RANDOM.normal(size=(60, 3))
    pipeline.fit(X, X[:, 0] > 0)
    probabilities = hasattr(pipeline, "predict_proba")
    output = contracts.classes(0, 1).model_copy(update={"decision": "predict", "probabilities": probabilities})
    contract = Contract(features=contracts.numbers(3), output=output)
    small = writing.predictor(tmp_path / "small", pipeline, contract, contract.frame_from_matrix(X[:5]))

    with pytest.raises(NotSupported, match=words):
        Explainer.for_predictor(small)


class Doubled(LogisticRegression):  # type: ignore[misc]
    """A user's own class."""

    __module__ = "somewhere.else"

    def decision_function(self, X: Any) -> Any:
        """Answer otherwise than the parent."""
        return 2 * super().decision_function(X)


def test_a_subclass_is_not_taken_for_its_parent(tmp_path: Path) -> None:
    """It may answer otherwise, as this one does."""
    X = RANDOM.normal(size=(60, 3))
    contract = Contract(features=contracts.numbers(3), output=contracts.classes(0, 1, positive=1))
    predictor = writing.predictor(
        tmp_path / "small", LogisticRegression().fit(X, X[:, 0] > 0), contract, contract.frame_from_matrix(X[:5])
    )
    predictor.pipeline = Doubled().fit(X, X[:, 0] > 0)

    with pytest.raises(NotSupported, match="for Doubled"):
        Explainer.for_predictor(predictor)


def test_an_explanation_that_does_not_add_up_is_never_shown(tmp_path: Path) -> None:
    """Whatever changed the answers of an estimator behind our back, the golden rows show it when it is loaded."""
    X = RANDOM.normal(size=(60, 3))
    contract = Contract(features=contracts.numbers(3), output=contracts.classes(0, 1, positive=1))
    model = LogisticRegression().fit(X, X[:, 0] > 0)
    predictor = writing.predictor(tmp_path / "small", model, contract, contract.frame_from_matrix(X[:5]))
    answers = predictor.pipeline.decision_function
    predictor.pipeline.decision_function = lambda X: answers(X) + 1e-6

    with pytest.raises(BugError, match=r"LogisticRegression do not add up: .*differ by up to"):
        Explainer.for_predictor(predictor)


def explanation(contributions: Any) -> Explanation:
    """Make an explanation of given contributions [N, F, K]."""
    array = np.asarray(contributions, dtype=np.float64)
    features = tuple(f"x{index}" for index in range(array.shape[1]))
    outputs = tuple("abc"[: array.shape[2]])
    return Explanation("value", np.zeros(array.shape[2]), array, features, outputs, "nothing")


def test_reasons_fall_by_size_and_ties_stay_in_contract_order() -> None:
    """Two clients that compare notes must see the same list."""
    reasons = explanation([[[0.5], [-2.0], [-0.5], [0.0], [0.5]]]).reasons(4)[0]

    assert [reason.feature for reason in reasons] == ["x1", "x0", "x2", "x4"]
    assert [reason.direction for reason in reasons] == ["decreases", "increases", "decreases", "increases"]


def test_reasons_speak_of_the_output_asked_for() -> None:
    """By default of the largest margin, which is the label of an argmax decision."""
    contributions = [[[1.0, 5.0], [2.0, -1.0]]]

    assert [(r.output, r.contribution) for r in explanation(contributions).reasons(1)[0]] == [("b", 5.0)]
    assert [(r.output, r.contribution) for r in explanation(contributions).reasons(1, [0])[0]] == [("a", 2.0)]


@few
@given(
    numbers=st.lists(st.lists(st.floats(-10, 10), min_size=4, max_size=4), min_size=1, max_size=5),
    count=st.integers(0, 6),
)
def test_reasons_are_the_largest_contributions(numbers: list[list[float]], count: int) -> None:
    """No feature that is left out matters more than one that is named."""
    answer = explanation(np.array(numbers)[:, :, None])

    for row, reasons in zip(numbers, answer.reasons(count), strict=True):
        sizes = [abs(reason.contribution) for reason in reasons]
        assert sizes == sorted(map(abs, row), reverse=True)[:count]
        assert all((reason.contribution > 0) == (reason.direction == "increases") for reason in reasons)


def test_importing_explanations_imports_no_scikit_learn() -> None:
    """A server that never explains must not wait for it; the estimator brings along what is needed."""
    code = "import sys, model_server.explain; sys.exit('sklearn' in sys.modules or 'pandas' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
