"""Every error of the server, with its HTTP status, gRPC code, slug and Retry-After; does not know where it is raised.

Each arrow of a request names its own error::

    bytes -> Call      DecodeError                     400  INVALID_ARGUMENT
    Call  -> Frame     ContractError                   400  INVALID_ARGUMENT   (422 on the facade)
    Frame -> Answer    ModelNotReady, Overloaded       503  UNAVAILABLE, RESOURCE_EXHAUSTED

The tree::

    ModelServerError
    |-- ClientError                the request is wrong; sending it again will not help
    |   |-- DecodeError
    |   |   |-- BodyTooLarge
    |   |   `-- UnsupportedEncoding
    |   |-- ContractError
    |   |-- UnknownOutput
    |   |-- Forbidden
    |   |-- NotSupported
    |   `-- NotFound
    |       |-- ModelNotFound
    |       |-- VersionNotFound
    |       |-- RouteNotFound
    |       `-- MethodNotAllowed
    |-- Unavailable                the request may succeed later
    |   |-- ModelNotReady
    |   |-- Overloaded
    |   `-- BundleError            the bundle cannot be served
    |       |-- BundleNotFound
    |       |-- BundleExists
    |       |-- BundleTampered
    |       |-- BundleIncompatible
    |       |-- BundleNotApproved
    |       `-- GoldenMismatch
    |-- ConfigError                a setting is wrong
    |-- StartupFailed              the process cannot serve
    `-- BugError                   a promise of ours is broken
"""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from pydantic import ValidationError


class ModelServerError(Exception):
    """Base of all our errors; ``str(error)`` is the text a client may see and holds no feature value.

    Attributes:
        http_status: Status of the answer.
        facade_status: Status on the plain routes, None for the same one.
        grpc_code: Name of the gRPC status code.
        slug: The ``code`` of the answer, for programs.
        retry_after_s: Seconds after which the same request may succeed, sent as Retry-After; None where waiting
            does not help.
    """

    http_status: ClassVar[int] = HTTPStatus.INTERNAL_SERVER_ERROR
    facade_status: ClassVar[int | None] = None
    grpc_code: ClassVar[str] = "INTERNAL"
    slug: ClassVar[str] = "internal"
    retry_after_s: ClassVar[int | None] = None


class ClientError(ModelServerError):
    """The request is at fault."""

    http_status = HTTPStatus.BAD_REQUEST
    grpc_code = "INVALID_ARGUMENT"
    slug = "invalid-request"


class DecodeError(ClientError):
    """The bytes are not a request of the protocol they were sent to."""

    facade_status = HTTPStatus.UNPROCESSABLE_ENTITY
    slug = "malformed-request"


class BodyTooLarge(DecodeError):
    """The body is larger than the server takes."""

    http_status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    facade_status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    grpc_code = "RESOURCE_EXHAUSTED"
    slug = "body-too-large"


class UnsupportedEncoding(DecodeError):
    """The body is compressed, which no protocol here has."""

    http_status = HTTPStatus.UNSUPPORTED_MEDIA_TYPE
    facade_status = HTTPStatus.UNSUPPORTED_MEDIA_TYPE
    slug = "unsupported-encoding"


@dataclass(frozen=True, slots=True)
class Violation:
    """One broken rule of the contract.

    Attributes:
        rule: What the value must be; never the value itself.
        feature: Name of the feature, or None when the rule is about the whole row or request.
        row: Index of the row in the request, from 0, or None when the rule is about the whole request.
    """

    rule: str
    feature: str | None = None
    row: int | None = None

    def __str__(self) -> str:
        place = [f"feature {self.feature!r}"] if self.feature is not None else []
        place += [f"row {self.row}"] if self.row is not None else []
        return f"{', '.join(place)}: {self.rule}" if place else self.rule


class ContractError(ClientError):
    """Rows or tensors break the input contract of the model."""

    facade_status = HTTPStatus.UNPROCESSABLE_ENTITY
    slug = "contract-violation"

    #: At most this many violations are spelled out in one answer; the rest are counted.
    shown: ClassVar[int] = 10

    def __init__(self, violations: list[Violation]) -> None:
        if not violations:
            raise BugError("a ContractError needs at least one violation")
        self.violations = tuple(violations)
        more = len(violations) - self.shown
        text = "; ".join(str(violation) for violation in violations[: self.shown])
        super().__init__(f"{text}; and {more} more" if more > 0 else text)


class UnknownOutput(ClientError):
    """A requested output is not one of the model's."""

    slug = "unknown-output"


class Forbidden(ClientError):
    """The caller may not use this route."""

    http_status = HTTPStatus.FORBIDDEN
    grpc_code = "PERMISSION_DENIED"
    slug = "forbidden"


class NotSupported(ClientError):
    """The protocol has this call, but this model or server cannot answer it."""

    http_status = HTTPStatus.NOT_IMPLEMENTED
    grpc_code = "UNIMPLEMENTED"
    slug = "not-supported"


class NotFound(ClientError):
    """Nothing is served under that name."""

    http_status = HTTPStatus.NOT_FOUND
    grpc_code = "NOT_FOUND"
    slug = "not-found"


class ModelNotFound(NotFound):
    """No model of that name is served here."""

    slug = "model-not-found"


class VersionNotFound(NotFound):
    """The model is served, but not in that version."""

    slug = "version-not-found"


class RouteNotFound(NotFound):
    """No such path."""

    slug = "route-not-found"


class MethodNotAllowed(NotFound):
    """The path exists, but not for that HTTP method."""

    http_status = HTTPStatus.METHOD_NOT_ALLOWED
    grpc_code = "UNIMPLEMENTED"
    slug = "method-not-allowed"


class Unavailable(ModelServerError):
    """The server cannot answer now, because a shutdown ended the request."""

    http_status = HTTPStatus.SERVICE_UNAVAILABLE
    grpc_code = "UNAVAILABLE"
    slug = "unavailable"
    retry_after_s: ClassVar[int | None] = 1


class ModelNotReady(Unavailable):
    """The model is not loaded yet, or the server is shutting down."""

    slug = "model-not-ready"


class Overloaded(Unavailable):
    """The queue of the model is full, or the request waited in it for too long."""

    grpc_code = "RESOURCE_EXHAUSTED"
    slug = "overloaded"


class BundleError(Unavailable):
    """A bundle cannot be loaded; sending the request again does not mend it."""

    slug = "bundle-error"
    retry_after_s = None


class BundleNotFound(BundleError):
    """There is no bundle at that place."""

    slug = "bundle-not-found"


class BundleExists(BundleError):
    """A bundle is immutable: nothing may be written over it."""

    slug = "bundle-exists"


class BundleTampered(BundleError):
    """The files of a bundle are not the ones its manifest names."""

    slug = "bundle-tampered"


class BundleIncompatible(BundleError):
    """The bundle was made for other library versions or by an unknown format."""

    slug = "bundle-incompatible"


class BundleNotApproved(BundleError):
    """Nobody put this version into production, or its gates did not pass."""

    slug = "bundle-not-approved"


class GoldenMismatch(BundleError):
    """The opened pipeline does not answer its golden rows as training recorded them."""

    slug = "golden-mismatch"


class ConfigError(ModelServerError):
    """A setting is unknown or has a bad value; the text names its key."""

    slug = "bad-setting"


class StartupFailed(ModelServerError):
    """The process cannot serve; its text is the last line of the log and names the fix."""

    slug = "startup-failed"


class BugError(ModelServerError):
    """A promise of our own is broken; the log has the details under the request's identifier."""


#: What a request can be answered with. The rest gather others, end a start, or belong to training. A test derives the
#: same set from what the code raises behind its routes.
ANSWERED: tuple[type[ModelServerError], ...] = (
    DecodeError,
    ContractError,
    UnknownOutput,
    Forbidden,
    ModelNotFound,
    VersionNotFound,
    RouteNotFound,
    MethodNotAllowed,
    BodyTooLarge,
    UnsupportedEncoding,
    BugError,
    ConfigError,
    NotSupported,
    Unavailable,
    ModelNotReady,
    Overloaded,
    BundleError,
    BundleNotFound,
    BundleTampered,
    BundleIncompatible,
    BundleNotApproved,
    GoldenMismatch,
)


def describe(error: ValidationError) -> str:
    """Put a pydantic error into one line of ``path: rule`` parts, without the offending values."""
    flaws = error.errors(include_input=False, include_url=False, include_context=False)
    return "; ".join(f"{'.'.join(map(str, flaw['loc'])) or 'document'}: {flaw['msg']}" for flaw in flaws)
