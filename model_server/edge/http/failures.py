"""Exception handlers of the app behind the gate: exceptions of KServe, FastAPI and Starlette -> the one error body."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from kserve import errors as kserve_errors
from starlette.exceptions import HTTPException

from model_server.edge.exchange import INTERNAL, error_response
from model_server.errors import (
    BugError,
    DecodeError,
    MethodNotAllowed,
    ModelNotFound,
    ModelNotReady,
    ModelServerError,
    NotSupported,
    RouteNotFound,
)

if TYPE_CHECKING:
    from fastapi import FastAPI, Request

# KServe's exceptions, told apart by class, as the errors that they mean here. Their texts are KServe's and name only
# the model, except InvalidInput's, which may quote what the client sent.
_KSERVE_ERRORS: dict[type[Exception], type[ModelServerError]] = {
    kserve_errors.ModelNotFound: ModelNotFound,
    kserve_errors.ModelNotReady: ModelNotReady,
    kserve_errors.ServerNotReady: ModelNotReady,
    kserve_errors.InvalidInput: DecodeError,
    NotImplementedError: NotSupported,
}
_TEXTS: dict[type[ModelServerError], str] = {
    ModelNotFound: "there is no such model here",
    ModelNotReady: "the model is not ready",
    DecodeError: "the request is not valid for this route",
    NotSupported: "this call is not supported",
}


def add_error_handlers(app: FastAPI) -> None:
    """Register exception handlers that render every error as our own body."""
    app.add_exception_handler(ModelServerError, _own_error)
    app.add_exception_handler(RequestValidationError, _validation_error)
    app.add_exception_handler(HTTPException, _http_error)
    for error_class in _KSERVE_ERRORS:
        app.add_exception_handler(error_class, _kserve_error)
    app.add_exception_handler(Exception, _unknown_error)


def _render(request: Request, error: ModelServerError, status: int | None = None) -> Response:
    response = error_response(request.scope["exchange"], error, status)
    headers = {name.decode(): value.decode() for name, value in response.headers}
    return Response(response.body, response.status, headers=headers)


async def _own_error(request: Request, error: Exception) -> Response:
    if isinstance(error, BugError) or not isinstance(error, ModelServerError):
        raise error
    return _render(request, error)


async def _kserve_error(request: Request, error: Exception) -> Response:
    meant = next(ours for theirs, ours in _KSERVE_ERRORS.items() if isinstance(error, theirs))
    return _render(request, meant(_TEXTS[meant]))


async def _validation_error(request: Request, error: Exception) -> Response:
    flaws = error.errors() if isinstance(error, RequestValidationError) else []
    # A pydantic error quotes its input, and a NaN in it cannot even be rendered (500): only place and rule go out.
    places = "; ".join(f"{'.'.join(map(str, flaw['loc'][1:])) or 'body'}: {flaw['msg']}" for flaw in flaws[:10])
    return _render(request, DecodeError(places or "the request is not valid for this route"))


async def _http_error(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else HTTPStatus.INTERNAL_SERVER_ERROR
    if status == HTTPStatus.NOT_FOUND:
        return _render(request, RouteNotFound("there is no such path; /docs lists the routes"))
    if status == HTTPStatus.METHOD_NOT_ALLOWED:
        response = _render(request, MethodNotAllowed("this path does not take that HTTP method"))
        response.headers.update(getattr(error, "headers", None) or {})
        return response
    return _render(request, DecodeError("the request is not valid for this route"), status)


async def _unknown_error(request: Request, _error: Exception) -> Response:
    # Starlette raises it again behind this answer, and the gate, which catches it, writes the log line.
    return _render(request, BugError(INTERNAL))
