"""Estimators converted for ONNX Runtime: every example, by the command line, and what is not converted."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import joblib
import numpy as np
import pytest
import yaml
from sklearn.datasets import load_diabetes
from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestRegressor

from model_server import onnx
from model_server.bundle import open_bundle, verify
from model_server.onnx.session import Session
from model_server.parity.record import recorded
from model_server.predictor import Predictor
from model_server.serving.loaded import Wanted, build
from tests.bundles.visits import write_config
from training import config as configs
from training import data
from training.__main__ import main
from training.config import load
from training.conversion import convert
from training.errors import BadConfig
from training.sections import Onnx

if TYPE_CHECKING:
    from model_server.parity.record import OnnxParity

CONFIGS = Path(configs.__file__).parent / "configs"

#: Whether each example is converted to double precision, and how many of its splits are looked at.
EXAMPLES = {"breast-cancer": (False, 1000), "churn": (False, 400), "diabetes": (False, 200), "iris": (True, 0)}


def onnx_record(folder: Path) -> OnnxParity:
    """Read what a bundle says of its converted estimator."""
    parity = recorded(verify(folder))
    assert parity is not None
    assert parity.onnx is not None
    return parity.onnx


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_example_can_be_converted(name: str, registry: Path) -> None:
    """No row of its table and none beside its splits is further from scikit-learn than a millionth."""
    predictor = Predictor(open_bundle(verify(registry / name / "1.0.0")))
    config = load(CONFIGS / f"{name.replace('-', '_')}.yaml")
    record, content = convert(predictor, data.load(config, CONFIGS).frame, 1e-6)
    double, splits = EXAMPLES[name]

    assert content is not None
    assert (record.used, record.double) == (True, double)
    assert record.largest_difference is not None
    assert record.largest_difference <= 1e-6
    assert set(record.beyond.values()) == {0}
    assert record.splits_compared >= splits


def test_the_steps_before_the_estimator_are_not_converted(registry: Path) -> None:
    """They are exact: rounding them would send rows beside a split down another branch, and others with them."""
    opened = open_bundle(verify(registry / "breast-cancer" / "1.0.0"))
    predictor = Predictor(opened)
    frame = predictor.golden_frame()
    _, content = convert(predictor, frame, 1e-6)
    assert content is not None
    scaler = opened.pipeline[0]
    columns = scaler.transform(frame.as_matrix()).astype(np.float32)

    np.testing.assert_allclose(
        Session(content).run(columns), opened.pipeline.predict_proba(frame.as_matrix()), rtol=0, atol=1e-6
    )


@pytest.fixture(name="shop", scope="module")
def _shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shop's bundle, made with --onnx."""
    root = tmp_path_factory.mktemp("onnx")
    config = write_config(root)
    assert main(["run", str(config), "--registry", str(root / "r"), "--onnx"]) == 0
    return root / "r" / "shop" / "1.0.0"


def test_a_bundle_made_with_onnx_holds_the_estimator_and_its_record(
    shop: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """And inspect shows both beside the compiled kernels."""
    assert main(["inspect", str(shop)]) == 0
    shown = " ".join(capsys.readouterr().out.split())

    assert onnx_record(shop).used
    assert open_bundle(verify(shop)).golden.tolerance == 1e-6
    assert "served by compiled kernels" in shown
    assert "ONNX Runtime may answer, in double precision, with predictor: onnx" in shown
    assert "because within 1e-06 of scikit-learn on every compared row" in shown
    assert "at most 1e-06 is admitted" in shown
    assert f"{onnx.MODEL} " in shown


def test_it_is_used_where_the_server_is_asked_to(shop: Path) -> None:
    """The server answers with it what scikit-learn does."""
    uri, allow = str(shop), True  # nobody promoted it
    served = {
        name: build(Wanted(uri, predictor=name, allow_unapproved=allow))
        for name in ("scikit-learn", "compiled", "onnx")
    }
    frame = served["onnx"].predictor.golden_frame()
    answers = {name: each.predictor.predict(frame) for name, each in served.items()}

    assert {name: each.predictor.model.name for name, each in served.items()} == {name: name for name in served}
    for answer in answers.values():
        assert answer.labels is not None
        assert answer.labels.tolist() == answers["scikit-learn"].labels.tolist()  # type: ignore[union-attr]  # looked at above
        np.testing.assert_allclose(answer.probabilities, answers["scikit-learn"].probabilities, rtol=0, atol=1e-6)  # type: ignore[arg-type]  # None would differ


def adopted(folder: Path, model: object, *words: str) -> Path:
    """Adopt a regression with --onnx, and give its bundle."""
    X, y = load_diabetes(return_X_y=True, as_frame=True, scaled=False)
    joblib.dump(model.fit(X, y), folder / "model.pkl")  # type: ignore[attr-defined]  # scikit-learn ships no types
    X.assign(y=y).to_csv(folder / "sample.csv", index=False)
    files = ["--model", str(folder / "model.pkl"), "--sample", str(folder / "sample.csv"), "--target", "y"]
    asked = ["adopt", *files, "--name", "plain", "--version", "0.1.0", "--registry", str(folder / "r"), *words]
    assert main(asked) == 0
    return folder / "r" / "plain" / "0.1.0"


def test_an_adopted_model_can_be_converted(tmp_path: Path) -> None:
    """It may have a tolerance of its own."""
    folder = adopted(tmp_path, RandomForestRegressor(5, random_state=0), "--onnx-tolerance", "1e-5")

    golden = open_bundle(verify(folder)).golden

    assert (onnx_record(folder).used, onnx_record(folder).tolerance) == (True, 1e-5)
    assert golden.tolerance == 1e-5 * np.max(np.array(golden.outputs["value"], dtype=np.float64))
    assert onnx.choose(Predictor(open_bundle(verify(folder))))[0] is not None


def test_a_model_that_cannot_be_converted_is_made_without(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Histogram-based trees compare in double precision, converted ones in single: rows change sides of a split."""
    folder = adopted(tmp_path, HistGradientBoostingRegressor(max_iter=5), "--onnx")
    shown = " ".join(capsys.readouterr().out.split())

    assert "ONNX Runtime is not used because more than 1e-06 from scikit-learn" in shown
    assert onnx_record(folder).beyond["splits"] > 0
    assert open_bundle(verify(folder)).golden.tolerance == 1e-9
    assert not folder.joinpath(onnx.MODEL).exists()


@pytest.mark.parametrize(
    ("written", "asked", "tolerance"),
    [
        (None, None, None),
        ({}, None, 1e-6),
        ({"tolerance": 1e-5}, None, 1e-5),
        (None, Onnx(), 1e-6),
        ({"tolerance": 1e-5}, Onnx(), 1e-5),
        ({"tolerance": 1e-5}, Onnx(tolerance=1e-4), 1e-4),
    ],
    ids=["nothing", "written", "with tolerance", "asked", "both", "asked with tolerance"],
)
def test_the_command_line_adds_to_the_configuration(
    written: dict[str, float] | None, asked: Onnx | None, tolerance: float | None, tmp_path: Path
) -> None:
    """So that a model's hash tells whether it was to be converted."""
    config = write_config(tmp_path)
    raw = yaml.safe_load(config.read_text("utf-8"))
    config.write_text(yaml.safe_dump(raw if written is None else raw | {"onnx": written}), "utf-8")
    found = load(config, onnx=asked).onnx

    assert (found.tolerance if found else None) == tolerance


def test_a_section_that_is_none_is_refused(tmp_path: Path) -> None:
    """It is named, whatever the command line says."""
    config = write_config(tmp_path)
    config.write_text(config.read_text("utf-8") + "\nonnx: true\n", "utf-8")

    with pytest.raises(BadConfig, match="onnx"):
        load(config, onnx=Onnx())


@pytest.mark.parametrize("text", ["0", "-1", "0.1", "nan", "little"])
def test_a_tolerance_has_limits(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A thousandth of a probability changes decisions."""
    with pytest.raises(SystemExit):
        main(["run", "any.yaml", "--onnx-tolerance", text])
    assert "must be a number above 0 and at most 0.001" in capsys.readouterr().err


def test_without_the_extra_nothing_is_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is said before a training that may take long, with the command that helps."""
    monkeypatch.setitem(sys.modules, "skl2onnx", None)  # how Python itself says that there is none

    assert main(["run", str(write_config(tmp_path)), "--registry", str(tmp_path / "r"), "--onnx"]) == 2
    assert capsys.readouterr().err == (
        "extra-missing: onnx needs skl2onnx: pip install 'model-server[training,onnx,onnx-convert]'\n"
    )
    assert not (tmp_path / "r").exists()
