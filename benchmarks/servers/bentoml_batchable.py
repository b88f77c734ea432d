"""A pipeline as a service of BentoML whose requests share model calls; the path comes in the variable BENCH_PIPELINE.

``max_latency_ms`` is a minute: with less, requests that would wait longer are refused, and refusals are no answers.
"""

from __future__ import annotations

import os
from typing import Any

import bentoml
import joblib
import numpy as np
import pandas as pd

_BATCHES: dict[str, Any] = {"batchable": True, "max_latency_ms": 60_000}


@bentoml.service(workers=1)
class Predictor:
    """Probabilities of a pipeline."""

    def __init__(self) -> None:
        """Load it."""
        self._pipeline = joblib.load(os.environ["BENCH_PIPELINE"])

    @bentoml.api(**_BATCHES)  # type: ignore[untyped-decorator] # BentoML is not in this environment
    def predict(self, instances: np.ndarray) -> np.ndarray:
        """Answer rows of numbers."""
        return np.asarray(self._pipeline.predict_proba(instances))

    @bentoml.api(route="/predict-objects", **_BATCHES)  # type: ignore[untyped-decorator] # same
    def predict_objects(self, instances: list[dict[str, Any]]) -> np.ndarray:
        """Answer rows as objects; a method that takes a DataFrame and is batchable as well answers nobody in 1.4.39."""
        return np.asarray(self._pipeline.predict_proba(pd.DataFrame(instances)))
