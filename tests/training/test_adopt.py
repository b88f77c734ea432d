"""Adoption: a model that was fitted elsewhere answers in a bundle exactly as it did there."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Any

import joblib
import numpy as np
import orjson
import pandas as pd
import pytest
import sklearn
import yaml
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_breast_cancer, load_diabetes
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier, RandomForestRegressor
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from model_server.bundle import open_bundle, verify
from model_server.checks import Status, worst
from model_server.predictor import Predictor
from tests.bundles.visits import visits, write_csv
from training import artifacts
from training import contract_draft as inference
from training.__main__ import main
from training.artifacts import Artifacts
from training.errors import BadArtifact, BadConfig, BadData
from training.figures import Figures
from training.registry import Registry
from training.two_files import Metadata

if TYPE_CHECKING:
    from pathlib import Path

NAMES = [str(name) for name in load_breast_cancer().feature_names]

#: A metadata.json as a two-file service wrote it, before there were bundles.
OLD_METADATA = {
    "model_class": "GradientBoostingClassifier",
    "model_config": {"n_estimators": 20, "max_depth": 3},
    "feature_names": NAMES,
    "n_features": 30,
    "dataset": "breast_cancer_wisconsin",
    "train_samples": 455,
    "test_samples": 114,
    "train_duration_s": 1.29,
    "cv_roc_auc_mean": 0.9912,
    "cv_roc_auc_std": 0.0063,
    "train_metrics": {"split": "train", "accuracy": 1.0, "roc_auc": 1.0},
    "test_metrics": {"split": "test", "accuracy": 0.9561, "roc_auc": 0.9917},
}


@pytest.fixture(scope="module")
def two_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with preprocessor.pkl, model.pkl, metadata.json and a sample, as another team left it."""
    folder = tmp_path_factory.mktemp("two-files")
    X, y = load_breast_cancer(return_X_y=True)
    scaler = StandardScaler().fit(X)
    model = GradientBoostingClassifier(n_estimators=20, random_state=0).fit(scaler.transform(X), y)
    joblib.dump(scaler, folder / "preprocessor.pkl")
    (folder / "model.pkl").write_bytes(pickle.dumps(model))
    (folder / "metadata.json").write_bytes(orjson.dumps(OLD_METADATA))
    table = pd.DataFrame(X, columns=NAMES).assign(diagnosis=y)
    table.iloc[::7].to_csv(folder / "sample.csv", index=False)
    return folder


def _words(folder: Path, root: Path, *more: str) -> list[str]:
    files = ["--model", "model.pkl", "--preprocessor", "preprocessor.pkl", "--metadata", "metadata.json"]
    files = [word if word.startswith("--") else str(folder / word) for word in files]
    sample = ["--sample", str(folder / "sample.csv"), "--target", "diagnosis"]
    return ["adopt", "--name", "adopted", "--version", "1.0.0", *files, *sample, "--registry", str(root), *more]


def test_two_files_become_one_bundle_that_answers_exactly_alike(
    two_files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every probability is the same number, not merely close; and it may be promoted."""
    assert main(_words(two_files, tmp_path, "--promote", "--floor", "roc_auc=0.9")) == 0
    told = capsys.readouterr().out
    assert "runs code" in told
    bundle = open_bundle(verify(tmp_path / "adopted" / "1.0.0"))
    predictor = Predictor(bundle)
    X = load_breast_cancer().data
    expected = joblib.load(two_files / "model.pkl").predict_proba(
        joblib.load(two_files / "preprocessor.pkl").transform(X)
    )
    answered = predictor.predict(predictor.contract.frame(X.tolist()))
    assert np.array_equal(np.asarray(answered.probabilities), expected)
    assert worst(predictor.check_golden()) is Status.PASS
    checks = {
        check.name: check.status for check in Figures.from_bytes(bundle.verified.read("metrics.json")).gates.checks
    }
    assert checks == {
        "sample keeps the contract": "PASS",
        "one pipeline answers as two files": "PASS",
        "sample roc_auc floor": "PASS",
    }
    assert Registry(tmp_path).production("adopted") == "1.0.0"


def test_what_came_with_the_model_is_kept_and_what_it_was_made_of_is_named(two_files: Path, tmp_path: Path) -> None:
    """Old figures are reported as such, and the files are pinned by their hashes."""
    assert main(_words(two_files, tmp_path)) == 0
    verified = verify(tmp_path / "adopted" / "1.0.0")
    figures = Figures.from_bytes(verified.read("metrics.json"))
    assert figures.reported["cv_roc_auc_mean"] == 0.9912
    assert figures.test_metrics["split"] == "sample"
    lineage = verified.manifest.lineage
    assert set(lineage.parents) == {"model", "preprocessor", "metadata"}
    assert lineage.dataset.name == "breast_cancer_wisconsin"
    assert (lineage.preprocessing, lineage.estimator.rsplit(".", 1)[1]) == (
        ("StandardScaler",),
        "GradientBoostingClassifier",
    )


def test_golden_rows_are_rows_of_the_sample(two_files: Path, tmp_path: Path) -> None:
    """A golden row is a real one."""
    assert main(_words(two_files, tmp_path)) == 0
    golden = open_bundle(verify(tmp_path / "adopted" / "1.0.0")).golden
    sample = pd.read_csv(two_files / "sample.csv").drop(columns="diagnosis").to_numpy().tolist()
    assert all(row in sample for row in golden.rows)


def test_adopting_the_same_files_again_is_recognised_and_others_are_refused(
    two_files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A version is one model for ever, adopted ones as well."""
    assert main(_words(two_files, tmp_path)) == 0
    assert main(_words(two_files, tmp_path)) == 0
    assert "is there already, made from the same files" in capsys.readouterr().out
    assert main(_words(two_files, tmp_path, "--description", "another")) == 1
    assert "use --version 1.0.1" in capsys.readouterr().err


def test_a_floor_that_is_not_reached_keeps_the_model_out_of_production(
    two_files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The bundle is made, so that it can be looked at; promotion refuses it."""
    assert main(_words(two_files, tmp_path, "--promote", "--floor", "accuracy=1.01")) == 1
    assert "sample accuracy floor" in capsys.readouterr().err
    assert Registry(tmp_path).production("adopted") is None


def test_a_floor_needs_a_metric_that_can_be_measured(
    two_files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A misspelled floor must not pass by never being asked."""
    assert main(_words(two_files, tmp_path, "--floor", "auc=0.9")) == 2
    assert "--floor auc: is not measured on the sample; measured are accuracy" in capsys.readouterr().err
    without = _words(two_files, tmp_path, "--floor", "roc_auc=0.9")
    del without[without.index("--target") : without.index("--target") + 2]
    table = pd.read_csv(two_files / "sample.csv").drop(columns="diagnosis")
    table.to_csv(tmp_path / "bare.csv", index=False)
    without[without.index("--sample") + 1] = str(tmp_path / "bare.csv")
    assert main(without) == 2
    assert "name the sample's --target" in capsys.readouterr().err


def test_a_contract_is_written_for_review_and_then_used(
    two_files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Infer, review, adopt: the reviewed bounds are those of the bundle."""
    path = tmp_path / "contract.yaml"
    assert main(_words(two_files, tmp_path, "--write-contract", str(path))) == 0
    assert "review it" in capsys.readouterr().out
    text = path.read_text(encoding="utf-8")
    assert text.startswith("# A draft, inferred from sample.csv")
    reviewed = yaml.safe_load(text)
    reviewed["features"][0] |= {"minimum": 0, "unit": "um"}
    path.write_text(yaml.safe_dump(reviewed), encoding="utf-8")
    assert main(_words(two_files, tmp_path, "--contract", str(path))) == 0
    feature = verify(tmp_path / "adopted" / "1.0.0").manifest.contract.features[0]
    assert (feature.minimum, feature.unit) == (0, "um")
    assert main(_words(two_files, tmp_path, "--write-contract", str(path))) == 2
    assert "may be a reviewed contract" in capsys.readouterr().err


def _saved(folder: Path, model: Any, table: pd.DataFrame) -> Artifacts:
    joblib.dump(model, folder / "model.joblib")
    table.to_csv(folder / "sample.csv", index=False)
    return Artifacts(folder / "model.joblib", folder / "sample.csv", target="y")


def test_a_pipeline_of_named_mixed_columns_is_adopted_as_it_is(tmp_path: Path) -> None:
    """Fitted on a pandas table elsewhere, it is asked with one here; the order is the model's, not the file's."""
    table = pd.DataFrame(visits())[["age", "city", "member", "bought"]].rename(columns={"bought": "y"})
    table["age"] = pd.to_numeric(table["age"]).fillna(40).astype(int)
    table["city"] = table["city"].replace("", "Bern")
    table["member"] = table["member"] == "true"
    X = table[["city", "age", "member"]]
    columns = ColumnTransformer([("city", OneHotEncoder(), ["city"])], remainder="passthrough", sparse_threshold=0.0)
    model = make_pipeline(columns, RandomForestClassifier(10, random_state=0)).fit(X, table["y"])
    adopted = artifacts.read(_saved(tmp_path, model, table))
    assert adopted.contract.names == ("city", "age", "member")
    assert [feature.dtype for feature in adopted.contract.features] == ["string", "int", "bool"]
    assert adopted.contract.output.classes == ("no", "yes")
    assert np.array_equal(np.asarray(adopted.prediction.probabilities), model.predict_proba(X))
    assert adopted.same_as_parts is None


def test_a_bare_estimator_fitted_on_named_numbers_is_adopted_without_a_warning(tmp_path: Path) -> None:
    """It knows its feature names, so it is asked with names, here and by the server."""
    X, y = load_diabetes(return_X_y=True, as_frame=True, scaled=False)
    model = RandomForestRegressor(5, random_state=0).fit(X, y)
    files = _saved(tmp_path, model, X.assign(y=y))
    words = ["--model", str(files.model), "--sample", str(files.sample), "--target", "y"]
    words += ["--name", "plain", "--version", "0.1.0", "--registry", str(tmp_path / "r"), "--promote"]
    assert main(["adopt", *words]) == 0
    predictor = Predictor(open_bundle(verify(tmp_path / "r" / "plain" / "0.1.0")))
    assert predictor.contract.output.task == "regression"
    answered = predictor.predict(predictor.contract.frame(X.to_numpy()[:20].tolist()))
    assert np.array_equal(np.asarray(answered.values), model.predict(X)[:20])


def test_labels_that_disagree_with_the_model_s_classes_are_told(tmp_path: Path) -> None:
    """The sample's target must be what the model was fitted on."""
    X, y = load_breast_cancer(return_X_y=True, as_frame=True)
    files = _saved(
        tmp_path,
        LogisticRegression(max_iter=50).set_params(C=1e-6).fit(X.iloc[:, :2], y),
        X.iloc[:, :2].assign(y=y + 1),
    )
    with pytest.raises(BadArtifact, match=r"target 'y' in row 0 is none of the model's classes \[0, 1\]|row \d+"):
        artifacts.read(files)


def test_a_contract_that_orders_the_classes_otherwise_is_refused_and_nothing_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Probabilities would be told of the wrong class."""
    X, y = load_breast_cancer(return_X_y=True, as_frame=True)
    files = _saved(tmp_path, LogisticRegression(C=1e-6).fit(X.iloc[:, :2], y), X.iloc[:, :2].assign(y=y))
    contract = artifacts.read(files).contract
    turned = contract.model_copy(update={"output": contract.output.model_copy(update={"classes": (1, 0)})})
    path = tmp_path / "contract.yaml"
    path.write_text(inference.render(turned, "sample.csv"), encoding="utf-8")
    words = ["--model", str(files.model), "--sample", str(files.sample), "--contract", str(path)]
    root = tmp_path / "r"
    assert main(["adopt", *words, "--name", "turned", "--version", "1.0.0", "--registry", str(root)]) == 2
    assert "classes, or their order, differ" in capsys.readouterr().err
    assert not root.exists()


def test_a_model_that_knows_one_class_only_is_refused(tmp_path: Path) -> None:
    """It has nothing to tell apart."""
    model = DummyClassifier().fit([[0.0], [1.0]], [1, 1])
    with pytest.raises(BadArtifact, match="two distinct classes"):
        artifacts.read(_saved(tmp_path, model, pd.DataFrame({"a": [0.0, 1.0], "y": [1, 1]})))


@pytest.mark.parametrize(("key", "value"), [("--name", "My Model"), ("--version", "../1.0.0")])
def test_a_name_or_version_that_cannot_be_one_is_told(
    two_files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], key: str, value: str
) -> None:
    """Both become folders, and parts of URLs."""
    assert main(_words(two_files, tmp_path / "r", key, value)) == 2
    assert f"cannot be described: {key[2:]}: String should match pattern" in capsys.readouterr().err
    assert not (tmp_path / "r").exists()


class _Nothing:
    """Neither predicts nor transforms."""


def _damaged(folder: Path, content: bytes) -> Path:
    path = folder / "model.joblib"
    path.write_bytes(content)
    return path


def test_files_that_are_no_models_are_told(tmp_path: Path) -> None:
    """A damaged or foreign file is named, with what was found in it."""
    for content, rule in [(b"", "EOFError"), (b"not a pickle", "cannot be loaded")]:
        with pytest.raises(BadArtifact, match=rule):
            artifacts.unpickle(_damaged(tmp_path, content))
    with pytest.raises(BadArtifact, match="cannot be read: No such file"):
        artifacts.unpickle(tmp_path / "absent.pkl")
    with pytest.raises(BadArtifact, match="_Nothing, which cannot predict"):
        artifacts.wrap(_Nothing())
    with pytest.raises(BadArtifact, match="_Nothing, which cannot transform"):
        artifacts.wrap(LogisticRegression(), _Nothing())


def test_a_model_of_another_scikit_learn_is_refused(tmp_path: Path) -> None:
    """It may load and answer otherwise than it did; nobody would notice."""
    model = LogisticRegression().fit([[0.0], [1.0]], [0, 1])
    content = pickle.dumps(model).replace(sklearn.__version__.encode(), b"1.5.1")
    with pytest.raises(BadArtifact, match=r"made with scikit-learn 1\.5\.1, here is"):
        artifacts.unpickle(_damaged(tmp_path, content))


def test_a_sample_without_the_model_s_columns_is_refused(tmp_path: Path) -> None:
    """By name where the model has names, by number where it has none."""
    X, y = load_breast_cancer(return_X_y=True, as_frame=True)
    model = LogisticRegression(C=1e-6).fit(X[["mean radius", "mean area"]], y)
    with pytest.raises(BadData, match="column 'mean area' is not in the table"):
        artifacts.read(_saved(tmp_path, model, X[["mean radius"]].assign(y=y)))
    nameless = LogisticRegression(C=1e-6).fit(X[["mean radius", "mean area"]].to_numpy(), y)
    with pytest.raises(BadArtifact, match="takes 2 features, the sample has 3"):
        artifacts.read(_saved(tmp_path, nameless, X.iloc[:, :3].assign(y=y)))


@pytest.mark.filterwarnings("ignore:X has feature names")  # scikit-learn's, before it refuses the texts
def test_a_model_that_cannot_answer_the_sample_is_told(tmp_path: Path) -> None:
    """Texts where the model was fitted on numbers, in scikit-learn's own words."""
    model = LogisticRegression().fit(np.array([[0.0], [1.0]]), [0, 1])
    with pytest.raises(BadArtifact, match="cannot answer the sample"):
        artifacts.read(_saved(tmp_path, model, pd.DataFrame({"a": ["x", "y"], "y": [0, 1]})))
    contract = tmp_path / "contract.yaml"
    draft = inference.contract(Pipeline([("model", model)]), {"a": [1.0, 2.0], "y": [0, 1]}, "s", "y", None)
    texts = draft.model_copy(update={"features": (inference.feature("a", ["x"]),)})
    contract.write_text(inference.render(texts, "s"), encoding="utf-8")
    files = _saved(tmp_path, model, pd.DataFrame({"a": ["x", "x"], "y": [0, 1]}))
    with pytest.raises(BadArtifact, match="does the contract have its features"):
        artifacts.read(Artifacts(files.model, files.sample, contract=contract))


def test_a_model_with_other_classes_than_integers_and_texts_is_refused(tmp_path: Path) -> None:
    """A label must be something that JSON, and both protocols, can carry."""
    model = LogisticRegression().fit([[0.0], [1.0]], [False, True])
    with pytest.raises(BadArtifact, match="must be integers or texts"):
        artifacts.read(_saved(tmp_path, model, pd.DataFrame({"a": [0.0, 1.0], "y": [0, 1]})))


def test_names_in_metadata_that_contradict_the_model_are_refused(tmp_path: Path) -> None:
    """One of the two belongs to another model."""
    X, y = load_breast_cancer(return_X_y=True, as_frame=True)
    files = _saved(tmp_path, LogisticRegression(C=1e-6).fit(X.iloc[:, :2], y), X.iloc[:, :2].assign(y=y))
    path = tmp_path / "metadata.json"
    path.write_bytes(orjson.dumps({"model_class": "X", "feature_names": ["mean texture", "mean radius"]}))
    with pytest.raises(BadArtifact, match=r"not those of metadata\.json"):
        artifacts.read(Artifacts(files.model, files.sample, metadata=path, target="y"))


@pytest.mark.parametrize(
    ("content", "rule"),
    [
        pytest.param(None, "cannot be read", id="absent"),
        pytest.param(b"{}", "model_class: Field required", id="empty"),
        pytest.param(b'{"model_class": "X", "n_features": "many"}', "n_features", id="mistyped"),
    ],
)
def test_metadata_that_is_not_valid_names_the_key(tmp_path: Path, content: bytes | None, rule: str) -> None:
    """An old file loads, a wrong one is told."""
    path = tmp_path / "metadata.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(BadArtifact, match=rule):
        Metadata.read(path)


@pytest.mark.parametrize(
    ("content", "rule"),
    [
        pytest.param(None, "cannot be read .*--write-contract", id="absent"),
        pytest.param("features: [", "is not a contract in YAML", id="broken"),
        pytest.param("features: []\noutput: {}", "features: .*output.target", id="not valid"),
    ],
)
def test_a_contract_that_is_not_valid_names_the_key(tmp_path: Path, content: str | None, rule: str) -> None:
    """A contract is written by people, and told like a configuration."""
    path = tmp_path / "contract.yaml"
    if content is not None:
        path.write_text(content, encoding="utf-8")
    with pytest.raises(BadConfig, match=rule):
        inference.read(path)


@pytest.mark.parametrize(
    ("values", "dtype", "nullable", "categories"),
    [
        ([1, 2], "int", False, None),
        ([1, 2.5, None], "float", True, None),
        ([True, False], "bool", False, None),
        (["a", "b", None], "string", True, ("a", "b")),
        ([f"text {number}" for number in range(30)], "string", False, None),
        ([None, None], "string", True, None),
        (np.array([1.5, np.nan]), "float", True, None),
    ],
    ids=["int", "float", "bool", "choice", "free text", "nothing", "array"],
)
def test_a_feature_is_inferred_from_its_values(values: Any, dtype: str, nullable: bool, categories: Any) -> None:  # noqa: FBT001
    """A draft: type, choices and gaps; an example that was really there."""
    feature = inference.feature("x", values)
    assert (feature.dtype, feature.nullable, feature.categories) == (dtype, nullable, categories)


def test_export_and_adopt_are_inverse(shop_registry: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A bundle written as two files and adopted again answers as before, to the last bit."""
    folder = shop_registry / "shop" / "1.0.0"
    assert main(["export", str(folder), str(tmp_path / "out")]) == 0
    told = capsys.readouterr().out
    assert [line.rsplit("/", 1)[1] for line in told.splitlines()] == ["preprocessor.pkl", "model.pkl", "metadata.json"]
    assert main(["export", str(folder), str(tmp_path / "out")]) == 2
    assert "choose an empty folder" in capsys.readouterr().err
    metadata = Metadata.read(tmp_path / "out" / "metadata.json")
    assert metadata.feature_names == ("age", "basket", "city", "member")
    assert metadata.train_duration_s is not None
    sample = write_csv(tmp_path / "visits.csv", [row for row in visits() if row["city"]][:40])
    original = open_bundle(verify(folder))
    contract = tmp_path / "contract.yaml"
    contract.write_text(inference.render(original.manifest.contract, "the bundle"), encoding="utf-8")
    out = tmp_path / "out"
    files = Artifacts(out / "model.pkl", sample, out / "preprocessor.pkl", out / "metadata.json", contract=contract)
    adopted = artifacts.read(files)
    expected = Predictor(original).predict(adopted.frame)
    assert adopted.same_as_parts is True
    assert np.array_equal(np.asarray(adopted.prediction.probabilities), np.asarray(expected.probabilities))


def test_a_model_without_preprocessing_is_exported_with_one_that_does_nothing(tmp_path: Path) -> None:
    """Two-file services always call a preprocessor."""
    from training.two_files import export

    X, y = load_diabetes(return_X_y=True, as_frame=True, scaled=False)
    files = _saved(tmp_path, RandomForestRegressor(2, random_state=0).fit(X, y), X.assign(y=y))
    words = ["--model", str(files.model), "--sample", str(files.sample), "--target", "y"]
    assert main(["adopt", *words, "--name", "plain", "--version", "0.1.0", "--registry", str(tmp_path / "r")]) == 0
    export(verify(tmp_path / "r" / "plain" / "0.1.0"), tmp_path / "out")
    same = joblib.load(tmp_path / "out" / "preprocessor.pkl").transform(X)
    assert same is X
