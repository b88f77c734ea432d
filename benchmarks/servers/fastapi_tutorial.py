"""A pipeline under FastAPI, as a first tutorial has it: typed bodies in and out, and the model called in the route.

The route is ``async``, which was the faster of the two ways in which such applications are written.
"""

from __future__ import annotations

import sys
from typing import Any

import joblib
import numpy as np
import pandas as pd
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel


class Rows(BaseModel):
    """Rows as lists of numbers."""

    instances: list[list[float]]


class Objects(BaseModel):
    """Rows as objects."""

    instances: list[dict[str, Any]]


class Answers(BaseModel):
    """Probabilities of every class, a row each."""

    predictions: list[list[float]]


def application(path: str) -> FastAPI:
    """Make the application around a pipeline."""
    app = FastAPI()
    pipeline = joblib.load(path)

    @app.get("/health")
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    @app.post("/predict")
    async def predict(rows: Rows) -> Answers:
        return Answers(predictions=pipeline.predict_proba(np.array(rows.instances)).tolist())

    @app.post("/predict-objects")
    async def predict_objects(rows: Objects) -> Answers:
        return Answers(predictions=pipeline.predict_proba(pd.DataFrame(rows.instances)).tolist())

    return app


if __name__ == "__main__":
    uvicorn.run(application(sys.argv[1]), host="127.0.0.1", port=int(sys.argv[2]))
