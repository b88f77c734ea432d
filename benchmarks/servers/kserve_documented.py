"""A pipeline under KServe, as its documentation writes a custom model: v1 and v2, REST and gRPC, defaults throughout.

Probabilities are answered, as ours are. KServe's own decoding makes no table of objects whose values are plain, so they
become one DataFrame here, as a user would write it. Source: "Custom predictor" in KServe's documentation.
"""

from __future__ import annotations

import sys
from typing import Any

import joblib
import numpy as np
import pandas as pd
from kserve import Model, ModelServer
from kserve.utils.utils import get_predict_input, get_predict_response


class Documented(Model):  # type: ignore[misc] # KServe ships no types
    """KServe's model with a pipeline."""

    def __init__(self, name: str, path: str) -> None:
        """Remember where the pipeline is."""
        super().__init__(name)
        self._path = path
        self.load()

    def load(self) -> bool:
        """Load it."""
        self._pipeline = joblib.load(self._path)
        self.ready = True
        return True

    def predict(self, payload: Any, headers: dict[str, str] | None = None, response_headers: Any = None) -> Any:
        """Answer probabilities."""
        del headers, response_headers
        rows = pd.DataFrame(payload["instances"]) if _is_objects(payload) else get_predict_input(payload)
        answer = self._pipeline.predict_proba(rows)
        return get_predict_response(payload, np.asarray(answer), self.name)


def _is_objects(payload: Any) -> bool:
    return isinstance(payload, dict) and isinstance(payload["instances"][0], dict)


if __name__ == "__main__":
    path, name, http_port, grpc_port = sys.argv[1:5]
    del sys.argv[1:]
    ModelServer(http_port=int(http_port), grpc_port=int(grpc_port), workers=1).start([Documented(name, path)])
