"""ServedModel: the core behind KServe's own hooks; knows KServe's request objects and turns them into our Call.

Each hook is one step: ``preprocess`` decodes, ``predict`` and ``explain`` ask the core, ``postprocess`` lays the answer
out as the object that KServe encodes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from kserve import InferInput, InferOutput, InferRequest, InferResponse, Model
from kserve.protocol.infer_type import RequestedOutput as KServeOutput

from model_server.errors import DecodeError
from model_server.serving.call import Answer, Call, RequestedOutput
from model_server.serving.tensors import DTYPES, Tensor, check_header, decode_raw
from model_server.wire import answers, codec
from model_server.wire.explanations import v1_explanations
from model_server.wire.metadata import inputs_of, outputs_of

if TYPE_CHECKING:
    from model_server.serving.service import Core


class ServedModel(Model):
    """KServe's model, answered by our core."""

    def __init__(self, name: str, core: Core, *, bare: bool) -> None:
        """Bind the core.

        Args:
            name: Name on the routes.
            core: What answers.
            bare: Whether v1 predictions are bare labels.
        """
        super().__init__(name)
        self._core = core
        self._bare = bare

    async def healthy(self) -> bool:
        """Say whether requests should be sent here: loaded, warmed and not shutting down."""
        return self._core.repository.is_ready

    def get_input_types(self) -> list[dict[str, Any]]:
        """Describe the inputs from the contract (kserve#1488: sklearnserver leaves them empty)."""
        return inputs_of(self._core.repository.require(self.name).contract)

    def get_output_types(self) -> list[dict[str, Any]]:
        """Describe the outputs from the contract."""
        return outputs_of(self._core.repository.require(self.name).contract)

    def validate(self, payload: Call) -> Call:
        """Pass on: the contract checks, where KServe's own check assumes a dictionary."""
        return payload

    async def preprocess(self, payload: Any, headers: dict[str, str] | None = None) -> Call:
        """Decode what KServe parsed: a v1 document, raw v1 bytes, or a v2 request.

        Raises:
            DecodeError: It is not a request.
        """
        del headers
        if isinstance(payload, InferRequest):
            return call_of_infer_request(payload)
        if isinstance(payload, bytes):  # kserve#2524: any content type but four exact ones arrives undecoded
            return codec.decode_v1(payload)
        return codec.call_of_v1(payload)

    async def predict(self, payload: Call, headers: dict[str, str] | None = None) -> Answer:
        """Ask the core, off the event loop."""
        del headers
        return await self._core.answer(payload, self.name)

    async def explain(self, payload: Call, headers: dict[str, str] | None = None) -> dict[str, Any]:
        """Explain every row; v1 only."""
        del headers
        served, explanation = await self._core.explain(payload, self.name)
        return {
            "explanations": v1_explanations(explanation),
            "model_name": served.name,
            "model_version": served.version,
        }

    async def postprocess(
        self, result: Answer | dict[str, Any], headers: dict[str, str] | None = None
    ) -> dict[str, Any] | InferResponse:
        """Lay an answer out as the object that KServe encodes: a v1 document or an ``InferResponse``."""
        del headers
        if isinstance(result, dict):
            return result
        return infer_response(result) if result.call.tensors else answers.v1_document(result, bare=self._bare)


def call_of_infer_request(request: InferRequest) -> Call:
    """Read KServe's v2 request object.

    Raises:
        DecodeError: It is malformed.
    """
    if not request.inputs:
        raise DecodeError("'inputs' must hold at least one tensor")
    parameters = request.parameters or {}
    binary = bool(parameters.get("binary_data_output", False))
    outputs = codec.unique_outputs(
        [RequestedOutput(output.name, _wants_binary(output, binary)) for output in request.request_outputs or []]
    )
    return Call(
        tensors=codec.unique_tensors([_tensor(part) for part in request.inputs]),
        id=codec.checked_id(request.id),
        outputs=outputs,
        binary=binary,
        reasons=codec.reasons_wanted(codec.reasons_of(parameters), outputs),
    )


def _wants_binary(output: KServeOutput, otherwise: bool) -> bool:  # noqa: FBT001 - the request's own word
    return otherwise if output.binary_data is None else bool(output.binary_data)


def _tensor(part: InferInput) -> Tensor:
    name, datatype, shape = check_header(part.name, part.datatype, list(part.shape))
    # KServe's as_dataframe reads only typed contents, so raw ones give empty columns: decode them ourselves.
    if part._raw_data is not None:  # noqa: SLF001 - KServe gives no other access to it
        return decode_raw(name, datatype, shape, part._raw_data)  # noqa: SLF001
    data = part.data
    if not isinstance(data, list):
        raise DecodeError(f"tensor {name!r} has no data")
    if part.parameters and "binary_data_size" in part.parameters and datatype != "BYTES":
        # KServe turned binary data into a list; as an array, NaN means missing again.
        return Tensor(name, datatype, shape, np.array(data, dtype=DTYPES[datatype]).ravel())
    return codec.json_tensor(name, datatype, shape, data)


def infer_response(answer: Answer) -> InferResponse:
    """Lay an answer out as KServe's v2 response object."""
    tensors = answers.output_tensors(answer)
    return InferResponse(
        response_id=answer.call.id or "",
        model_name=answer.model_name,
        model_version=answer.model_version,
        infer_outputs=[_infer_output(tensor) for tensor, _ in tensors],
        requested_outputs=[KServeOutput(tensor.name, {"binary_data": binary}) for tensor, binary in tensors],
    )


def _infer_output(tensor: Tensor) -> InferOutput:
    # kserve#6204: labels in numpy's <U dtype break KServe's encoder, an object array does not.
    data = np.asarray(tensor.data, dtype=DTYPES[tensor.datatype])
    return InferOutput(tensor.name, list(tensor.shape), tensor.datatype, data)
