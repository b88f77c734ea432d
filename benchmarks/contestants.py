"""Who is compared: how each server is started and which protocols it answers; knows commands, not measurements."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Served:
    """What the contestants serve.

    Attributes:
        registry: Folder of bundles.
        model: Name of the model; its version is the one in production.
        bundle: Folder of that version.
    """

    registry: Path
    model: str
    bundle: Path

    @property
    def pipeline(self) -> str:
        """The fitted pipeline, which every contestant opens."""
        return str(self.bundle / "pipeline.joblib")


@dataclass(frozen=True)
class Ports:
    """Where a contestant listens."""

    http: int
    grpc: int


def _no_variables(_: Served, __: Path) -> Mapping[str, str]:
    return {}


@dataclass(frozen=True)
class Contestant:
    """A server that takes part.

    Attributes:
        name: In tables.
        command: Gives its command line, without the interpreter's path; may write files into a folder of its own.
        rows: Protocols that it answers for a model of numbers, as ``payloads`` names them; the plainest first.
        objects: Those for a model with mixed columns.
        ready: Path that answers well as soon as requests are welcome.
        probe: Path that says that the process lives.
        variables: Gives the environment variables that it needs.
        lock: The lock its environment is made from; none for the checkout's own.
        packages: Whose versions a reader wants to know.
        lacks: What it is not asked, and why.
    """

    name: str
    command: Callable[[Served, Ports, Path], Sequence[str]]
    rows: tuple[str, ...]
    objects: tuple[str, ...]
    ready: str
    probe: str
    variables: Callable[[Served, Path], Mapping[str, str]] = _no_variables
    lock: str = ""
    packages: tuple[str, ...] = ()
    lacks: tuple[tuple[str, str], ...] = ()

    def protocols(self, *, numeric: bool) -> tuple[str, ...]:
        """Name what it answers for a kind of model."""
        return self.rows if numeric else self.objects


def _ours(served: Served, ports: Ports, _: Path) -> list[str]:
    flags = ["--model_name", served.model, "--model_dir", str(served.registry), "--http_host", "127.0.0.1"]
    return ["-m", "model_server", *flags, "--http_port", str(ports.http), "--grpc_port", str(ports.grpc)]


def _kserve(served: Served, ports: Ports, _: Path) -> list[str]:
    words = [served.pipeline, served.model, str(ports.http), str(ports.grpc)]
    return ["-m", "benchmarks.servers.kserve_documented", *words]


def _mlserver(served: Served, ports: Ports, folder: Path, **batching: Any) -> list[str]:
    server = {"host": "127.0.0.1", "http_port": ports.http, "grpc_port": ports.grpc}
    parameters = {"uri": served.pipeline, "extra": {"predict_fn": "predict_proba"}}
    model = {"name": served.model, "implementation": "mlserver_sklearn.SKLearnModel", "parameters": parameters}
    # A second process on the one core was slower; a port for metrics that is fixed might be taken.
    settings = {**server, "parallel_workers": 0, "metrics_endpoint": None}
    folder.joinpath("settings.json").write_text(json.dumps(settings), "utf-8")
    folder.joinpath("model-settings.json").write_text(json.dumps({**model, **batching}), "utf-8")
    return ["-c", "from mlserver.cli import main; main()", "start", str(folder)]


def _mlserver_batching(served: Served, ports: Ports, folder: Path) -> list[str]:
    return _mlserver(served, ports, folder, max_batch_size=64, max_batch_time=0.005)


def _bentoml(_: Served, ports: Ports, __: Path) -> list[str]:
    where = ["--host", "127.0.0.1", "--port", str(ports.http)]
    return ["-m", "bentoml", "serve", "benchmarks.servers.bentoml_batchable:Predictor", *where]


def _bentoml_variables(served: Served, folder: Path) -> dict[str, str]:
    return {"BENCH_PIPELINE": served.pipeline, "BENTOML_HOME": str(folder), "BENTOML_DO_NOT_TRACK": "True"}


def _fastapi(served: Served, ports: Ports, _: Path) -> list[str]:
    return ["-m", "benchmarks.servers.fastapi_tutorial", served.pipeline, str(ports.http)]


def _echo(_: Served, ports: Ports, __: Path) -> list[str]:
    return ["-m", "benchmarks.servers.echo", str(ports.http)]


_ALL = ("v1", "v2", "v2 binary", "grpc", "grpc raw")
_MIXED = ("v1 objects", "v2", "v2 binary", "grpc", "grpc raw")
_OIP = "/v2/health/ready", "/v2/health/live"
_LIBRARIES = ("scikit-learn", "numpy")
_OWN_ONLY = (("v1, v2, gRPC", "it has a JSON of its own and no protocol of inference"),)
_NO_RAW = "it makes its table of typed values alone, so it cannot see columns of raw bytes"

OURS = Contestant(
    "ours",
    _ours,
    _ALL,
    _MIXED,
    *_OIP,
    lock="serve",  # what the image holds; with the tools beside it, pandas would import pyarrow, 40 MB of it
    packages=("kserve", "uvicorn", "uvloop", *_LIBRARIES),
)
KSERVE = Contestant(
    "kserve",
    _kserve,
    _ALL,
    ("v1 objects", "v2", "grpc"),
    *_OIP,
    lock="bench-kserve",
    packages=("kserve", "fastapi", "uvicorn", "uvloop", *_LIBRARIES),
    lacks=(("v2 binary and raw gRPC of mixed columns", _NO_RAW),),
)
MLSERVER = Contestant(
    "mlserver",
    _mlserver,
    ("v2", "grpc", "grpc raw"),
    ("v2", "grpc", "grpc raw"),
    *_OIP,
    lock="bench-mlserver",
    packages=("mlserver", "mlserver-sklearn", "fastapi", "uvicorn", "uvloop", *_LIBRARIES),
    lacks=(("v1, v2 binary", "it has neither of them"),),
)
MLSERVER_BATCHING = replace(MLSERVER, name="mlserver batching", command=_mlserver_batching)
BENTOML = Contestant(
    "bentoml",
    _bentoml,
    ("own",),
    ("own objects",),
    "/readyz",
    "/livez",
    variables=_bentoml_variables,
    lock="bench-bentoml",
    packages=("bentoml", "starlette", "uvicorn", *_LIBRARIES),
    lacks=_OWN_ONLY,
)
FASTAPI = Contestant(
    "fastapi",
    _fastapi,
    ("own",),
    ("own objects",),
    "/health",
    "/health",
    lock="bench-fastapi",
    packages=("fastapi", "pydantic", "uvicorn", "uvloop", *_LIBRARIES),
    lacks=_OWN_ONLY,
)
ECHO = Contestant("echo", _echo, ("echo",), (), "/", "/", packages=("uvicorn", "uvloop", "orjson", "numpy"))

#: Both in the checkout's own environment, so that two minutes are enough.
QUICK = (replace(OURS, lock=""), replace(KSERVE, lock=""), ECHO)
FULL = (OURS, KSERVE, MLSERVER, MLSERVER_BATCHING, BENTOML, FASTAPI, ECHO)
