"""A converted estimator in scikit-learn's place: within its tolerance, with scikit-learn's labels, or not at all."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import skl2onnx
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import GradientBoostingClassifier, HistGradientBoostingRegressor, RandomForestClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression, RidgeClassifier
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OrdinalEncoder, StandardScaler
from sklearn.tree import DecisionTreeRegressor

from model_server import onnx
from model_server.bundle import Bundle, Golden, Verified, open_bundle, verify, write
from model_server.contract import Contract, Feature, Output
from model_server.errors import BundleTampered
from model_server.manifest import canonical_json
from model_server.onnx.close import CloseCalls
from model_server.onnx.converted_model import ConvertedModel, steps_before
from model_server.onnx.session import Session
from model_server.output import Tier
from model_server.parity.record import PARITY, OnnxParity, Parity
from model_server.predictor import Predictor
from model_server.serving.loaded import Wanted, build
from tests.bundles import contracts, writing
from training.conversion import convert

if TYPE_CHECKING:
    from model_server.frame import Frame

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(300, 3))
TWO = (X[:, 0] + 0.5 * RANDOM.normal(size=300) > 0).astype(int)
THREE = np.digitize(X[:, 0] + 0.3 * RANDOM.normal(size=300), [-0.5, 0.5])
FEATURES = (*contracts.numbers(2), Feature(name="x2", dtype="float", nullable=True))
CONTRACTS = {
    "two": Contract(features=FEATURES, output=contracts.classes(0, 1, positive=1)),
    "three": Contract(features=FEATURES, output=contracts.classes(0, 1, 2)),
    "value": Contract(features=FEATURES, output=contracts.VALUE),
    "own": Contract(
        features=FEATURES,
        output=contracts.classes(0, 1, positive=1).model_copy(update={"decision": "predict", "probabilities": False}),
    ),
}
FRAME = CONTRACTS["two"].frame_from_matrix(X)
GOLDEN = FRAME.take(range(16))
TOLERANCE = 1e-6


def opened(folder: Path, pipeline: Any, contract: Contract, extra: dict[str, bytes] | None = None) -> Predictor:
    """Write the bundle of a pipeline, with further files, and open it."""
    rows = {"rows": GOLDEN.to_rows(), "outputs": writing.outputs(pipeline, contract, GOLDEN.as_matrix())}
    files = writing.files(pipeline, rows | {"tolerance": 1e-9}) | (extra or {})
    return Predictor(open_bundle(write(folder, contracts.manifest(contract), files, {})))


def predictor(pipeline: Any, contract: Contract) -> Predictor:
    """Open a pipeline that lies in no bundle yet, as training does."""
    outputs = writing.outputs(pipeline, contract, GOLDEN.as_matrix())
    golden = Golden(rows=tuple(GOLDEN.to_rows()), outputs=outputs)
    return Predictor(Bundle(Verified(Path(), contracts.manifest(contract), digest=""), pipeline, golden))


def converted(pipeline: Any, contract: Contract) -> tuple[OnnxParity, bytes]:
    """Convert what can be converted."""
    record, content = convert(predictor(pipeline, contract), FRAME, TOLERANCE)
    assert content is not None, record.reason
    return record, content


def files(record: OnnxParity | None, content: bytes) -> dict[str, bytes]:
    """Give what training adds to a bundle."""
    parity = Parity(used=False, reason="left out here", onnx=record)
    return {PARITY: canonical_json(parity.model_dump(mode="json")), onnx.MODEL: content}


def boosted() -> Any:
    """Fit a boosted classifier behind a scaler."""
    return make_pipeline(StandardScaler(), GradientBoostingClassifier(n_estimators=20, random_state=0)).fit(X, TWO)


MODELS: dict[str, tuple[str, Any]] = {
    "boosting": ("two", boosted()),
    "boosting of three": ("three", GradientBoostingClassifier(n_estimators=5, random_state=0).fit(X, THREE)),
    "forest": ("two", RandomForestClassifier(10, random_state=0).fit(X, TWO)),
    "tree": ("value", make_pipeline(StandardScaler(), DecisionTreeRegressor(random_state=0)).fit(X, X[:, 0])),
    "logistic": ("three", make_pipeline(StandardScaler(), LogisticRegression()).fit(X, THREE)),
    "linear": ("value", LinearRegression().fit(X, 1e3 * X[:, 0] + X[:, 1])),
}

TREES = {"boosting", "boosting of three", "forest", "tree"}


@pytest.fixture(name="served", scope="module")
def _served(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Predictor, Predictor, OnnxParity]]:
    """Every model in a bundle: scikit-learn's predictor, the one a server chooses, and the record."""
    made = {}
    for name, (contract, pipeline) in MODELS.items():
        record, content = converted(pipeline, CONTRACTS[contract])
        plain = opened(tmp_path_factory.mktemp("b") / "1.0.0", pipeline, CONTRACTS[contract], files(record, content))
        chosen, why = onnx.choose(plain)
        assert chosen is not None, why
        made[name] = plain, chosen, record
    return made


LoadedBundle = dict[str, tuple[Predictor, Predictor, OnnxParity]]


def assert_alike(plain: Predictor, chosen: Predictor, frame: Frame) -> None:
    """Compare all that is answered: numbers within the tolerance, labels to the letter."""
    expected, actual = plain.predict(frame), chosen.predict(frame)
    if expected.values is None:
        assert expected.labels is not None
        assert actual.labels is not None
        assert expected.labels.tolist() == actual.labels.tolist()
        np.testing.assert_allclose(actual.probabilities, expected.probabilities, rtol=0, atol=TOLERANCE)  # type: ignore[arg-type]  # None would differ
    else:
        assert actual.values is not None
        assert np.all(np.abs(expected.values - actual.values) <= TOLERANCE * np.maximum(1.0, np.abs(expected.values)))


@pytest.mark.parametrize("name", MODELS)
def test_a_converted_estimator_answers_within_its_tolerance(served: LoadedBundle, name: str) -> None:
    """On every row of the table, all at once and one by one."""
    plain, chosen, _ = served[name]

    assert chosen.model.name == "onnx"
    assert chosen.model.is_bounded
    assert_alike(plain, chosen, FRAME)
    for row in range(0, FRAME.n_rows, 30):
        assert_alike(plain, chosen, FRAME.take(slice(row, row + 1)))


@pytest.mark.parametrize("name", MODELS)
def test_the_record_says_what_was_compared_and_how_far_apart_it_was(served: LoadedBundle, name: str) -> None:
    """Rows one step of the number line beside the splits of trees among them, none beyond the tolerance."""
    record = served[name][2]

    assert record.used
    assert (record.rows["golden"], record.rows["sample"], record.rows["missing"]) == (16, 300, 4)
    assert record.rows.get("splits", 0) == 2 * record.splits_compared
    assert (record.splits_compared == record.splits > 0) is (name in TREES)
    assert set(record.beyond.values()) == {0}
    assert record.largest_difference is not None
    assert record.largest_difference <= record.tolerance == TOLERANCE
    assert record.double is (name not in TREES)
    assert record.libraries.keys() == {"onnx", "onnxruntime", "skl2onnx"}


def test_a_conversion_gives_equal_bytes_each_time() -> None:
    """A bundle made twice is one bundle."""
    assert converted(boosted(), CONTRACTS["two"]) == converted(boosted(), CONTRACTS["two"])


@given(rows=arrays(np.float64, st.tuples(st.integers(1, 8), st.just(3)), elements=st.floats(-4, 4)))
@settings(max_examples=200)
def test_labels_are_those_of_scikit_learn(served: LoadedBundle, rows: Any) -> None:
    """A forest's probabilities often lie at the threshold itself, where single precision would choose by chance."""
    plain, chosen, _ = served["forest"]

    assert_alike(plain, chosen, CONTRACTS["two"].frame_from_matrix(rows))


def test_what_is_too_close_to_call_is_asked_of_scikit_learn(served: LoadedBundle) -> None:
    """Such rows have its very bits, their neighbours those of ONNX Runtime."""
    plain, chosen, _ = served["forest"]
    expected, actual = plain.predict(FRAME).probabilities, chosen.predict(FRAME).probabilities
    assert expected is not None
    assert actual is not None
    close = np.abs(expected[:, 1] - 0.5) < TOLERANCE

    assert 0 < close.sum() < len(close)
    assert np.array_equal(expected[close], actual[close])
    assert not np.array_equal(expected[~close], actual[~close])


TIERS = (Tier(name="low", at_least=0.0), Tier(name="mid", at_least=0.3), Tier(name="high", at_least=0.6))


@pytest.mark.parametrize(
    ("output", "answers", "rows"),
    [
        (contracts.classes(0, 1, positive=1), [[0.5, 0.5], [0.50001, 0.49999], [0.5000001, 0.4999999]], [0, 2]),
        (contracts.classes(0, 1, positive=0), [[0.5, 0.5], [0.6, 0.4]], [0]),
        (contracts.classes(0, 1, 2), [[0.4, 0.4, 0.2], [0.2, 0.41, 0.39], [0.0000001, 0.4999998, 0.5]], [0, 2]),
        (contracts.VALUE, [[0.5], [0.0]], []),
        (contracts.VALUE.model_copy(update={"tiers": TIERS}), [[0.3], [0.31], [0.6000001], [0.0]], [0, 2, 3]),
        (
            contracts.VALUE.model_copy(
                update={"tiers": (Tier(name="low", at_least=0.0), Tier(name="far", at_least=1e6))}
            ),
            [[1e6 + 0.5], [1e6 + 3]],
            [0],
        ),
    ],
    ids=["threshold", "first class", "highest", "value", "tiers", "large tier"],
)
def test_limits_have_a_margin(output: Output, answers: list[list[float]], rows: list[int]) -> None:
    """Of twice the tolerance; relative where the limit is above 1."""
    assert CloseCalls(output, TOLERANCE).rows(np.array(answers)) == rows


def test_missing_values_that_reach_the_estimator_are_scikit_learn_s(served: LoadedBundle) -> None:
    """Which answers them or refuses them; converters have other rules for them."""
    missing = CONTRACTS["two"].frame([[0.5, 0.5, None], [1.5, -0.5, 0.0]])
    plain, chosen, _ = served["forest"]

    assert np.array_equal(plain.predict(missing).probabilities, chosen.predict(missing).probabilities)  # type: ignore[arg-type]  # None would differ
    with pytest.raises(ValueError, match="NaN"):
        served["linear"][1].predict(missing)


def test_a_value_that_a_step_refuses_is_refused(tmp_path: Path) -> None:
    """The contract admits a category that the encoder has never seen; scikit-learn says what becomes of it."""
    plan = Feature(name="plan", dtype="string", categories=("basic", "plus", "pro"))
    contract = Contract(features=(plan, *contracts.numbers(1)), output=contracts.VALUE)
    seen = contract.frame([[("basic", "plus")[at % 2], float(at)] for at in range(40)])
    columns = ColumnTransformer([("plans", OrdinalEncoder(), ["plan"]), ("rest", "passthrough", ["x0"])])
    pipeline = make_pipeline(columns, DecisionTreeRegressor(random_state=0))
    pipeline.fit(seen.as_dataframe(), np.arange(40.0))
    outputs = writing.outputs(pipeline, contract, seen.as_dataframe())
    golden = Golden(rows=tuple(seen.to_rows()), outputs=outputs)
    plain = Predictor(Bundle(Verified(tmp_path, contracts.manifest(contract), digest=""), pipeline, golden))
    made, content = convert(plain, seen, TOLERANCE)
    assert content is not None, made.reason
    model = ConvertedModel(
        plain.fitted, steps_before(plain.fitted, seen), Session(content), CloseCalls(contract.output, TOLERANCE)
    )

    assert made.rows["categories"] == 3
    assert model.predict(seen).tolist() == list(range(40))
    for each in (plain.model, model):
        with pytest.raises(ValueError, match="unknown categories"):
            each.predict(contract.frame([["pro", 1.0]]))


def test_labels_by_themselves_are_scikit_learn_s(served: LoadedBundle) -> None:
    """A converted classifier is asked for probabilities only."""
    plain, chosen, _ = served["logistic"]

    assert chosen.model.predict(FRAME).tolist() == plain.model.predict(FRAME).tolist()


def test_several_threads_answer_alike() -> None:
    """A container with more processors uses them."""
    _, content = converted(boosted(), CONTRACTS["two"])
    rows = np.repeat(X, 20, axis=0).astype(np.float32)

    np.testing.assert_allclose(Session(content, 2).run(rows), Session(content).run(rows), rtol=0, atol=TOLERANCE)


class Homemade(LogisticRegression):  # type: ignore[misc]  # scikit-learn ships no types
    """An estimator that no converter knows."""


@pytest.mark.parametrize(
    ("contract", "pipeline", "why"),
    [
        (
            "value",
            HistGradientBoostingRegressor(max_iter=10).fit(X, X[:, 0]),
            r"more than 1e-06 from scikit-learn, .* on these rows: \d+ of \d+ splits",
        ),
        (
            "two",
            CalibratedClassifierCV(LogisticRegression(), method="isotonic", cv=2).fit(X, TWO),
            r"more than 1e-06 from scikit-learn, .* on these rows: .*\d+ of 300 sample",
        ),
        (
            "two",
            KNeighborsClassifier().fit(X, TWO),
            "where the answers of KNeighborsClassifier jump is not known here, so rows beside that cannot be compared",
        ),
        ("two", Homemade().fit(X, TWO), "Homemade cannot be converted .MissingShapeCalculator."),
        (
            "value",
            make_pipeline(StandardScaler().set_output(transform="pandas"), LinearRegression()).fit(X, X[:, 0]),
            "StandardScaler gives out a table",
        ),
        (
            "own",
            RidgeClassifier().fit(X, TWO),
            "labels are the estimator's own, and a tolerance holds for numbers only",
        ),
    ],
    ids=["other side of a split", "converted wrongly", "jumps unknown", "no converter", "steps unknown", "own labels"],
)
def test_what_cannot_be_shown_to_agree_is_not_converted(contract: str, pipeline: Any, why: str) -> None:
    """The record says why, and there is no file."""
    record, content = convert(predictor(pipeline, CONTRACTS[contract]), FRAME, TOLERANCE)

    assert content is None
    assert not record.used
    assert re.match(why, record.reason), record.reason


def plain_bundle(folder: Path, added: dict[str, bytes]) -> Predictor:
    """Write the boosted model with what training is said to have added, and open it."""
    return opened(folder / "small" / "1.0.0", boosted(), CONTRACTS["two"], added)


def record(**changes: Any) -> OnnxParity:
    """Write a record that allows the converted estimator."""
    return OnnxParity(**{"used": True, "reason": "within 1e-06", "tolerance": TOLERANCE} | changes)


def other(pipeline: Any, contract: str) -> bytes:
    """Convert another model."""
    return converted(pipeline, CONTRACTS[contract])[1]


def foreign() -> bytes:
    """Convert as anybody would, with another name for the input."""
    kind = skl2onnx.common.data_types.FloatTensorType([None, 3])
    made: bytes = skl2onnx.to_onnx(LinearRegression().fit(X, TWO), initial_types=[("X", kind)]).SerializeToString()
    return made


@pytest.mark.parametrize(
    ("added", "why"),
    [
        (dict, "the bundle has no valid parity.json"),
        (lambda: files(None, b""), "the bundle was made without --onnx"),
        (lambda: files(record(used=False, reason="too far apart"), b""), "too far apart"),
        (lambda: files(record(), b"no protobuf"), r"ONNX Runtime does not take the estimator \(InvalidProtobuf\)"),
        (lambda: files(record(), foreign()), "model.onnx does not take one matrix of numbers"),
        (
            lambda: files(record(), other(RandomForestClassifier(5, random_state=0).fit(X, TWO), "two")),
            "more than 1e-06 from scikit-learn, or refused by one of them, on these rows: 16 of 16 golden, .*",
        ),
        (lambda: files(record(), other(LogisticRegression().fit(X, THREE), "three")), "cannot be compared: ValueError"),
    ],
    ids=["no record", "not asked for", "refused", "damaged", "foreign", "another model", "another contract"],
)
def test_a_server_gives_way_and_says_why(added: Any, why: str, tmp_path: Path) -> None:
    """Whatever the manifest says of its bytes, a file that does not answer as the pipeline does is not used."""
    chosen, reason = onnx.choose(plain_bundle(tmp_path, added()))

    assert chosen is None
    assert re.fullmatch(why, reason), reason


def test_a_changed_file_does_not_even_open(tmp_path: Path) -> None:
    """It is hashed like every other file of a bundle."""
    made = converted(boosted(), CONTRACTS["two"])
    folder = plain_bundle(tmp_path, files(*made)).bundle.verified.directory
    folder.joinpath(onnx.MODEL).chmod(0o644)
    folder.joinpath(onnx.MODEL).write_bytes(made[1][:-1] + b"x")

    with pytest.raises(BundleTampered, match=r"model\.onnx"):
        verify(folder)


def test_without_the_extra_the_server_says_how_to_install_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It serves with scikit-learn all the same."""
    plain = plain_bundle(tmp_path, files(*converted(boosted(), CONTRACTS["two"])))
    monkeypatch.setitem(sys.modules, "onnxruntime", None)  # how Python itself says that there is none

    assert onnx.choose(plain) == (None, "onnxruntime is not installed: pip install 'model-server[onnx]'")


def test_the_setting_says_which_predictor_answers(tmp_path: Path) -> None:
    """ONNX Runtime only where it is asked for."""
    made = files(*converted(boosted(), CONTRACTS["two"]))
    uri = str(plain_bundle(tmp_path, made).bundle.verified.directory)
    served = {name: build(Wanted(uri, predictor=name)) for name in ("scikit-learn", "compiled", "onnx")}

    assert {name: each.predictor.model.name for name, each in served.items()} == {
        "scikit-learn": "scikit-learn",
        "compiled": "scikit-learn",  # its record here says so
        "onnx": "onnx",
    }
    assert served["scikit-learn"].why == "the setting predictor says so"
    assert served["onnx"].why == "within 1e-06 of scikit-learn on every compared row"


def test_the_reason_tells_the_whole_way_to_the_predictor_that_answers(tmp_path: Path) -> None:
    """Why not the one that was asked for, and why the other."""
    plain = plain_bundle(tmp_path, files(None, b""))
    served = build(Wanted(str(plain.bundle.verified.directory), predictor="onnx"))

    assert served.predictor.model.name == "scikit-learn"
    assert served.why == "not onnx: the bundle was made without --onnx; scikit-learn: left out here"
