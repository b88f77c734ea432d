"""The gRPC side: KServe's servicer with its gaps closed; knows messages and status codes, not the model.

KServe's own servicer skips the readiness check, ignores requested outputs (kserve#3307) and versions, drops raw
contents of named columns, and its interceptor answers UNKNOWN where it means UNAVAILABLE.
"""

from __future__ import annotations

import asyncio
import math
import time
from typing import TYPE_CHECKING, Any

import grpc
from grpc import aio
from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb
from kserve.protocol.grpc import grpc_predict_v2_pb2_grpc as stubs
from kserve.protocol.grpc.servicer import InferenceServicer

from model_server.edge.admin import TOKEN_HEADER
from model_server.edge.grpc.messages import decode_request, encode_answer
from model_server.edge.http.gate import request_id_of
from model_server.errors import BugError, ModelNotReady, ModelServerError
from model_server.telemetry import Stopwatch, logger
from model_server.wire.metadata import model_metadata

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from model_server.edge.admin import Guard
    from model_server.edge.kserve.dataplane import CheckedDataPlane, GuardedExtension
    from model_server.serving.repository import BundleRepository
    from model_server.serving.service import Core
    from model_server.settings import Settings
    from model_server.telemetry import Telemetry

_SERVICE = "inference.GRPCInferenceService"


class Servicer(InferenceServicer):
    """The Open Inference Protocol over gRPC."""

    def __init__(self, core: Core, dataplane: CheckedDataPlane, extension: GuardedExtension, guard: Guard) -> None:
        """Bind the core and who may load and unload."""
        super().__init__(dataplane, extension)
        self._core = core
        self._guard = guard
        self._extension = extension

    @property
    def _repository(self) -> BundleRepository:
        return self._core.repository

    async def ModelReady(self, request: Any, context: Any) -> Any:  # noqa: N802 - the protocol's name
        """Say whether the model is ready, in the asked version if one is named."""
        del context
        try:
            self._repository.require(request.name, request.version or None)
        except ModelNotReady:
            return pb.ModelReadyResponse(ready=False)
        return pb.ModelReadyResponse(ready=self._repository.is_ready)

    async def ModelMetadata(self, request: Any, context: Any) -> Any:  # noqa: N802 - the protocol's name
        """Describe the model, in the asked version if one is named."""
        del context
        served = self._repository.require(request.name, request.version or None)
        return pb.ModelMetadataResponse(**model_metadata(served.name, served.version, served.contract))

    async def ModelInfer(self, request: Any, context: Any) -> Any:  # noqa: N802 - the protocol's name
        """Predict: typed contents are answered typed, raw ones raw."""
        served = self._repository.require(request.model_name, request.model_version or None)
        answer = await self._core.answer_by(served, decode_request(request), _deadline_s(context))
        return encode_answer(answer, raw=bool(request.raw_input_contents))

    async def RepositoryModelLoad(self, request: Any, context: Any) -> Any:  # noqa: N802 - the protocol's name
        """Load the wanted bundle anew, for the holder of the admin token."""
        self._check_admin(context)
        await self._extension.load(request.model_name)
        return pb.RepositoryModelLoadResponse(model_name=request.model_name, isLoaded=True)

    async def RepositoryModelUnload(self, request: Any, context: Any) -> Any:  # noqa: N802 - the protocol's name
        """Stop serving the model, for the holder of the admin token."""
        self._check_admin(context)
        await self._extension.unload(request.model_name)
        return pb.RepositoryModelUnloadResponse(model_name=request.model_name, isUnloaded=True)

    def _check_admin(self, context: Any) -> None:
        metadata = dict(context.invocation_metadata() or ())
        token = metadata.get(TOKEN_HEADER)
        self._guard.check(token if isinstance(token, str) else None)


class Envelope:
    """What the door is for HTTP: identifier, status, log line and counts of every call.

    It is put around the handlers once. As an interceptor of gRPC's it would be asked anew for each call.
    """

    def __init__(self, repository: BundleRepository, telemetry: Telemetry) -> None:
        """Bind what names the version, and what counts."""
        self._repository = repository
        self._telemetry = telemetry

    def around(self, method: str, handler: Any) -> Any:
        """Wrap the handler of a method."""
        answer = handler.unary_unary

        async def call(request: Any, context: Any) -> Any:
            return await self._call(method, answer, request, context)

        return grpc.unary_unary_rpc_method_handler(call, handler.request_deserializer, handler.response_serializer)

    async def _call(self, method: str, handler: Callable[..., Awaitable[Any]], request: Any, context: Any) -> Any:
        request_id = _request_id(context)
        watch, status, slug, version = Stopwatch(), "OK", "", ""
        self._telemetry.in_flight += 1
        try:
            response = await handler(request, context)
            version = getattr(response, "model_version", "")
            context.set_trailing_metadata(self._metadata(request_id, version))
        except asyncio.CancelledError:
            status, slug = "CANCELLED", "client-disconnected"
            raise
        except Exception as error:  # noqa: BLE001 - whatever is wrong, the client gets an answer
            refusal = _refusal(error, request_id)
            status, slug = refusal.grpc_code, refusal.slug
            await context.abort(grpc.StatusCode[status], _short(str(refusal)), self._metadata(request_id, version))
        else:
            return response
        finally:
            self._telemetry.in_flight -= 1
            rows = request.inputs[0].shape[0] if status == "OK" and method == "ModelInfer" else 0
            name, version = self._repository.model_name or "", version or self._repository.served_version
            kind = ("grpc", "RPC", method, status, name, version, slug)
            self._telemetry.count(kind, watch.elapsed_s, request_id, rows)

    def _metadata(self, request_id: str, version: str) -> tuple[tuple[str, str], ...]:
        version = version or self._repository.served_version
        return (("x-request-id", request_id), *((("x-model-version", version),) if version else ()))


def _refusal(error: Exception, request_id: str) -> ModelServerError:
    if isinstance(error, ModelServerError) and not isinstance(error, BugError):
        return error
    logger.error("request failed", exc_info=error, extra={"fields": {"request_id": request_id}})
    return BugError("internal error; the log has the details under this request's x-request-id")


# The text travels in a header, percent-encoded to three times its bytes; clients refuse over 8 KiB of headers and
# then report RESOURCE_EXHAUSTED instead of our status.
_MOST_BYTES = 2000


def _short(text: str) -> str:
    encoded = text.encode()
    return text if len(encoded) <= _MOST_BYTES else encoded[:_MOST_BYTES].decode(errors="ignore") + "…"


def _request_id(context: Any) -> str:
    asked: Any = ""  # of a binary header, bytes
    for key, value in context.invocation_metadata() or ():
        if key == "x-request-id":
            asked = value
    return request_id_of(asked if isinstance(asked, str) else "")


def _deadline_s(context: Any) -> float:
    left_s = context.time_remaining()
    return math.inf if left_s is None else time.monotonic() + float(left_s)


class _Methods:
    """Takes the place of a server in KServe's generated registration, to get at its table of handlers."""

    def __init__(self) -> None:
        self.handlers: dict[str, Any] = {}

    def add_generic_rpc_handlers(self, handlers: Any) -> None:
        """Leave out: the same handlers come by their names."""

    def add_registered_method_handlers(self, service: str, handlers: dict[str, Any]) -> None:
        """Keep the handlers."""
        del service
        self.handlers = handlers


def create_grpc_server(servicer: Servicer, envelope: Envelope, settings: Settings) -> tuple[Any, int]:
    """Build the gRPC server and bind its port.

    Returns:
        The server, not started, and the port.

    Raises:
        RuntimeError: The port is taken.
    """
    options = [
        ("grpc.max_send_message_length", settings.grpc_max_send_message_length),
        ("grpc.max_receive_message_length", settings.grpc_max_receive_message_length),
        ("grpc.so_reuseport", int(settings.workers > 1)),
    ]
    methods = _Methods()
    stubs.add_GRPCInferenceServiceServicer_to_server(servicer, methods)
    handlers = {name: envelope.around(name, handler) for name, handler in methods.handlers.items()}
    server = aio.server(options=options)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(_SERVICE, handlers),))
    host = f"[{settings.http_host}]" if ":" in settings.http_host else settings.http_host
    port = server.add_insecure_port(f"{host}:{settings.grpc_port}")
    return server, port
