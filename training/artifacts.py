"""Artifacts: files of a model that was fitted elsewhere -> one Pipeline with a sample; knows how to read and join them.

Reading a pickle runs code from it, so only files of one's own may be read.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from model_server.manifest import digest_of
from training import contract_draft as inference
from training import data, fit
from training.errors import BadArtifact
from training.sections import TableFile
from training.tables import read_file
from training.two_files import Metadata

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from model_server.contract import Contract
    from model_server.frame import Frame
    from model_server.predictor import Prediction


@dataclass(frozen=True, slots=True)
class Artifacts:
    """The files to adopt.

    Attributes:
        model: A fitted estimator or Pipeline, written by joblib or pickle.
        preprocessor: A fitted transformer that comes before it, or None.
        metadata: What was written down about it, or None.
        sample: CSV or Parquet of real rows.
        target: Column of the sample with the true values, or None.
        contract: YAML of the contract, or None to infer it from the sample.
    """

    model: Path
    sample: Path
    preprocessor: Path | None = None
    metadata: Path | None = None
    target: str | None = None
    contract: Path | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Adopted:
    """A fitted model with its sample, read and checked.

    Attributes:
        pipeline: One Pipeline, preprocessing included.
        contract: Features and output.
        frame: The sample's features, N rows.
        prediction: The answers for them.
        truth: The true values, shape [N], or None.
        parents: SHA-256 of each file read, by its role.
        metadata: What came with it, or None.
        same_as_parts: Whether the Pipeline answers exactly as preprocessor and model one after the other; None for
            one file.
    """

    pipeline: Any
    contract: Contract
    frame: Frame
    prediction: Prediction
    truth: Any
    parents: Mapping[str, str]
    metadata: Metadata | None
    same_as_parts: bool | None


def read(artifacts: Artifacts) -> Adopted:
    """Read the files, wrap the model and hold the sample against the contract.

    Args:
        artifacts: The files; the model and the preprocessor are unpickled, which runs code from them.

    Returns:
        The model with its sample.

    Raises:
        BadArtifact: A file cannot be read or the parts do not fit each other.
        BadData: The sample breaks the contract.
    """
    metadata = Metadata.read(artifacts.metadata) if artifacts.metadata else None
    model, preprocessor = (
        unpickle(artifacts.model),
        unpickle(artifacts.preprocessor) if artifacts.preprocessor else None,
    )
    pipeline = wrap(model, preprocessor)
    given = inference.read(artifacts.contract) if artifacts.contract else None
    strings = {feature.name for feature in given.features if feature.dtype == "string"} if given else set()
    columns = read_file(artifacts.sample, TableFile(kind="file", path=artifacts.sample.name), strings)
    name = artifacts.sample.name
    contract = given or inference.contract(pipeline, columns, name, artifacts.target, metadata)
    data.require(name, columns, contract.names)
    frame = data.checked_frame(name, contract, columns)
    same = None if preprocessor is None else _same(pipeline, preprocessor, model, contract, frame)
    prediction = _answer(pipeline, contract, frame)
    roles = {"model": artifacts.model, "preprocessor": artifacts.preprocessor, "metadata": artifacts.metadata}
    parents = {role: digest_of(path.read_bytes()) for role, path in roles.items() if path is not None}
    truth = _truth(name, artifacts.target, columns, contract)
    return Adopted(pipeline, contract, frame, prediction, truth, parents, metadata, same)


def unpickle(path: Path) -> Any:
    """Load an object that joblib or pickle wrote; this runs code from the file.

    Raises:
        BadArtifact: It cannot be loaded, or was made with another scikit-learn.
    """
    import joblib
    from sklearn.exceptions import InconsistentVersionWarning

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", InconsistentVersionWarning)
            return joblib.load(path)
    except OSError as error:
        raise BadArtifact(f"{path} cannot be read: {error.strerror or error}") from error
    except InconsistentVersionWarning as error:
        raise BadArtifact(
            f"{path} was made with scikit-learn {error.original_sklearn_version}, "
            f"here is {error.current_sklearn_version}: its answers may differ; "
            "adopt it with the version it was made with, or train it again"
        ) from error
    except Exception as error:
        # Whatever the file's own code raises: a missing package, a damaged pickle, a class that changed.
        raise BadArtifact(f"{path} cannot be loaded ({type(error).__name__}: {error}); is it a joblib file?") from error


def wrap(model: Any, preprocessor: Any = None) -> Any:
    """Put a fitted model, and what comes before it, into one Pipeline.

    Raises:
        BadArtifact: The model cannot predict, or the preprocessor cannot transform.
    """
    from sklearn.pipeline import Pipeline

    if not hasattr(model, "predict"):
        raise BadArtifact(f"the model file holds a {type(model).__name__}, which cannot predict")
    if preprocessor is not None and not hasattr(preprocessor, "transform"):
        raise BadArtifact(f"the preprocessor file holds a {type(preprocessor).__name__}, which cannot transform")
    if preprocessor is None:
        return model if isinstance(model, Pipeline) else Pipeline([("model", model)])
    return Pipeline([("preprocess", preprocessor), ("model", model)])


def _answer(pipeline: Any, contract: Contract, frame: Frame) -> Prediction:
    try:
        return fit.answer(pipeline, contract.output, frame)
    except (TypeError, ValueError, AttributeError, KeyError) as error:
        text = " ".join(str(error).split())
        raise BadArtifact(
            f"the model cannot answer the sample: {text}; does the contract have its features, in its order?"
        ) from error


def _same(pipeline: Any, preprocessor: Any, model: Any, contract: Contract, frame: Frame) -> bool:
    parts = fit.answer_matrix(model, contract.output, preprocessor.transform(fit.inputs(frame, preprocessor)))
    whole = _answer(pipeline, contract, frame)
    pairs = ((parts.labels, whole.labels), (parts.probabilities, whole.probabilities), (parts.values, whole.values))
    return all(np.array_equal(one, other) for one, other in pairs if one is not None and other is not None)


def _truth(name: str, target: str | None, columns: Mapping[str, Any], contract: Contract) -> Any:
    if target is None:
        return None
    data.require(name, dict(columns), [target])
    truth = data.true_values(name, target, dict(columns), is_classification=contract.output.task == "classification")
    classes = contract.output.classes
    strange = next((row for row, label in enumerate(truth.tolist()) if classes and label not in classes), None)
    if strange is not None:
        raise BadArtifact(f"{name}: target {target!r} in row {strange} is none of the model's classes {list(classes)}")
    return truth
