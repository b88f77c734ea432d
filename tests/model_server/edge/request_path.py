"""What somebody must read to follow a request from socket to socket, counted while the request is answered.

``python -m tests.model_server.edge.request_path REGISTRY`` prints the way of each protocol. What counts is every
function of ours that runs, and every small class that is made, in the order of first use, with caches emptied before;
uvicorn, KServe, gRPC and Starlette do not count. Lines are those of functions, and of the fields of classes, without
docstrings.
"""

from __future__ import annotations

import ast
import logging
import sys
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import httpx
import orjson
from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb
from kserve.protocol.grpc.grpc_predict_v2_pb2_grpc import GRPCInferenceServiceStub
from prometheus_client import CollectorRegistry

from model_server import settings
from model_server.edge.embedded import RunningServer
from model_server.telemetry.metrics import Metrics

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

PACKAGE = Path(__file__).resolve().parents[3] / "model_server"
#: The rooms that a request passes. Behind them stand contract, predictor, kernels and counters: they are counted apart.
ROOMS = ("edge", "wire", "serving")
MODEL = "breast-cancer"
FEATURES = 30


@dataclass(frozen=True)
class Step:
    """A function or a small class on the way.

    Attributes:
        file: Path below ``model_server``.
        name: Qualified name.
        lines: Lines without docstrings.
    """

    file: str
    name: str
    lines: int

    @property
    def is_in_rooms(self) -> bool:
        """Whether a request passes it, other than what stands behind."""
        return self.file.split("/")[0] in ROOMS


@dataclass(frozen=True)
class Size:
    """How much there is to read."""

    files: int
    functions: int
    lines: int


def size_of(steps: list[Step]) -> Size:
    """Add up a way, or a part of one."""
    return Size(len({step.file for step in steps}), len(steps), sum(step.lines for step in steps))


class Recorder:
    """Notes which of our functions run, in every thread that starts after it was made."""

    def __init__(self) -> None:
        """Begin to listen; nothing is noted yet."""
        self._seen: dict[tuple[str, str], None] | None = None
        threading.setprofile(self._hear)

    @contextmanager
    def noting(self) -> Iterator[list[Step]]:
        """Note what runs within the block; the list is filled at its end."""
        steps: list[Step] = []
        seen: dict[tuple[str, str], None] = {}
        self._seen = seen
        try:
            yield steps
        finally:
            self._seen = None
        steps += [Step(file, name, definitions(file)[name]) for file, name in seen if name in definitions(file)]

    def close(self) -> None:
        """Listen no longer to threads that start."""
        threading.setprofile(None)

    def _hear(self, frame: FrameType, event: str, _argument: object) -> None:
        if self._seen is None or event != "call":
            return
        code = frame.f_code
        if code.co_filename.startswith(str(PACKAGE)):
            file = str(Path(code.co_filename).relative_to(PACKAGE))
            self._seen[file, code.co_qualname.split(".<locals>")[0]] = None
        elif code.co_filename == "<string>":  # written by dataclass or NamedTuple: a class is made
            made = frame.f_locals.get("_cls") or type(frame.f_locals.get("self"))
            if made.__module__.startswith("model_server."):
                file = made.__module__.removeprefix("model_server.").replace(".", "/") + ".py"
                self._seen[file, made.__qualname__] = None


@cache
def definitions(file: str) -> dict[str, int]:
    """Give the lines of every function, and of the fields of every class, of a file; by qualified name."""
    found: dict[str, int] = {}
    _collect(ast.parse(PACKAGE.joinpath(file).read_text("utf-8")), "", found)
    return found


def _collect(node: ast.AST, prefix: str, found: dict[str, int]) -> None:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            found[prefix + child.name] = _length(child) - _docstring(child)
        elif isinstance(child, ast.ClassDef):
            fields = [part for part in child.body if not isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef)]
            found[prefix + child.name] = 1 + sum(map(_length, fields)) - _docstring(child)
            _collect(child, f"{prefix}{child.name}.", found)
        elif isinstance(child, ast.If | ast.Try):
            _collect(child, prefix, found)


def _length(node: ast.stmt) -> int:
    return (node.end_lineno or node.lineno) - node.lineno + 1


def _docstring(node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> int:
    return _length(node.body[0]) if ast.get_docstring(node) is not None else 0


# --- one request of each protocol -------------------------------------------------------------------------------------


def _row(n_rows: int) -> list[list[float]]:
    return [[0.5] * FEATURES] * n_rows


def _v1(client: httpx.Client, _stub: Any, verb: str = "predict", n_rows: int = 1) -> None:
    client.post(f"/v1/models/{MODEL}:{verb}", json={"instances": _row(n_rows)}).raise_for_status()


def _v2(client: httpx.Client, _stub: Any, n_rows: int = 1) -> None:
    data = [0.5] * FEATURES * n_rows
    tensor = {"name": "features", "datatype": "FP64", "shape": [n_rows, FEATURES], "data": data}
    client.post(f"/v2/models/{MODEL}/infer", json={"inputs": [tensor]}).raise_for_status()


def _v2_binary(client: httpx.Client, _stub: Any, n_rows: int = 32) -> None:
    size = 8 * FEATURES * n_rows
    parameters = {"binary_data_size": size}
    tensor = {"name": "features", "datatype": "FP64", "shape": [n_rows, FEATURES], "parameters": parameters}
    head = orjson.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}})
    headers = {"inference-header-content-length": str(len(head)), "content-type": "application/octet-stream"}
    client.post(f"/v2/models/{MODEL}/infer", content=head + bytes(size), headers=headers).raise_for_status()


def _grpc(_client: httpx.Client, stub: Any) -> None:
    tensor = pb.ModelInferRequest.InferInputTensor(name="features", datatype="FP64", shape=[1, FEATURES])
    stub.ModelInfer(pb.ModelInferRequest(model_name=MODEL, inputs=[tensor], raw_input_contents=[bytes(8 * FEATURES)]))


def _facade(client: httpx.Client, _stub: Any) -> None:
    client.post("/predict", json={"features": [0.5] * FEATURES}).raise_for_status()


#: The requests whose ways are shown, by name.
REQUESTS: dict[str, Callable[[httpx.Client, Any], None]] = {
    "v1, one row": _v1,
    "v1, 512 rows": lambda client, stub: _v1(client, stub, n_rows=512),
    "v1, explain": lambda client, stub: _v1(client, stub, "explain"),
    "v2, one row": _v2,
    "v2, binary": _v2_binary,
    "gRPC, raw": _grpc,
    "facade": _facade,
}


def ways(registry: Path) -> dict[str, list[Step]]:
    """Serve the breast-cancer model, send requests of each kind, and note the way of the second.

    The first of a server runs in a thread whatever it is, until it is known how long a batch takes.

    Args:
        registry: A registry in which the model is in production.

    Returns:
        The steps of each request, by the names of ``REQUESTS``.
    """
    recorder = Recorder()
    words = [f"--model_dir={registry}", f"--model_name={MODEL}", "--http_host=127.0.0.1", "--http_port=0"]
    server = RunningServer(settings.load([*words, "--grpc_port=0"], {}), Metrics(CollectorRegistry()))
    try:
        assert server.loaded.wait(120)
        with (
            httpx.Client(base_url=f"http://127.0.0.1:{server.http_port}", timeout=60, trust_env=False) as client,
            grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}", [("grpc.enable_http_proxy", 0)]) as channel,
        ):
            stub = GRPCInferenceServiceStub(channel)
            return {name: _way(recorder, server, partial(send, client, stub)) for name, send in REQUESTS.items()}
    finally:
        recorder.close()
        server.stop()


def _way(recorder: Recorder, server: RunningServer, send: Callable[[], None]) -> list[Step]:
    send()
    _wait_for_the_loop(server)
    _forget_caches()
    with recorder.noting() as steps:
        send()
        _wait_for_the_loop(server)
    return steps


def _wait_for_the_loop(server: RunningServer) -> None:
    """Wait for the end of the turn in which a response was written: the request is counted after that."""
    turned = threading.Event()
    server._server._loop.call_soon_threadsafe(turned.set)  # noqa: SLF001 - nothing but a test waits for this
    assert turned.wait(60)


def _forget_caches() -> None:
    """Empty what earlier requests of this process left, so that every way is that of a first request."""
    for module in [module for name, module in sys.modules.items() if name.startswith("model_server.")]:
        for value in vars(module).values():
            if hasattr(value, "cache_clear"):
                value.cache_clear()


def table(steps: list[Step]) -> str:
    """Write a way as rows of ``file: functions``, one each time that the eye moves to another file."""
    rows: list[tuple[str, list[str]]] = []
    for step in steps:
        if not rows or rows[-1][0] != step.file:
            rows.append((step.file, []))
        rows[-1][1].append(step.name)
    return "\n".join(f"{file}: {', '.join(names)}" for file, names in rows)


def summary(steps: list[Step]) -> str:
    """Say in one line how much there is to read."""
    own, all_ = size_of([step for step in steps if step.is_in_rooms]), size_of(steps)
    return (
        f"{own.files} files, {own.functions} functions, {own.lines} lines; "
        f"with contract, model and counters {all_.files}, {all_.functions}, {all_.lines}"
    )


if __name__ == "__main__":
    logging.disable(logging.INFO)  # the server comes and goes here
    for kind, way in ways(Path(sys.argv[1])).items():
        print(f"{kind}: {summary(way)}")  # noqa: T201 - what the command is for
        if "-v" in sys.argv:
            print(table(way), end="\n\n")  # noqa: T201 - same
