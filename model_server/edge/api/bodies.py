"""The JSON bodies that are the same for every model, as pydantic models.

They document and test the edge: requests are decoded by ``wire``, which is stricter than pydantic and faster.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue
from pydantic.json_schema import models_json_schema

from model_server.approval import Approval
from model_server.serving.datatypes import DATATYPES
from model_server.wire.parts import MAX_REASONS

Scalar = str | bool | int | float
if TYPE_CHECKING:
    Datatype = str
else:
    Datatype = Literal[tuple(DATATYPES)]


class Body(BaseModel):
    """A JSON object without further keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


class BrokenRule(Body):
    """One value, row or tensor that breaks the contract of the model."""

    feature: str | None = Field(description="Name of the feature, or null where the rule is about a whole row.")
    row: int | None = Field(description="Index of the row from 0, or null where the rule is about the whole request.")
    rule: str = Field(description="What it must be.", examples=["must be a finite number >= 0"])


class Error(Body):
    """What every refused or failed request answers, whatever the route."""

    error: str = Field(description="What is wrong and what to do; never a value that was sent.")
    code: str = Field(description="The kind of error, for programs.", examples=["contract-violation"])
    request_id: str = Field(description="The header x-request-id of the answer; the log line has it too.")
    violations: list[BrokenRule] = Field(
        default=[], description="Each broken rule, where the input breaks the model's contract."
    )


class NotReady(Error):
    """Why no requests should be sent here."""

    detail: str = Field(description="What is being waited for.")


class Ready(Body):
    """Requests may be sent here."""

    status: Literal["ready"]


class LoadedModel(Body):
    """Which bundle answers, and where it comes from."""

    name: str = Field(description="Name on the routes.")
    version: str
    digest: str = Field(description="SHA-256 of the bundle's manifest; it pins every file of the bundle.")
    approval: Approval = Field(description="Whether this version is the one in production, and if not, what it is.")
    run_id: str = Field(description="The training run.")
    estimator: str = Field(description="Import path of the final estimator.")
    dataset: str = Field(description="The table it was trained on.")


class Health(Body):
    """The process lives; whether it should get requests is what /ready says."""

    status: str = Field(description="A word of the served bundle, such as ok or healthy.")
    model_loaded: bool
    model_version: str | None
    uptime_seconds: float = Field(ge=0, description="Seconds since the process began, to one decimal.")
    model: LoadedModel | None


class Alive(Body):
    """The process lives."""

    status: Literal["alive"]


class Live(Body):
    """The process lives."""

    live: Literal[True]


class ServerReady(Body):
    """The model is loaded, warmed and takes requests."""

    ready: Literal[True]


class ModelReady(Body):
    """The model is loaded, warmed and takes requests."""

    name: str
    ready: Literal[True]


class ServerMetadata(Body):
    """The server and the protocol extensions it has."""

    name: str
    version: str
    extensions: list[str]


class ModelList(Body):
    """Names of the served models."""

    models: list[str]


class TensorMetadata(Body):
    """Name, datatype and shape of an input or output; -1 is the number of rows."""

    name: str
    datatype: Datatype
    shape: list[int]


class ModelMetadata(Body):
    """What a model takes and answers."""

    name: str
    versions: list[str]
    platform: str
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]


class V1Parameters(BaseModel):
    """Options of a v1 request; those that are not known here are ignored, as the protocol has it."""

    model_config = ConfigDict(frozen=True, extra="allow")
    __pydantic_extra__: dict[str, Scalar | None]

    reasons: int = Field(default=0, ge=0, le=MAX_REASONS, description="How many reasons to give for each row.")


class V1Reason(Body):
    """One feature's part in one answer."""

    feature: str
    contribution: float = Field(description="What the feature adds to the output, in the named space.")
    direction: Literal["increases", "decreases"]
    space: Literal["log-odds", "probability", "value"]
    output: str = Field(description="The class or target that the contribution speaks of.")


class V1Explanation(Body):
    """The answer for one row, split: base plus all contributions is the model's margin in the named space."""

    space: Literal["log-odds", "probability", "value"]
    output: str | list[str] = Field(description="What is explained; of several classes, all of them.")
    base: float | dict[str, float] = Field(description="The margin when no feature is known; of several, one each.")
    contributions: dict[str, float | dict[str, float]] = Field(
        description="What each feature adds; of several outputs, keyed by output first."
    )


class V1Explanations(Body):
    """The explained rows, in order."""

    explanations: list[V1Explanation]
    model_name: str
    model_version: str


class InputTensor(Body):
    """An input: all features as [N, F], or one feature as [N] or [N, 1] under its name."""

    name: str = Field(min_length=1, max_length=128)
    datatype: Datatype = Field(description="Any that converts to the feature's own without loss.")
    shape: list[int] = Field(min_length=1, max_length=8)
    data: list[JsonValue] | None = Field(
        default=None, description="The elements in row-major order, flat or nested; absent where binary data follows."
    )
    parameters: dict[str, Scalar | None] | None = Field(
        default=None, description="binary_data_size: how many bytes after the JSON part are this tensor's."
    )


class RequestedTensor(Body):
    """An output that is wanted."""

    name: str
    parameters: dict[str, Scalar | None] | None = Field(
        default=None, description="binary_data: true to get it as binary data."
    )


class InferenceRequest(Body):
    """A v2 request."""

    id: str | None = Field(default=None, max_length=1024, description="Echoed in the answer.")
    parameters: dict[str, Scalar | None] | None = Field(
        default=None, description="reasons: how many a row; binary_data_output: true to get all outputs as binary data."
    )
    inputs: list[InputTensor] = Field(min_length=1)
    outputs: list[RequestedTensor] | None = Field(
        default=None, description="The outputs to answer, in order; without it all but reasons."
    )


class OutputTensor(Body):
    """An output."""

    name: str
    datatype: Datatype
    shape: list[int]
    data: list[Any] | None = Field(default=None, description="The elements, flat; absent where binary data follows.")
    parameters: dict[str, Scalar] | None = None


class InferenceResponse(Body):
    """A v2 answer."""

    model_name: str
    model_version: str
    id: str | None = None
    parameters: dict[str, Scalar] | None = None
    outputs: list[OutputTensor]


class IndexEntry(Body):
    """A model of the repository and its state."""

    name: str
    version: str | None = None
    state: Literal["READY", "UNAVAILABLE"]
    reason: str | None = None


class Loaded(Body):
    """The model was fetched, checked and swapped in."""

    name: str
    load: Literal[True]


class Unloaded(Body):
    """The model is served no longer."""

    name: str
    unload: Literal[True]


class ReloadedModel(Body):
    """A model and the version that is served now."""

    name: str
    version: str


class Reloaded(Body):
    """The bundle was fetched, checked and swapped in."""

    status: Literal["reloaded"]
    models_loaded: int
    models: list[ReloadedModel]
    reloaded_at: str = Field(description="ISO 8601 with offset.")


_ROOTS: tuple[type[BaseModel], ...] = (
    Alive,
    Error,
    Health,
    IndexEntry,
    InferenceRequest,
    InferenceResponse,
    Live,
    Loaded,
    ModelList,
    ModelMetadata,
    ModelReady,
    NotReady,
    Ready,
    Reloaded,
    ServerMetadata,
    ServerReady,
    Unloaded,
    V1Explanations,
    V1Parameters,
    V1Reason,
)


def component_schemas() -> dict[str, Any]:
    """Give the JSON Schemas of all bodies, by name, with references into an OpenAPI document."""
    _, schemas = models_json_schema(
        [(model, "validation") for model in _ROOTS], ref_template="#/components/schemas/{model}"
    )
    definitions: dict[str, Any] = schemas["$defs"]
    return definitions
