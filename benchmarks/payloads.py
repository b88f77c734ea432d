"""What is asked: the same rows as requests of every protocol; knows wire forms, not servers and not time."""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson

from benchmarks.load import http_request

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    Rows = list[list[Any]]

#: What KServe and MLServer want to be told before they make one table of several columns, and texts of bytes.
_AS_TABLE = {"content_type": "pd"}
_HINTS = {"BYTES": {"content_type": "str"}}

#: Different requests of each kind; they are sent in turn.
_VARIETY = 16


@dataclass(frozen=True)
class Table:
    """Rows of a model, to be asked about.

    Attributes:
        model: Name on the routes.
        names: Feature names, F of them.
        datatypes: Their datatypes in the Open Inference Protocol; all FP64 for a numeric model.
        rows: Golden rows of its bundle: JSON values in contract order.
        answers: What training recorded for each of them: a probability a class.
    """

    model: str
    names: tuple[str, ...]
    datatypes: tuple[str, ...]
    rows: Rows
    answers: list[list[float]] = field(default_factory=list)

    @property
    def is_numeric(self) -> bool:
        """Whether one tensor holds a row."""
        return "BYTES" not in self.datatypes

    def draw(self, count: int, seed: int) -> Rows:
        """Draw rows, with repetition."""
        return [self.rows[index] for index in self._picked(count, seed)]

    def expected(self, count: int, seed: int) -> list[list[float]]:
        """Give the recorded answers of the rows that are drawn so."""
        return [self.answers[index] for index in self._picked(count, seed)]

    def _picked(self, count: int, seed: int) -> list[int]:
        return [int(index) for index in np.random.default_rng(seed).integers(0, len(self.rows), count)]


_DATATYPES = {"float": "FP64", "int": "INT64", "bool": "BOOL", "string": "BYTES"}


def table_of(bundle: Path, model: str) -> Table:
    """Read a bundle's features and golden rows."""
    contract = json.loads((bundle / "manifest.json").read_text("utf-8"))["contract"]["features"]
    golden = json.loads((bundle / "golden.json").read_text("utf-8"))
    answers = golden["outputs"].get("probabilities", [])
    names = tuple(feature["name"] for feature in contract)
    datatypes = tuple(_DATATYPES[feature["dtype"]] for feature in contract)
    return Table(model, names, datatypes, golden["rows"], answers)


def requests(protocol: str, table: Table, n_rows: int) -> list[bytes]:
    """Write requests: whole HTTP requests, or the messages of gRPC calls."""
    return [write(protocol, table, table.draw(n_rows, seed)) for seed in range(_VARIETY)]


def write(protocol: str, table: Table, rows: Rows) -> bytes:
    """Write one request."""
    return _WRITERS[protocol](table, rows)


def _v1(table: Table, rows: Rows) -> bytes:
    return http_request(f"/v1/models/{table.model}:predict", orjson.dumps({"instances": rows}))


def _objects(table: Table, rows: Rows) -> bytes:
    return http_request(f"/v1/models/{table.model}:predict", _named(table, rows))


def _named(table: Table, rows: Rows) -> bytes:
    return orjson.dumps({"instances": [dict(zip(table.names, row, strict=True)) for row in rows]})


def _own(_: Table, rows: Rows) -> bytes:
    return http_request("/predict", orjson.dumps({"instances": rows}))


def _own_objects(table: Table, rows: Rows) -> bytes:
    return http_request("/predict-objects", _named(table, rows))


def _echo(_: Table, rows: Rows) -> bytes:
    return http_request("/", orjson.dumps({"instances": rows}))


def _columns(table: Table, rows: Rows) -> list[tuple[str, str, list[int], list[Any]]]:
    if table.is_numeric:
        flat = [value for row in rows for value in row]
        return [("features", "FP64", [len(rows), len(table.names)], flat)]
    columns = zip(table.names, table.datatypes, zip(*rows, strict=True), strict=True)
    return [(name, datatype, [len(rows)], list(values)) for name, datatype, values in columns]


def _hinted(datatype: str) -> dict[str, dict[str, str]]:
    return {"parameters": _HINTS[datatype]} if datatype in _HINTS else {}


def _v2(table: Table, rows: Rows) -> bytes:
    inputs = [
        {"name": name, "shape": shape, "datatype": datatype, "data": data, **_hinted(datatype)}
        for name, datatype, shape, data in _columns(table, rows)
    ]
    body = {"inputs": inputs} | ({} if table.is_numeric else {"parameters": _AS_TABLE})
    return http_request(f"/v2/models/{table.model}/infer", orjson.dumps(body))


def _raw(datatype: str, data: Sequence[Any]) -> bytes:
    if datatype == "BYTES":
        return b"".join(struct.pack("<I", len(text)) + text for text in (str(value).encode() for value in data))
    return np.array(data, dtype={"FP64": "<f8", "INT64": "<i8", "BOOL": "?"}[datatype]).tobytes()


def _v2_binary(table: Table, rows: Rows) -> bytes:
    inputs, raws = [], []
    for name, datatype, shape, data in _columns(table, rows):
        raws.append(_raw(datatype, data))
        parameters = {"binary_data_size": len(raws[-1])}
        inputs.append({"name": name, "shape": shape, "datatype": datatype, "parameters": parameters})
    head = orjson.dumps({"inputs": inputs, "parameters": {"binary_data_output": True}})
    headers = [("Content-Type", "application/octet-stream"), ("Inference-Header-Content-Length", str(len(head)))]
    return http_request(f"/v2/models/{table.model}/infer", b"".join([head, *raws]), headers)


def _call(table: Table) -> Any:
    from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb

    request = pb.ModelInferRequest(model_name=table.model)
    for key, value in ({} if table.is_numeric else _AS_TABLE).items():
        request.parameters[key].string_param = value
    return request


def _tensor(request: Any, name: str, datatype: str, shape: list[int]) -> Any:
    part = request.inputs.add(name=name, datatype=datatype, shape=shape)
    for key, value in _HINTS.get(datatype, {}).items():
        part.parameters[key].string_param = value
    return part


def _grpc(table: Table, rows: Rows) -> bytes:
    request = _call(table)
    for name, datatype, shape, data in _columns(table, rows):
        part = _tensor(request, name, datatype, shape)
        field = {"FP64": "fp64", "INT64": "int64", "BOOL": "bool", "BYTES": "bytes"}[datatype]
        values = [str(value).encode() for value in data] if datatype == "BYTES" else data
        getattr(part.contents, f"{field}_contents").extend(values)
    message: bytes = request.SerializeToString()
    return message


def _grpc_raw(table: Table, rows: Rows) -> bytes:
    request = _call(table)
    for name, datatype, shape, data in _columns(table, rows):
        _tensor(request, name, datatype, shape)
        request.raw_input_contents.append(_raw(datatype, data))
    message: bytes = request.SerializeToString()
    return message


_WRITERS: dict[str, Callable[[Table, Rows], bytes]] = {
    "echo": _echo,
    "own": _own,
    "own objects": _own_objects,
    "v1": _v1,
    "v1 objects": _objects,
    "v2": _v2,
    "v2 binary": _v2_binary,
    "grpc": _grpc,
    "grpc raw": _grpc_raw,
}
GRPC_METHOD = "/inference.GRPCInferenceService/ModelInfer"
