"""The whole server from wire to wire without a socket, in one thread: for counts that are equal on every machine."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from concurrent.futures import Executor, Future
from typing import TYPE_CHECKING, Any

import orjson
import uvicorn
from prometheus_client import CollectorRegistry
from uvicorn.server import ServerState

from model_server.edge.exchange import Accounting
from model_server.edge.http.connection import HttpProtocol
from model_server.edge.http.gate import Gate
from model_server.edge.http.inference import Inference
from model_server.serving.loaded import Wanted
from model_server.serving.repository import BundleRepository
from model_server.serving.service import Service
from model_server.telemetry.logs import LineHandler, write_later
from model_server.telemetry.metrics import Metrics
from model_server.telemetry.requests import Telemetry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

V1 = "/v1/models/breast-cancer:predict"
V2 = "/v2/models/breast-cancer/infer"
TOGETHER = 32
FEATURES = 30


class Here(Executor):
    """Runs what it is given at once, so that all of it is counted."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Run it."""
        done: Future[Any] = Future()
        done.set_result(fn(*args, **kwargs))
        return done


@contextlib.contextmanager
def logging_to(path: Path) -> Iterator[None]:
    """Log as the process does, into a file; pytest listens too, which would cost more than the request."""
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    with path.open("w") as stream:
        root.handlers[:] = [LineHandler(stream)]
        root.setLevel(logging.INFO)
        try:
            yield
        finally:
            root.handlers[:] = before
            root.setLevel(level)


def v1(n_rows: int) -> tuple[str, bytes]:
    """Write a request of rows."""
    return V1, orjson.dumps({"instances": [[0.5] * FEATURES] * n_rows})


def v2(n_rows: int) -> tuple[str, bytes]:
    """Write a request of one tensor."""
    data = [0.5] * FEATURES * n_rows
    tensor = {"name": "features", "datatype": "FP64", "shape": [n_rows, FEATURES], "data": data}
    return V2, orjson.dumps({"inputs": [tensor]})


class Wire(asyncio.Transport):
    """The client's side of a connection, without a socket: keeps what the server writes."""

    def __init__(self, gate: Gate) -> None:
        super().__init__()
        self._written: asyncio.Future[bytes] | None = None
        self._protocol = HttpProtocol(
            config=uvicorn.Config(gate, log_config=None, lifespan="off", proxy_headers=False),
            server_state=ServerState(),
            app_state={},
            _loop=asyncio.get_running_loop(),
        )
        self._protocol.connection_made(self)

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Know nothing of sockets."""
        del name
        return default

    def is_closing(self) -> bool:
        """Stay open."""
        return False

    def pause_reading(self) -> None:
        """Go on: what is asked is in one piece already."""

    def resume_reading(self) -> None:
        """Same."""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Take an answer; its head and its body may come apart."""
        if self._written is not None and not self._written.done():
            self._written.set_result(bytes(data))

    async def ask(self, request: bytes) -> int:
        """Send a request; gives the status."""
        self._written = asyncio.get_running_loop().create_future()
        self._protocol.data_received(request)
        return int((await self._written)[9:12])


async def no_app(*_: Any) -> None:
    """Stand behind the gate; nothing that is counted gets there."""
    raise AssertionError


async def connected(registry: Path, count: int) -> list[Wire]:
    """Serve the breast-cancer model to some connections."""
    metrics = Metrics(CollectorRegistry())
    repository = BundleRepository(Wanted(str(registry), "breast-cancer"), Here(), metrics)
    await repository.reload()
    inference = Inference(Service(repository, Here(), metrics, max_rows=10_000), bare=False)
    accounting = Accounting(repository, Telemetry(metrics, log_requests=True))
    gate = Gate(no_app, inference, accounting, max_body_bytes=2**24)
    write_later(asyncio.get_running_loop().call_soon)
    return [Wire(gate) for _ in range(count)]


def on_the_wire(path: str, body: bytes) -> bytes:
    """Write a request as a client does."""
    lines = [
        f"POST {path} HTTP/1.1",
        "host: x",
        "content-type: application/json",
        f"content-length: {len(body)}",
        "",
        "",
    ]
    return "\r\n".join(lines).encode() + body


async def ask_all(wires: Sequence[Wire], request: bytes) -> None:
    """Ask on every connection at once."""
    assert set(await asyncio.gather(*(wire.ask(request) for wire in wires))) == {200}
