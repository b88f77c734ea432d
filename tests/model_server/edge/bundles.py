"""Small real bundles for the tests of the edge, and servers that serve them; every pipeline was really fitted."""

from __future__ import annotations

import contextlib
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import grpc
import httpx
import numpy as np
from kserve.protocol.grpc.grpc_predict_v2_pb2_grpc import GRPCInferenceServiceStub
from prometheus_client import CollectorRegistry
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from threadpoolctl import threadpool_limits

from model_server import settings
from model_server.bundle import write
from model_server.contract import Contract, Feature, Output, Tier
from model_server.edge.embedded import RunningServer
from model_server.telemetry.metrics import Metrics
from tests.model_server import making

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from model_server.bundle import Verified
    from model_server.frame import Frame

TOKEN = "edge-tests-only"  # noqa: S105 - of a test

#: Rows that every numeric bundle here takes.
NUMBERS = [[0.5, 1.0, -2.0], [3.0, 0.25, 1.5]]
NUMERIC = making.numbers(3)

MIXED = (
    Feature(name="age", dtype="int", minimum=18, maximum=120, unit="years"),
    Feature(name="income", dtype="float", nullable=True),
    Feature(name="member", dtype="bool"),
    Feature(name="plan", dtype="string", categories=("basic", "plus")),
)
PEOPLE: list[list[Any]] = [[30, 1200.5, True, "basic"], [61, None, False, "plus"]]


class Waiting(RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """Answers the first column after as many seconds as the second one says."""

    def fit(self, X: Any, y: Any = None) -> Self:
        """Learn the number of columns."""
        del y
        self.n_features_in_ = X.shape[1]
        return self

    def predict(self, X: Any) -> Any:
        """Wait, then answer."""
        time.sleep(float(np.max(X[:, 1])))
        return X[:, 0]


class Counting(RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """Answers with how many threads OpenMP would use here."""

    def fit(self, X: Any, y: Any = None) -> Self:
        """Learn the number of columns."""
        del y
        self.n_features_in_ = X.shape[1]
        return self

    def predict(self, X: Any) -> Any:
        """Count."""
        return np.full(len(X), threadpool_limits().get_original_num_threads()["openmp"])


class Opened(Waiting):
    """Counts how often a pickle of it was opened in this process."""

    times = 0

    def __setstate__(self, state: Any) -> None:
        Opened.times += 1
        super().__setstate__(state)


class Picky(Waiting):
    """Answers only where bundles are loaded."""

    def predict(self, X: Any) -> Any:
        """Look where it is."""
        if threading.current_thread().name.startswith("predict"):
            raise RuntimeError("not here")
        return super().predict(X)


class SlowToOpen(Waiting):
    """Takes a second to be opened."""

    def __setstate__(self, state: Any) -> None:
        time.sleep(1.0)
        super().__setstate__(state)


class Exiting:
    """Ends the process, if it can, when it is unpickled."""

    def __init__(self, how: str) -> None:
        """Choose the name of an exception class."""
        self.how = how

    def __reduce__(self) -> tuple[Any, ...]:
        return _raise, (self.how,)


def _raise(how: str) -> None:
    import asyncio
    import builtins

    raise getattr(builtins, how, None) or getattr(asyncio, how)


def publish(directory: Path, pipeline: Any, contract: Contract, golden: Frame, *, named: bool = False) -> Verified:
    """Write a bundle; its folder is called ``<name>/<version>``, as in a registry."""
    answers = making.outputs(pipeline, contract, making.fitting_input(golden, named=named))
    content = making.files(pipeline, {"rows": golden.to_rows(), "outputs": answers})
    return write(directory, making.manifest(contract, name=directory.parent.name, version=directory.name), content, {})


def numeric_table() -> np.ndarray[Any, Any]:
    """Draw 40 rows of three numbers."""
    return np.random.default_rng(7).normal(size=(40, 3))


def write_linear(directory: Path, *, factor: float = 1.0) -> Verified:
    """Write a regression that answers ``factor`` times the sum of a row."""
    contract = Contract(features=NUMERIC, output=making.VALUE)
    X = numeric_table()
    pipeline = LinearRegression().fit(X, factor * X.sum(axis=1))
    return publish(directory, pipeline, contract, contract.frame(NUMBERS))


def write_risk(directory: Path) -> Verified:
    """Write a classification into 0 and 1, with tiers."""
    tiers = (Tier(name="low", at_least=0.0), Tier(name="high", at_least=0.5))
    output = Output(
        target="y", task="classification", classes=(0, 1), positive=1, decision="threshold", probabilities=True
    ).model_copy(update={"tiers": tiers})
    contract = Contract(features=NUMERIC, output=output)
    X = numeric_table()
    pipeline = make_pipeline(StandardScaler(), LogisticRegression()).fit(X, (X.sum(axis=1) > 0).astype(int))
    return publish(directory, pipeline, contract, contract.frame(NUMBERS))


def write_people(directory: Path) -> Verified:
    """Write a classification of mixed columns into three words."""
    contract = Contract(features=MIXED, output=making.classes("maybe", "no", "yes"))
    rng = np.random.default_rng(3)
    rows: list[list[Any]] = [
        [int(rng.integers(18, 90)), float(rng.normal(2000, 500)), bool(rng.integers(2)), ("basic", "plus")[i % 2]]
        for i in range(60)
    ]
    table = contract.frame(rows).as_dataframe()
    scaled = ColumnTransformer([("scale", StandardScaler(), ["age"]), ("code", OneHotEncoder(), ["plan"])])
    labels = np.array(["no", "yes", "maybe"])[np.arange(60) % 3]
    pipeline = make_pipeline(scaled, LogisticRegression()).fit(table, labels)
    return publish(directory, pipeline, contract, contract.frame(PEOPLE), named=True)


def write_waiting(directory: Path) -> Verified:
    """Write a regression whose second column says how many seconds it takes; null in the first breaks its promise."""
    contract = Contract(features=making.numbers(2, nullable=True), output=making.VALUE)
    pipeline = Waiting().fit(np.zeros((2, 2)))
    return publish(directory, pipeline, contract, contract.frame([[1.0, 0.0]]))


def registry_of_two(root: Path) -> Path:
    """Make a registry with the model ``linear`` in versions 1.0.0 (sums) and 2.0.0 (sums times ten); 1.0.0 serves."""
    write_linear(root / "linear" / "1.0.0")
    write_linear(root / "linear" / "2.0.0", factor=10.0)
    promote(root, "1.0.0")
    return root


def promote(root: Path, version: str) -> None:
    """Point production at a version, in one step as ``python -m training promote`` does."""
    staged = root / "linear" / ".production"
    staged.write_text(version + "\n", encoding="utf-8")
    staged.rename(root / "linear" / "production")


@dataclass(frozen=True)
class LiveServer:
    """A running server and its clients."""

    running: RunningServer
    metrics: Metrics
    http: httpx.Client
    channel: grpc.Channel

    @property
    def stub(self) -> Any:
        """The gRPC methods."""
        return GRPCInferenceServiceStub(self.channel)

    @property
    def base_url(self) -> str:
        """Where HTTP is served."""
        return f"http://127.0.0.1:{self.running.http_port}"

    def value(self, name: str, **labels: str) -> float:
        """Read one number of the metrics; 0 when there is no such series."""
        return self.metrics.registry.get_sample_value(name, labels) or 0.0

    def wait_until_ready(self, timeout_s: float = 60.0) -> None:
        """Poll readiness."""
        wait_for(lambda: self.http.get("/v2/health/ready").status_code == 200, timeout_s)


def wait_for(condition: Any, timeout_s: float = 60.0) -> None:
    """Poll until a condition holds."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"not within {timeout_s} s"
        time.sleep(0.01)


def load_settings(directory: Path, *flags: str, token: str | None = TOKEN) -> settings.Settings:
    """Make the settings of a server on free loopback ports."""
    argv = [f"--model_dir={directory}", "--http_host=127.0.0.1", "--http_port=0", "--grpc_port=0", *flags]
    return settings.load(argv, {"API_ADMIN_TOKEN": token} if token else {})


@contextlib.contextmanager
def serving(directory: Path, *flags: str, token: str | None = TOKEN, ready: bool = True) -> Iterator[LiveServer]:
    """Serve a folder in a thread of this process until the block ends."""
    metrics = Metrics(CollectorRegistry())
    running = RunningServer(load_settings(directory, *flags, token=token), metrics)
    options = [("grpc.enable_http_proxy", 0), ("grpc.enable_retries", 0), ("grpc.max_receive_message_length", -1)]
    with (
        httpx.Client(base_url=f"http://127.0.0.1:{running.http_port}", timeout=120.0, trust_env=False) as http,
        grpc.insecure_channel(f"127.0.0.1:{running.grpc_port}", options=options) as channel,
    ):
        service = LiveServer(running, metrics, http, channel)
        try:
            if ready:
                service.wait_until_ready()
            yield service
        finally:
            running.stop()
