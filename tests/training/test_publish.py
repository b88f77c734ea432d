"""What is in a bundle: golden rows, evidence, reference, pictures and card; and one flipped byte."""

from __future__ import annotations

import csv
import io
import shutil
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from model_server.bundle import Golden, open_bundle, verify
from model_server.checks import Status
from model_server.errors import BundleTampered, GoldenMismatch
from model_server.monitoring.reference import Reference
from model_server.output import Output
from model_server.predictor import Prediction
from training import fit, provenance, publish
from training.__main__ import main
from training.errors import BadConfig
from training.evidence import evidence
from training.figures import GateCheck
from training.golden import golden
from training.pictures import pictures, roc_points
from training.scores import Answers

if TYPE_CHECKING:
    from pathlib import Path

    from training.evaluate import Trained
    from training.figures import Figures

HERE = provenance.Provenance("c0ffee", git_dirty=False, lock_sha256="unknown", code_sha256="0", libraries={})


def _csv(content: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(content.decode())))


def test_golden_rows_are_test_rows_over_the_whole_range(shop_model: tuple[Trained, Figures]) -> None:
    """Both labels, from the surest no to the surest yes, and none the model was fitted on."""
    trained = shop_model[0]
    frame = trained.table.frame.take(trained.split.test.tolist())
    prediction = fit.answer(trained.pipeline, trained.contract.output, frame)
    chosen = golden(frame, prediction, 5)
    rows = frame.to_rows()
    assert all(row in rows for row in chosen.rows)
    assert chosen.outputs["label"] == sorted(chosen.outputs["label"], key=str)
    assert set(chosen.outputs["label"]) == {"no", "yes"}
    highest = np.array(chosen.outputs["probabilities"], dtype=np.float64).max()
    assert highest == np.asarray(prediction.probabilities).max()


def test_golden_rows_of_labels_without_probabilities_cover_the_labels(shop_model: tuple[Trained, Figures]) -> None:
    """Few rows, every label, never more rows than there are."""
    frame = shop_model[0].table.frame.take(range(4))
    chosen = golden(frame, Prediction(labels=np.array(["b", "a", "b", "b"], object)), 2)
    assert chosen.outputs == {"label": ["a", "b"]}
    assert len(golden(frame, Prediction(values=np.arange(4.0)), 99).rows) == 4


def test_evidence_names_every_row_s_part_and_every_test_answer(shop_model: tuple[Trained, Figures]) -> None:
    """The figures can be recomputed from the files beside them."""
    trained, figures = shop_model
    test = trained.answers(trained.split.test)
    files = {name: _csv(content) for name, content in evidence(trained, test).items()}
    parts = {line["row_id"]: line["part"] for line in files["evidence/split.csv"]}
    assert set(parts) == set(trained.table.row_ids)
    answered = files["evidence/predictions.csv"]
    assert {line["row_id"] for line in answered} == {row for row, part in parts.items() if part == "test"}
    right = [line["actual"] == line["predicted"] for line in answered]
    assert np.mean(right) == pytest.approx(figures.test_metrics["accuracy"], abs=1e-4)
    sums = [float(line["probability_no"]) + float(line["probability_yes"]) for line in answered]
    assert sums == pytest.approx([1.0] * len(sums), abs=2e-6)


def test_error_samples_are_the_surest_mistakes_with_their_features(shop_model: tuple[Trained, Figures]) -> None:
    """A person who wants to know where the model errs starts with these rows."""
    trained = shop_model[0]
    test = trained.answers(trained.split.test)
    errors = _csv(evidence(trained, test)["evidence/errors.csv"])
    assert len(errors) == 4
    assert all(line["actual"] != line["predicted"] for line in errors)
    sure = [max(float(line["probability_no"]), float(line["probability_yes"])) for line in errors]
    assert sure == sorted(sure, reverse=True)
    assert {"age", "basket", "city", "member"} <= errors[0].keys()


def test_a_model_without_mistakes_has_an_empty_list_of_them(shop_model: tuple[Trained, Figures]) -> None:
    """Only the header of the table is left."""
    trained = shop_model[0]
    test = trained.answers(trained.split.test)
    perfect = replace(test, answered=test.truth)
    assert _csv(evidence(trained, perfect)["evidence/errors.csv"]) == []


def test_evidence_of_labels_alone_and_of_numbers(shop_model: tuple[Trained, Figures]) -> None:
    """Without probabilities there are no columns for them; a regression has numbers."""
    trained = shop_model[0]
    test = trained.answers(trained.split.test)
    bare = _csv(evidence(trained, replace(test, probabilities=None))["evidence/predictions.csv"])
    assert list(bare[0]) == ["row_id", "actual", "predicted"]
    value = Output(target="y", task="regression", decision="value", probabilities=False)
    numbers = Answers(value, np.arange(float(len(test))), np.zeros(len(test)))
    errors = _csv(evidence(trained, numbers)["evidence/errors.csv"])
    assert [float(line["actual"]) for line in errors] == [59.0, 58.0, 57.0, 56.0]


def test_the_drift_reference_counts_training_rows_and_test_answers(shop_registry: Path) -> None:
    """Features as they were learned, answers as they are on rows not learned."""
    verified = verify(shop_registry / "shop" / "1.0.0")
    reference = Reference.model_validate_json(verified.read("reference.json"))
    assert (reference.n_rows, reference.n_answers) == (180, 60)
    assert set(reference.features) == {"age", "basket", "city", "member"}
    assert sum(reference.labels.values()) == 60


def _drawn(answers: Answers, figures: Any) -> dict[str, bytes]:
    one, again = pictures(answers, figures), pictures(answers, figures)
    assert one == again
    assert all(content.startswith(b"\x89PNG") for content in one.values())
    return one


def test_pictures_are_drawn_alike_each_time(shop_model: tuple[Trained, Figures]) -> None:
    """A picture is one of the hashed files."""
    trained, figures = shop_model
    test = trained.answers(trained.split.test)
    assert set(_drawn(test, figures)) == {"evidence/roc.png", "evidence/calibration.png"}
    assert _drawn(replace(test, probabilities=None), figures) == {}
    three = Output(target="y", task="classification", classes=(0, 1, 2), decision="argmax", probabilities=True)
    many = Answers(three, np.arange(3), np.arange(3), np.eye(3))
    assert set(_drawn(many, figures.model_copy(update={"calibration": None}))) == {"evidence/roc.png"}


def test_a_roc_curve_starts_at_nothing_and_ends_at_everything() -> None:
    """Ties are taken together, so that no order of equal scores flatters it."""
    hit, number = np.array([True, False, True, False]), np.array([0.9, 0.5, 0.5, 0.1])
    wrong, found = roc_points(hit, number)
    assert (wrong.tolist(), found.tolist()) == ([0.0, 0.0, 0.5, 1.0], [0.0, 0.5, 1.0, 1.0])


def test_the_card_says_what_a_stranger_must_know(registry: Path) -> None:
    """Use, data, figures, limits and lineage; the medical examples say that they are no medical advice."""
    words = {
        name: (registry / name / "1.0.0" / "card.md").read_text(encoding="utf-8")
        for name in ("breast-cancer", "diabetes")
    }
    for text in words.values():
        assert "research data set" in text
        assert "not medical advice" in " ".join(text.split()).replace("is not medical", "not medical")
        for title in ("Intended use", "Data and label", "Inputs", "Figures", "Gates", "Limits", "Lineage"):
            assert f"# {title}\n" in text
    assert "| malignant | 0.9744 | 0.9048 | 0.9383 | 42 |" in words["breast-cancer"]
    assert "0.9922 ± 0.0053" in words["breast-cancer"]


def test_a_card_without_words_says_that_they_are_missing(shop_registry: Path) -> None:
    """An empty section would look like there is nothing to say."""
    text = (shop_registry / "shop" / "1.0.0" / "card.md").read_text(encoding="utf-8")
    assert text.count("Not written down") == 2


def test_one_flipped_byte_in_any_file_is_refused(shop_registry: Path, tmp_path: Path) -> None:
    """It is refused before anything is unpickled."""
    folder = shop_registry / "shop" / "1.0.0"
    for name in verify(folder).manifest.files:
        copy = tmp_path / name.replace("/", "-")
        shutil.copytree(folder, copy)
        path = copy / name
        path.chmod(0o644)
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
        with pytest.raises(BundleTampered, match=name.rsplit("/", 1)[-1]):
            verify(copy)


def test_a_model_that_answers_otherwise_once_it_is_read_back_is_refused(
    shop_model: tuple[Trained, Figures], tmp_path: Path
) -> None:
    """A model with a random part would answer each client differently; its golden rows show that at once."""
    trained, figures = shop_model
    made = publish.draft(trained, figures, provenance.here("c0ffee"))
    wrong = Golden.model_validate_json(made.files["golden.json"])
    turned = wrong.model_copy(update={"outputs": {"label": wrong.outputs["label"][::-1]}})
    files = {**made.files, "golden.json": turned.model_dump_json().encode()}
    with pytest.raises(GoldenMismatch, match=r"golden label.*deterministic"):
        publish.write(tmp_path / "bundle", publish.Draft(made.manifest, files), {})
    assert not (tmp_path / "bundle").exists()


def test_pictures_without_matplotlib_say_what_to_install(
    shop_model: tuple[Trained, Figures], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is an extra, and not everyone wants pictures."""
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    trained, figures = shop_model
    with pytest.raises(BadConfig, match="matplotlib is not installed"):
        pictures(trained.answers(trained.split.test), figures)


def test_verify_and_inspect_show_a_bundle(shop_registry: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One page answers what it takes, gives, reached and comes from."""
    folder = str(shop_registry / "shop" / "1.0.0")
    digest = verify(shop_registry / "shop" / "1.0.0").digest
    assert main(["verify", folder, "--digest", digest]) == 0
    assert "shop 1.0.0 is whole" in capsys.readouterr().out
    assert main(["verify", folder, "--digest", "0" * 64]) == 1
    assert "but " + "0" * 64 + " was asked for" in capsys.readouterr().err
    assert main(["inspect", folder]) == 0
    page = capsys.readouterr().out
    words = [digest, "city", "Bern, Basel, Zug", "years", "0..120", "'yes'", "roc_auc", "cross-validation", "c0ffee"]
    words += ["PASS", "pipeline.joblib", "LogisticRegression", "max_iter = 500", "made at"]
    assert [word for word in words if word not in page] == []


def test_inspect_shows_units_tiers_and_both_cross_validations(
    registry: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every kind of output has its lines."""
    told = {}
    for name in ("churn", "diabetes", "breast-cancer", "iris"):
        assert main(["inspect", str(registry / name / "1.0.0")]) == 0
        told[name] = capsys.readouterr().out
    assert "high from 0.6" in told["churn"]
    assert "points" in told["diabetes"]
    assert "preprocessed before the folds: roc_auc 0.9922 ± 0.0053" in told["breast-cancer"]
    assert "'setosa'" in told["iris"]


def test_a_verdict_can_be_written_down_and_read_back() -> None:
    """Promotion reads what training wrote."""
    check = GateCheck(name="a", status="FAIL", observed=0.5, limit=0.6, text="b").as_check()
    assert (check.status, GateCheck.of(check).status) == (Status.FAIL, "FAIL")


def test_figures_and_manifests_are_read_only_when_they_are_valid() -> None:
    """A metrics.json of another program is told, not half understood."""
    from training.figures import Figures

    with pytest.raises(BundleTampered, match=r"metrics\.json is not valid: task"):
        Figures.from_bytes(b"{}")


def test_the_run_id_names_configuration_data_code_and_libraries() -> None:
    """Each of them makes another run; the commit alone, with the same code, does not."""
    start = provenance.run_id(HERE, "c", "d")
    assert len(start) == 16
    others = [
        provenance.run_id(HERE, "x", "d"),
        provenance.run_id(HERE, "c", "x"),
        provenance.run_id(replace(HERE, code_sha256="1"), "c", "d"),
        provenance.run_id(replace(HERE, libraries={"numpy": "2"}), "c", "d"),
        provenance.run_id(replace(HERE, lock_sha256="1"), "c", "d"),
    ]
    assert len({start, *others}) == 6
    assert provenance.run_id(replace(HERE, git_commit="beef", git_dirty=True), "c", "d") == start


def test_pipelines_open_as_they_were_written(shop_model: tuple[Trained, Figures], shop_registry: Path) -> None:
    """The pickle in the bundle is the pipeline that was measured."""
    frame = shop_model[0].table.frame.as_dataframe()
    opened = open_bundle(verify(shop_registry / "shop" / "1.0.0")).pipeline
    assert np.array_equal(opened.predict_proba(frame), shop_model[0].pipeline.predict_proba(frame))
