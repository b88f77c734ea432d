"""Probes: the rows on which a stand-in is compared with the pipeline, chosen where a difference would show."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from model_server.frame import join_frames
from model_server.parity.substitution import Substitution
from model_server.parity.thresholds import neighbours

if TYPE_CHECKING:
    from model_server.contract import Contract
    from model_server.feature import Feature
    from model_server.frame import Frame
    from model_server.parity.splits import Splits

Kind = Literal["golden", "sample", "splits", "missing", "categories"]

#: A text that is a category of nobody's; should it be one, unknown texts are left to the encoder.
UNKNOWN_TEXT = "\x00no category"
#: Values of one category column that are tried; more are as the first ones.
MOST_CATEGORIES = 200


@dataclass(frozen=True, slots=True)
class Effort:
    """How much is compared.

    Attributes:
        sample: Rows of the sample.
        splits: Splits of the model, each with a row on either side.
        singles: Rows that are also asked one at a time, because few rows take another way through the kernels.
    """

    sample: int
    splits: int
    singles: int


#: When a bundle is made there is time, when it is loaded a server waits to be ready.
PUBLISHING = Effort(sample=2048, splits=4096, singles=512)
LOADING = Effort(sample=0, splits=128, singles=32)


@dataclass(frozen=True, slots=True, eq=False)
class Probes:
    """Rows by kind.

    Attributes:
        frames: The rows; a kind without rows is left out.
        splits: How many splits the model has.
        beside: How many of them have rows on both sides among ``frames``.
    """

    frames: dict[Kind, Frame]
    splits: int
    beside: int


def probes(
    contract: Contract, golden: Frame, sample: Frame | None, splits: tuple[Splits[Frame], ...], effort: Effort
) -> Probes:
    """Choose rows to compare on; equal arguments give equal rows."""
    beside = [neighbours(some, contract, golden, max(1, effort.splits // len(splits))) for some in splits]
    both_sides = [each.frame for each in beside if each.frame is not None]
    frames: dict[Kind, Frame | None] = {
        "golden": golden,
        "sample": None if sample is None else _spread(sample, effort.sample),
        "splits": join_frames(both_sides) if both_sides else None,
        "missing": _missing(contract, golden),
        "categories": _categories(contract, golden),
    }
    present: dict[Kind, Frame] = {kind: frame for kind, frame in frames.items() if frame is not None}
    return Probes(present, sum(each.found for each in beside), sum(each.placed for each in beside))


def _spread(frame: Frame, most: int) -> Frame | None:
    if not most:
        return None
    return frame.take(np.unique(np.linspace(0, frame.n_rows - 1, min(most, frame.n_rows)).round().astype(int)).tolist())


def _missing(contract: Contract, golden: Frame) -> Frame | None:
    """Let each feature that may be missing be missing, in several rows."""
    indices = [index for index, feature in enumerate(contract.features) if feature.nullable]
    features = np.repeat(indices, min(golden.n_rows, 4)).astype(np.int64)
    return Substitution(golden, features).put([None] * len(features)) if len(features) else None


def _categories(contract: Contract, golden: Frame) -> Frame | None:
    """Try every category and truth value, and an unknown text where any is admitted."""
    tried = [(index, value) for index, feature in enumerate(contract.features) for value in _values(feature)]
    if not tried:
        return None
    return Substitution(golden, [index for index, _ in tried]).put([value for _, value in tried])


def _values(feature: Feature) -> list[str | bool]:
    if feature.dtype == "bool":
        return [False, True]
    if feature.dtype != "string":
        return []
    return [UNKNOWN_TEXT] if feature.categories is None else list(feature.categories[:MOST_CATEGORIES])
