"""ContractDraft: a contract drafted from a sample, for people to review; knows columns, not what they mean.

A sample shows types, categories and missing values. It cannot show bounds, units or meaning: those are for a reviewer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import yaml
from pydantic import ValidationError

from model_server.contract import Contract
from model_server.errors import describe
from model_server.feature import Feature
from model_server.manifest import canonical_json
from training import data, fit
from training.errors import BadArtifact, BadConfig
from training.sections import Target

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from model_server.output import Output
    from training.tables import Columns
    from training.two_files import Metadata

#: A text column of at most this many values is taken for a choice among them.
MAX_CATEGORIES = 20

_HEADER = """\
# A draft, inferred from {sample}. Review it before use:
# - dtype: whole numbers were taken for int; write float where 1.5 is a valid value
# - minimum, maximum, unit, description: a sample cannot show them
# - categories: those of the sample; a value that is not listed is refused
"""


def contract(pipeline: Any, columns: Columns, sample: str, target: str | None, metadata: Metadata | None) -> Contract:
    """Infer a contract.

    Args:
        pipeline: The fitted model; its feature names, if it has any, decide which columns are meant and in which order.
        columns: The sample.
        sample: Its name, for errors.
        target: The column that is predicted, or None when the sample has none.
        metadata: What came with the model; its feature names count when the model has none.

    Returns:
        The contract.

    Raises:
        BadArtifact: Names or number of features do not fit, or the classes are neither integers nor texts.
        BadData: The sample lacks a column.
    """
    names = _names(pipeline, columns, target, metadata)
    data.require(sample, columns, names)
    features = tuple(feature(name, columns[name]) for name in names)
    return Contract(features=features, output=_output(pipeline, features, columns, sample, target or "target"))


def _names(pipeline: Any, columns: Columns, target: str | None, metadata: Metadata | None) -> list[str]:
    own = getattr(pipeline, "feature_names_in_", None)
    told = metadata.feature_names if metadata else ()
    if own is not None and told and list(own) != list(told):
        raise BadArtifact("the model's own feature names, or their order, are not those of metadata.json")
    names = [str(name) for name in (own if own is not None else told or [name for name in columns if name != target])]
    count = getattr(pipeline, "n_features_in_", len(names))
    if count != len(names):
        raise BadArtifact(
            f"the model takes {count} features, the sample has {len(names)} besides the target: "
            "name the target with --target and leave other columns out"
        )
    return names


def feature(name: str, values: Any) -> Feature:
    """Infer one feature from its values.

    >>> feature("plan", ["a", "b", None, "a"]).model_dump(include={"dtype", "categories", "nullable"})
    {'dtype': 'string', 'categories': ('a', 'b'), 'nullable': True}

    Args:
        name: Of the feature.
        values: N plain values, None or NaN = missing.

    Returns:
        The feature, with the first value present as its example.
    """
    listed = values.tolist() if isinstance(values, np.ndarray) else list(values)
    present = [value for value in listed if not data.is_missing(value)]
    common: dict[str, Any] = {
        "name": name,
        "nullable": len(present) < len(listed),
        "example": next(iter(present), None),
    }
    kinds = {type(value) for value in present}
    if kinds and kinds <= {bool}:
        return Feature(dtype="bool", **common)
    if kinds and kinds <= {int, float}:
        return Feature(dtype="int" if kinds == {int} else "float", **common)
    texts = sorted({str(value) for value in present})
    common |= {"example": None if not present else str(present[0])}
    return Feature(dtype="string", categories=tuple(texts) if 0 < len(texts) <= MAX_CATEGORIES else None, **common)


def _output(pipeline: Any, features: Sequence[Feature], columns: Columns, sample: str, target: str) -> Output:
    task = "classification" if hasattr(pipeline, "classes_") else "regression"
    labels = np.asarray(getattr(pipeline, "classes_", ())).tolist()
    if not all(type(label) in (int, str) for label in labels):
        raise BadArtifact("the model's classes must be integers or texts, all of one kind: fit it on such labels")
    probe = Contract.model_validate(
        {
            "features": [item.model_dump() for item in features],
            "output": {"target": target, "task": "regression", "decision": "value", "probabilities": False},
        }
    )
    frame = data.checked_frame(sample, probe, columns)
    asked = Target.model_validate({"column": target, "task": task, "label_definition": "not asked here"})
    try:
        return fit.output(asked, pipeline, frame)
    except (BadConfig, TypeError, ValueError, KeyError, AttributeError) as error:
        text = " ".join(str(error).split())
        raise BadArtifact(
            f"the model cannot answer the sample: {text}; are all its columns there, as it knows them?"
        ) from error


def render(made: Contract, sample: str) -> str:
    """Write a contract as YAML, with what to review on top."""
    plain = made.model_dump(mode="json", exclude_defaults=True)
    return _HEADER.format(sample=sample) + yaml.safe_dump(plain, sort_keys=False, allow_unicode=True, width=120)


def read(path: Path) -> Contract:
    """Read a contract from YAML.

    Raises:
        BadConfig: It cannot be read or breaks a rule; the text names file, key path and rule.
    """
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
        return Contract.model_validate_json(canonical_json(raw))
    except OSError as error:
        raise BadConfig(f"{path}: cannot be read ({error.strerror}); --write-contract writes a first one") from error
    except ValidationError as error:
        raise BadConfig(f"{path}: {describe(error)}") from error
    except (yaml.YAMLError, UnicodeDecodeError, TypeError) as error:
        raise BadConfig(f"{path}: is not a contract in YAML: {' '.join(str(error).split())}") from error
