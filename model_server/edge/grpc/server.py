"""The gRPC server: the Open Inference Protocol's service, with the gaps of KServe's servicer closed.

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
from model_server.edge.exchange import DISCONNECTED, REQUEST_ID, refusal_of
from model_server.edge.grpc.messages import decode_request, encode_answer
from model_server.errors import DecodeError, ModelNotReady
from model_server.serving.call import Answer
from model_server.wire.metadata import model_metadata

if TYPE_CHECKING:
    from model_server.edge.admin import Guard
    from model_server.edge.exchange import Accounting, Exchange
    from model_server.edge.kserve.dataplane import CheckedDataPlane, GuardedExtension
    from model_server.serving.repository import BundleRepository
    from model_server.serving.service import Service
    from model_server.settings import Settings

_Refusal = tuple[grpc.StatusCode, str, tuple[tuple[str, str], ...]]
_SERVICE = "inference.GRPCInferenceService"


class Servicer(InferenceServicer):
    """The Open Inference Protocol over gRPC."""

    def __init__(
        self, service: Service, dataplane: CheckedDataPlane, extension: GuardedExtension, guard: Guard
    ) -> None:
        """Bind the service and who may load and unload."""
        super().__init__(dataplane, extension)
        self._service = service
        self._guard = guard
        self._extension = extension

    @property
    def _repository(self) -> BundleRepository:
        return self._service.repository

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
        loaded = self._repository.require(request.name, request.version or None)
        return pb.ModelMetadataResponse(**model_metadata(loaded.name, loaded.version, loaded.contract))

    async def ModelInfer(self, request: Any, context: Any) -> Any:  # noqa: N802 - the protocol's name
        """Predict: typed contents are answered typed, raw ones raw."""
        loaded = self._repository.require(request.model_name, request.model_version or None)
        call = decode_request(request)
        result = await self._service.submit(loaded, call, _deadline_s(context))
        return encode_answer(Answer(call, loaded, result), raw=bool(request.raw_input_contents))

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
    """The middleware of gRPC, as the gate is of HTTP: accounting of every call, and errors as status codes.

    It is put around the handlers once. As an interceptor of gRPC's it would be asked anew for each call.
    """

    def __init__(self, accounting: Accounting) -> None:
        """Bind what begins and finishes requests."""
        self._accounting = accounting

    def around(self, method: str, handler: Any) -> Any:
        """Wrap the handler of a method."""

        async def call(message: bytes, context: Any) -> Any:
            exchange = self._accounting.begin("RPC", method, _headers(context))
            exchange.protocol, exchange.endpoint, exchange.status = "grpc", method, "OK"
            try:
                response, refusal = await self._answered(exchange, handler, message, context)
            finally:
                self._accounting.finish(exchange)
            if refusal is not None:
                # gRPC keeps what ``abort`` raises, and with it this frame: it must not lead to the request, which would
                # stay until the garbage collector runs.
                del message
                await context.abort(*refusal)
            return response

        return grpc.unary_unary_rpc_method_handler(call, None, handler.response_serializer)

    async def _answered(
        self, exchange: Exchange, handler: Any, message: bytes, context: Any
    ) -> tuple[Any, _Refusal | None]:
        try:
            request = _parsed(handler, message)
            response = await handler.unary_unary(request, context)
            context.set_trailing_metadata(self._metadata(exchange, getattr(response, "model_version", "")))
        except asyncio.CancelledError:
            exchange.status, exchange.error_type = "CANCELLED", DISCONNECTED
            raise
        except Exception as error:  # noqa: BLE001 - whatever is wrong, the client gets an answer
            return None, self._refusal(exchange, error)
        if exchange.endpoint == "ModelInfer":
            exchange.rows = request.inputs[0].shape[0]
        return response, None

    def _refusal(self, exchange: Exchange, error: Exception) -> _Refusal:
        refused = refusal_of(exchange, error)
        exchange.status = refused.grpc_code
        return grpc.StatusCode[refused.grpc_code], _short(str(refused)), self._metadata(exchange)

    def _metadata(self, exchange: Exchange, version: str = "") -> tuple[tuple[str, str], ...]:
        exchange.version = version or self._accounting.version(exchange)
        named = (("x-model-version", exchange.version),) if exchange.version else ()
        return ((REQUEST_ID.decode(), exchange.request_id), *named)


def _parsed(handler: Any, message: bytes) -> Any:
    """Parse a message here: gRPC would answer UNKNOWN to bytes that are none, uncounted and with a traceback."""
    try:
        return handler.request_deserializer(message)
    except Exception as error:  # whatever protobuf has against the bytes
        raise DecodeError("the bytes are not a message of this method") from error


def _headers(context: Any) -> dict[bytes, bytes]:
    """Give the metadata that are text, as HTTP's headers are; those of binary keys are bytes."""
    metadata = context.invocation_metadata() or ()
    return {key.encode(): value.encode() for key, value in metadata if isinstance(value, str)}


# The text travels in a header, percent-encoded to three times its bytes; clients refuse over 8 KiB of headers and
# then report RESOURCE_EXHAUSTED instead of our status.
_MOST_BYTES = 2000


def _short(text: str) -> str:
    encoded = text.encode()
    return text if len(encoded) <= _MOST_BYTES else encoded[:_MOST_BYTES].decode(errors="ignore") + "…"


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
