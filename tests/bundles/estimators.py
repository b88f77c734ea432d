"""Small estimators whose behaviour a test chooses: how long they take, when they open, how they fail.

A bundle holds its pipeline as a pickle, so a server process finds these classes by the name of this module.
"""

from __future__ import annotations

import asyncio
import builtins
import os
import threading
import time
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from threadpoolctl import threadpool_limits

#: Environment variable with the path of a file: a ``Held`` estimator cannot be unpickled before that file exists.
HELD_UNTIL = "HELD_ESTIMATOR_UNTIL"


class Waiting(RegressorMixin, BaseEstimator):  # type: ignore[misc] # scikit-learn ships no types
    """Answers the first column after as many seconds as the second one says."""

    def fit(self, X: Any, y: Any = None) -> Self:
        """Learn the number of columns."""
        del y
        self.n_features_in_ = np.shape(X)[1]
        return self

    def predict(self, X: Any) -> Any:
        """Wait for the largest number of seconds, then answer; shape [N]."""
        matrix = np.asarray(X, dtype=np.float64)
        time.sleep(float(matrix[:, 1].max()))
        return matrix[:, 0]


class Held(Waiting):
    """Opens when the test says so: unpickling waits for the file that ``HELD_UNTIL`` names, if it names one."""

    def __setstate__(self, state: Any) -> None:
        until = os.environ.get(HELD_UNTIL)
        while until and not Path(until).exists():
            time.sleep(0.01)
        super().__setstate__(state)


class LoadCounting(Waiting):
    """Counts how often a pickle of it was opened in this process."""

    times = 0

    def __setstate__(self, state: Any) -> None:
        LoadCounting.times += 1
        super().__setstate__(state)


class FailingWhenServed(Waiting):
    """Answers where bundles are loaded, and raises in the threads that predict for requests."""

    def predict(self, X: Any) -> Any:
        """Look where it is."""
        if threading.current_thread().name.startswith("predict"):
            raise RuntimeError("not here")
        return super().predict(X)


class ThreadCounting(RegressorMixin, BaseEstimator):  # type: ignore[misc] # scikit-learn ships no types
    """Answers with how many threads OpenMP would use here."""

    def fit(self, X: Any, y: Any = None) -> Self:
        """Learn the number of columns."""
        del y
        self.n_features_in_ = np.shape(X)[1]
        return self

    def predict(self, X: Any) -> Any:
        """Count; shape [N]."""
        return np.full(len(X), threadpool_limits().get_original_num_threads()["openmp"])


class Echo(ClassifierMixin, BaseEstimator):  # type: ignore[misc] # scikit-learn ships no types
    """Answers its first feature as the probability of class 1; nothing can explain it."""

    def fit(self, X: Any, y: Any = None) -> Self:
        """Learn the number of columns."""
        del y
        self.n_features_in_ = np.shape(X)[1]
        self.classes_ = np.array([0, 1])
        return self

    def predict_proba(self, X: Any) -> Any:
        """Give both probabilities; shape [N, 2]."""
        return np.column_stack([1 - X[:, 0], X[:, 0]])


class SizeNoting(Echo):
    """Notes how many rows each call in this process has."""

    calls: ClassVar[list[int]] = []

    def predict_proba(self, X: Any) -> Any:
        """Note, then answer; shape [N, 2]."""
        self.calls.append(len(X))
        return super().predict_proba(X)


class RaisingWhenOpened:
    """Raises when it is unpickled, even what would end the process."""

    def __init__(self, how: str) -> None:
        """Choose the name of an exception class."""
        self.how = how

    def __reduce__(self) -> tuple[Any, ...]:
        return _raise, (self.how,)


def _raise(how: str) -> None:
    raise getattr(builtins, how, None) or getattr(asyncio, how)
