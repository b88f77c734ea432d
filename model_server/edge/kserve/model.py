"""KServeModel: adapter of our service to KServe's model hooks and request objects.

Each hook is one step: ``preprocess`` decodes, ``predict`` and ``explain`` call the service, ``postprocess`` lays the
answer out as the object that KServe encodes. KServe's routes come here only with ``hot_path: false``, a way back for
the day when a new uvicorn or KServe breaks the lean one; otherwise this class is what KServe knows of the model.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from kserve import InferInput, InferOutput, InferRequest, InferResponse, Model
from kserve.protocol.infer_type import RequestedOutput as KServeOutput

from model_server.errors import DecodeError
from model_server.serving.call import Answer, Call, Options, RequestedOutput
from model_server.serving.datatypes import DATATYPES
from model_server.serving.tensors import Tensor
from model_server.wire.metadata import inputs_of, outputs_of
from model_server.wire.outputs import output_tensors
from model_server.wire.parts import checked_id, options_of, parse_json, unique_outputs
from model_server.wire.tensors import check_header, decode_raw, json_tensor, unique_tensors
from model_server.wire.v1 import call_of_v1, explanations_document, v1_document

if TYPE_CHECKING:
    from model_server.serving.service import Service


class KServeModel(Model):
    """KServe's model, answered by our service."""

    def __init__(self, name: str, service: Service, *, bare: bool) -> None:
        """Bind the service.

        Args:
            name: Name on the routes.
            service: What answers.
            bare: Whether v1 predictions are bare labels.
        """
        super().__init__(name)
        self._service = service
        self._bare = bare

    async def healthy(self) -> bool:
        """Say whether requests should be sent here: loaded, warmed and not shutting down."""
        return self._service.repository.is_ready

    def get_input_types(self) -> list[dict[str, Any]]:
        """Describe the inputs from the contract (kserve#1488: sklearnserver leaves them empty)."""
        return inputs_of(self._service.repository.require(self.name).contract)

    def get_output_types(self) -> list[dict[str, Any]]:
        """Describe the outputs from the contract."""
        return outputs_of(self._service.repository.require(self.name).contract)

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
            return call_of_v1(parse_json(payload))
        return call_of_v1(payload)

    async def predict(self, payload: Call, headers: dict[str, str] | None = None) -> Answer:
        """Ask the service, off the event loop."""
        del headers
        loaded = self._service.repository.require(self.name)
        return Answer(payload, loaded, await self._service.submit(loaded, payload))

    async def explain(self, payload: Call, headers: dict[str, str] | None = None) -> Answer:
        """Explain every row; v1 only."""
        payload.options = Options(explain=True)
        return await self.predict(payload, headers)

    async def postprocess(
        self, result: Answer, headers: dict[str, str] | None = None
    ) -> dict[str, Any] | InferResponse:
        """Lay an answer out as the object that KServe encodes: a v1 document or an ``InferResponse``."""
        del headers
        if result.call.options.explain:
            return explanations_document(result)
        return infer_response(result) if result.call.tensors else v1_document(result, bare=self._bare)


def call_of_infer_request(request: InferRequest) -> Call:
    """Read KServe's v2 request object.

    Raises:
        DecodeError: It is malformed.
    """
    if not request.inputs:
        raise DecodeError("'inputs' must hold at least one tensor")
    parameters = request.parameters or {}
    binary = bool(parameters.get("binary_data_output", False))
    outputs = unique_outputs(
        [RequestedOutput(output.name, _wants_binary(output, binary)) for output in request.request_outputs or []]
    )
    return Call(
        tensors=unique_tensors([_tensor(part) for part in request.inputs]),
        id=checked_id(request.id),
        outputs=outputs,
        binary=binary,
        options=options_of(parameters, outputs),
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
        return Tensor(name, datatype, shape, np.array(data, dtype=DATATYPES[datatype].dtype).ravel())
    return json_tensor(name, datatype, shape, data)


def infer_response(answer: Answer) -> InferResponse:
    """Lay an answer out as KServe's v2 response object."""
    tensors = output_tensors(answer)
    return InferResponse(
        response_id=answer.call.id or "",
        model_name=answer.loaded.name,
        model_version=answer.loaded.version,
        infer_outputs=[_infer_output(tensor) for tensor, _ in tensors],
        requested_outputs=[KServeOutput(tensor.name, {"binary_data": binary}) for tensor, binary in tensors],
    )


def _infer_output(tensor: Tensor) -> InferOutput:
    # kserve#6204: labels in numpy's <U dtype break KServe's encoder, an object array does not.
    data = np.asarray(tensor.data, dtype=DATATYPES[tensor.datatype].dtype)
    return InferOutput(tensor.name, list(tensor.shape), tensor.datatype, data)
