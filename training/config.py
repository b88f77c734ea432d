"""TrainConfig: one YAML a model, validated and hashable; knows every key and its rule, not what is done with it.

Equal configurations hash equally, whatever their comments and layout.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from model_server.contract import Feature
from model_server.errors import describe
from model_server.feature import Name
from model_server.manifest import ModelName, SemVer, Serving, canonical_json, digest_of
from training.errors import BadConfig
from training.sections import (
    Builtin,
    CrossValidation,
    Gates,
    Generator,
    Group,
    GroupSplit,
    Onnx,
    RandomSplit,
    Report,
    Step,
    TableFile,
    Target,
    TimeSplit,
)

if TYPE_CHECKING:
    from pathlib import Path


class TrainConfig(BaseModel):
    """All of one training.

    Attributes:
        name: Name of the model: lower case, digits and dashes.
        version: Semantic version of the bundle.
        description: One sentence for people.
        data: Where the table comes from.
        row_id: Column that names each row; left out: the position, from 0.
        target: The column to predict.
        features: The input contract, in the order the model takes.
        split: How the test set is set apart.
        preprocessing: Groups of columns and their steps; none hands the features to the estimator as they are.
        estimator: The model.
        cross_validation: How the training part is cross-validated.
        gates: What must be reached.
        report: What is reported.
        serving: How the server presents the model.
        onnx: Whether the estimator is also converted for ONNX Runtime; left out: it is not.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: ModelName
    version: SemVer
    description: str = ""
    data: Annotated[Builtin | Generator | TableFile, Field(discriminator="kind")]
    row_id: Name | None = None
    target: Target
    features: tuple[Feature, ...] = Field(min_length=1)
    split: Annotated[RandomSplit | GroupSplit | TimeSplit, Field(discriminator="by")] = RandomSplit(by="random")
    preprocessing: tuple[Group, ...] = ()
    estimator: Step
    cross_validation: CrossValidation = CrossValidation()
    gates: Gates = Gates()
    report: Report = Report()
    serving: Serving = Serving()
    onnx: Onnx | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        names = [feature.name for feature in self.features]
        _refuse_repeats("features", names)
        _refuse_repeats("preprocessing", [group.name for group in self.preprocessing])
        if self.target.column in names:
            raise ValueError(f"the target {self.target.column!r} must not be a feature")
        named = [("preprocessing", name) for group in self.preprocessing for name in group.columns]
        named += [("report.slices", name) for name in self.report.slices or ()]
        for place, name in named:
            if name not in names:
                raise ValueError(f"{place} names {name!r}, which is not a feature")
        return self

    @property
    def is_classification(self) -> bool:
        """Whether labels are predicted."""
        return self.target.task == "classification"

    @property
    def primary(self) -> str:
        """Name of the metric that decides."""
        return self.gates.primary or ("roc_auc" if self.is_classification else "r2")

    @property
    def sha256(self) -> str:
        """Hash of the whole configuration."""
        return digest_of(canonical_json(self.model_dump(mode="json")))


def _refuse_repeats(place: str, names: list[str]) -> None:
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise ValueError(f"{place}: names must be unique, repeated: {', '.join(repeated)}")


def load(path: Path, version: str | None = None, onnx: Onnx | None = None) -> TrainConfig:
    """Read and validate a configuration.

    Args:
        path: The YAML file.
        version: A version that replaces the file's, or None.
        onnx: A section whose keys replace the file's, or None.

    Returns:
        The configuration.

    Raises:
        BadConfig: The file cannot be read or breaks a rule; the text names file, key path and rule.
    """
    raw = _read(path)
    if version is not None:
        raw = {**raw, "version": version}
    if onnx is not None:
        raw = {**raw, "onnx": _merged(raw.get("onnx"), onnx)}
    try:
        return TrainConfig.model_validate_json(canonical_json(raw))
    except ValidationError as error:
        raise BadConfig(f"{path}: {describe(error)}") from error
    except TypeError as error:  # canonical JSON: a key that is not a text, a value that JSON does not have
        raise BadConfig(f"{path}: {error}") from error


def _merged(written: Any, asked: Onnx) -> Any:
    # What is no mapping stays as it is, to be refused.
    return {**(written or {}), **asked.model_dump(exclude_unset=True)} if isinstance(written, dict | None) else written


def _read(path: Path) -> dict[str, Any]:
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadConfig(f"{path}: cannot be read ({error.strerror}); see training/configs for examples") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise BadConfig(f"{path}: is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(raw, dict):
        raise BadConfig(f"{path}: must be a mapping of keys, see training/configs for examples")
    return raw
