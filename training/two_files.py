"""The two-file form of a model: ``preprocessor.pkl``, ``model.pkl`` and ``metadata.json``; knows its layout.

The bundle's one Pipeline is what is served; this form is for services that load the two parts themselves.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from model_server.bundle import open_bundle, read_run
from model_server.errors import describe
from model_server.manifest import canonical_json
from training.errors import BadArtifact
from training.figures import Figures
from training.publish import dump

if TYPE_CHECKING:
    from pathlib import Path

    from model_server.bundle import Verified

PREPROCESSOR, MODEL, METADATA = "preprocessor.pkl", "model.pkl", "metadata.json"


class Metadata(BaseModel):
    """What ``metadata.json`` says of a model; further keys are kept.

    Attributes:
        model_class: Name of the estimator's class.
        model_config_: Its parameters; written as ``model_config``.
        feature_names: In the order the preprocessor takes.
        n_features: How many.
        dataset: Name of the table.
        train_samples: Rows trained on.
        test_samples: Rows set apart.
        train_duration_s: Seconds the training took.
        cv_roc_auc_mean: Mean ROC-AUC over the folds.
        cv_roc_auc_std: Its standard deviation.
        train_metrics: Metrics on the rows trained on.
        test_metrics: Metrics on the rows set apart.
    """

    model_config = ConfigDict(frozen=True, extra="allow", populate_by_name=True, serialize_by_alias=True)

    model_class: str
    model_config_: dict[str, JsonValue] = Field(default_factory=dict, alias="model_config")
    feature_names: tuple[str, ...] = ()
    n_features: int | None = None
    dataset: str = ""
    train_samples: int | None = None
    test_samples: int | None = None
    train_duration_s: float | None = None
    cv_roc_auc_mean: float | None = None
    cv_roc_auc_std: float | None = None
    train_metrics: dict[str, float | str] = Field(default_factory=dict)
    test_metrics: dict[str, float | str] = Field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> Metadata:
        """Read a ``metadata.json``.

        Raises:
            BadArtifact: It cannot be read or is not valid; the text names each faulty key.
        """
        try:
            return cls.model_validate_json(path.read_bytes())
        except OSError as error:
            raise BadArtifact(f"{path} cannot be read: {error.strerror}") from error
        except ValidationError as error:
            raise BadArtifact(f"{path} is not valid: {describe(error)}") from error


def export(verified: Verified, folder: Path) -> list[Path]:
    """Write a bundle's pipeline as two files and their metadata.

    Args:
        verified: The bundle.
        folder: Where to write; made if absent.

    Returns:
        The files written.

    Raises:
        BadArtifact: One of them exists already; nothing is overwritten.
    """
    pipeline = open_bundle(verified).pipeline
    figures = Figures.from_bytes(verified.read("metrics.json"))
    parts = figures.model_dump(mode="json", include=set(Metadata.model_fields) - {"train_duration_s"})
    duration = read_run(verified.directory).get("train_duration_s")
    metadata = Metadata.model_validate(parts | {"train_duration_s": duration, **_versioning(verified)})
    content = {
        PREPROCESSOR: dump(_preprocessor(pipeline)),
        MODEL: dump(pipeline[-1]),
        METADATA: canonical_json(metadata.model_dump(mode="json")),
    }
    folder.mkdir(parents=True, exist_ok=True)
    taken = [name for name in content if (folder / name).exists()]
    if taken:
        raise BadArtifact(f"{folder} holds {', '.join(taken)} already: choose an empty folder")
    for name, data in content.items():
        (folder / name).write_bytes(data)
    return [folder / name for name in content]


def _preprocessor(pipeline: Any) -> Any:
    from sklearn.preprocessing import FunctionTransformer

    return pipeline[:-1] if len(pipeline) > 1 else FunctionTransformer()


def _versioning(verified: Verified) -> dict[str, JsonValue]:
    manifest = verified.manifest
    return {
        "version": manifest.version,
        "run_id": manifest.lineage.run_id,
        "dataset_sha256": manifest.lineage.dataset.sha256,
        "git_commit": manifest.lineage.git_commit,
        "bundle_digest": verified.digest,
    }
