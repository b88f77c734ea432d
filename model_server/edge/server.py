"""The life of one serving process: ports open at once, the model loads behind them, and shutting down loses nothing.

KServe's ``ModelServer`` is the frame. Its own ``start`` opens the ports only after loading, runs uvicorn on the
standard event loop whatever its flag says, and on SIGTERM unloads models while gRPC calls are still in flight.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import signal
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import uvicorn
from kserve import ModelServer

from model_server import healthcheck
from model_server.cpu import cpu_limit, limit_threads
from model_server.edge.app import KServeParts, create_app
from model_server.edge.grpc.server import Envelope, Servicer, create_grpc_server
from model_server.edge.http.connection import HttpProtocol, PlainProtocol
from model_server.errors import BundleError, ConfigError, ModelServerError, StartupFailed
from model_server.serving.batching import Limits
from model_server.serving.loaded import Wanted
from model_server.serving.observers import Observers
from model_server.serving.repository import BundleRepository
from model_server.serving.service import Service
from model_server.telemetry.logs import logger, write_later
from model_server.telemetry.requests import Telemetry
from model_server.telemetry.stopwatch import Stopwatch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from model_server.serving.observers import Observer
    from model_server.settings import Settings
    from model_server.telemetry.metrics import Metrics


class _QuietServer(uvicorn.Server):
    """uvicorn without signal handlers: the process has its own, which shuts gRPC down as well."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals alone."""
        yield


class BundleServer(ModelServer):
    """KServe's server, with a repository of one bundle."""

    def __init__(
        self,
        settings: Settings,
        metrics: Metrics,
        when_loaded: Callable[[], None] = lambda: None,
        observers: Sequence[Observer] = (),
    ) -> None:
        """Build everything, without opening a port: the composition root of the process.

        Args:
            settings: The process's settings.
            metrics: The process's metrics.
            when_loaded: Called once, after the first attempt to load, whether it succeeded or not.
            observers: Watch predictions.
        """
        self.settings = settings
        self._when_loaded = when_loaded
        self._loader = ThreadPoolExecutor(1, thread_name_prefix="load")
        # OpenMP counts by thread, so each thread that predicts is limited, not the process.
        self._share = max(1, cpu_limit() // settings.predict_threads)
        self._executor = ThreadPoolExecutor(settings.predict_threads, "predict", limit_threads, (self._share,))
        self.repository = BundleRepository(_wanted(settings, self._share), self._loader, metrics)
        limits = Limits(
            settings.batch_rows, settings.queue_rows, threads=settings.predict_threads, wait_s=settings.queue_timeout_s
        )
        self._observers = Observers(observers)
        self.service = Service(self.repository, self._executor, metrics, settings.max_rows, limits, self._observers)
        self._parts = KServeParts(self.service, settings)
        super().__init__(
            registered_models=self._parts.registry,
            http_port=settings.http_port,
            grpc_port=settings.grpc_port,
            enable_grpc=settings.enable_grpc,
            workers=1,
        )
        metrics.workers.set(settings.workers)
        telemetry = Telemetry(metrics, log_requests=settings.enable_latency_logging)
        self.app = create_app(self.service, telemetry, settings, self._parts)
        self._stopping: asyncio.Event | None = None
        self._failure: StartupFailed | None = None
        self.listening = threading.Event()

    def start(self, models: list[Any] | None = None) -> None:
        """Serve until a signal or ``stop``; returns when every request in flight is answered.

        Args:
            models: Nothing: the repository loads the one model while the ports are open already.

        Raises:
            StartupFailed: The model could not be loaded, or a port is taken.
        """
        if models:
            raise ConfigError("BundleServer loads its bundle itself")
        with asyncio.Runner(loop_factory=_loop_factory(self.settings.event_loop)) as runner:
            runner.run(self._serve())
        if self._failure is not None:
            raise self._failure

    async def _serve(self) -> None:
        self._stopping = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._watch_signals()
        write_later(self._loop.call_soon)
        try:
            with contextlib.closing(_listen(self.settings)) as listener:
                await self._serve_on(listener, self._stopping)
        finally:
            write_later(None)

    async def _serve_on(self, listener: socket.socket, stopping: asyncio.Event) -> None:
        self.http_port = listener.getsockname()[1]
        _announce(self.settings.address_file, listener)
        rpc = await self._start_grpc() if self.settings.enable_grpc else None
        rest = _QuietServer(self._uvicorn_config())
        rest_task = asyncio.create_task(rest.serve(sockets=[listener]))
        rest_task.add_done_callback(lambda _: stopping.set())  # whatever ended it: no process without its HTTP port
        logger.info("listening", extra={"fields": {"http_port": self.http_port, "grpc_port": self.grpc_port}})
        self.listening.set()
        loading = asyncio.create_task(self._load())
        try:
            await stopping.wait()
        finally:
            loading.cancel()
            await self._shut_down(rest, rest_task, rpc)

    def _watch_signals(self) -> None:
        if threading.current_thread() is not threading.main_thread():
            return  # embedded, as in tests: only the main thread gets signals
        for number in (signal.SIGTERM, signal.SIGINT):
            self._loop.add_signal_handler(number, self.stop, number)

    def _uvicorn_config(self) -> uvicorn.Config:
        return uvicorn.Config(
            self.app,
            http=HttpProtocol if self.settings.hot_path else PlainProtocol,
            proxy_headers=False,
            log_config=None,
            access_log=False,
            lifespan="off",
            ws="none",
            server_header=False,
            timeout_keep_alive=self.settings.timeout_keep_alive,
            timeout_graceful_shutdown=int(self.settings.shutdown_grace_s) or 1,
        )

    async def _start_grpc(self) -> Any:
        parts = self._parts
        servicer = Servicer(self.service, parts.dataplane, parts.extension, parts.guard)
        try:
            server, self.grpc_port = create_grpc_server(servicer, Envelope(self.app.accounting), self.settings)
        except RuntimeError as error:
            raise _taken(self.settings.grpc_port, "grpc_port") from error
        await server.start()
        return server

    async def _load(self) -> None:
        watch = Stopwatch()
        try:
            async with asyncio.timeout(self.settings.startup_timeout_s):
                loaded = await self.repository.reload()
                # The first thread that predicts comes up now, not with the first request.
                await self._loop.run_in_executor(self._executor, loaded.predictor.check_golden)
                limit_threads(self._share)  # short calls run in this thread
        except TimeoutError:
            limit = self.settings.startup_timeout_s
            self._fail(
                f"the bundle was not loaded within startup_timeout_s = {limit:g}: raise it, or make the bundle smaller"
            )
        except ModelServerError as error:
            self._fail(str(error))
        except Exception as error:  # noqa: BLE001 - in a task nobody would see it, and the process would stay silent
            logger.exception("loading failed")
            self._fail(f"the bundle could not be loaded ({type(error).__name__}): the log has the details")
        else:
            ready_ms = round(watch.elapsed_s * 1000, 1)
            logger.info("ready", extra={"fields": {"model_name": loaded.name, "ready_ms": ready_ms}})
        finally:
            self._when_loaded()

    def _fail(self, text: str) -> None:
        self.repository.failure = self.repository.failure or BundleError(text)
        if self.settings.require_model:
            self._failure = StartupFailed(text)
            self.stop(0)
            return
        logger.error("no model is served", extra={"fields": {"reason": text}})

    def stop(self, sig: int) -> None:
        """Begin to shut down: readiness drops now, ports close after the delay, requests in flight finish.

        Args:
            sig: The signal that asked for it, 0 for none.
        """
        if self._stopping is None or self._stopping.is_set():
            return
        self.repository.draining = True
        logger.info("shutting down", extra={"fields": {"signal": int(sig)}})
        delay_s = 0.0 if self._failure else self.settings.shutdown_delay_s
        self._loop.call_later(delay_s, self._stopping.set)

    def stop_soon(self) -> None:
        """Begin to shut down, from another thread."""
        with contextlib.suppress(RuntimeError):  # its loop is closed: it has ended by itself
            self._loop.call_soon_threadsafe(self.stop, 0)

    async def _shut_down(self, rest: _QuietServer, rest_task: asyncio.Task[None], rpc: Any) -> None:
        rest.should_exit = True
        endings = [rest_task]
        if rpc is not None:
            endings.append(asyncio.create_task(rpc.stop(self.settings.shutdown_grace_s)))
        await asyncio.gather(*endings)
        # Idle threads end now. One that still predicts after the grace cannot be stopped: the process ends without it.
        for executor in (self._executor, self._loader):
            executor.shutdown(wait=False, cancel_futures=True)
        self._observers.close()
        logger.info("stopped")


def _wanted(settings: Settings, threads: int) -> Wanted:
    return Wanted(
        uri=settings.model_dir,
        name=settings.model_name,
        version=settings.model_version,
        digest=settings.model_digest,
        libraries=settings.library_mismatch,
        predictor=settings.predictor,
        threads=threads,
        allow_unapproved=settings.allow_unapproved,
    )


def _listen(settings: Settings) -> socket.socket:
    address = (settings.http_host, settings.http_port)
    family = socket.AF_INET6 if ":" in settings.http_host else socket.AF_INET
    both = family is socket.AF_INET6 and socket.has_dualstack_ipv6()
    reuse_port = settings.workers > 1
    try:
        listener = socket.create_server(
            address, family=family, backlog=2048, reuse_port=reuse_port, dualstack_ipv6=both
        )
    except OSError as error:
        if error.errno in (errno.EADDRINUSE, errno.EACCES):
            raise _taken(settings.http_port, "http_port") from error
        raise StartupFailed(
            f"nothing can listen on {settings.http_host}: set http_host to 0.0.0.0 or to an address of this machine"
        ) from error
    # Its connections inherit it. asyncio sets it only on sockets that name their protocol; without it the body of each
    # answer waits for the client's delayed acknowledgement of the headers, 40 ms.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def _announce(file: str | None, listener: socket.socket) -> None:
    if file is None:
        return
    try:
        healthcheck.announce(Path(file), *listener.getsockname()[:2])
    except OSError as error:  # a read-only root file system: requests are answered all the same
        logger.warning(
            "address_file %s cannot be written (%s): no health check will find the port", file, error.strerror
        )


def _taken(port: int, key: str) -> StartupFailed:
    return StartupFailed(f"port {port} cannot be opened: free it, or set {key} to another")


def _loop_factory(name: str) -> Callable[[], asyncio.AbstractEventLoop]:
    if name == "asyncio":
        return asyncio.new_event_loop
    import uvloop  # not where the standard loop was asked for

    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory
