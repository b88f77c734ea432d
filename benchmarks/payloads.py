"""What is asked: the same rows as requests of every protocol; knows wire forms, not servers and not time."""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson

from benchmarks.load import http_request

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    Rows = list[list[Any]]

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
    """

    model: str
    names: tuple[str, ...]
    datatypes: tuple[str, ...]
    rows: Rows

    @property
    def is_numeric(self) -> bool:
        """Whether one tensor holds a row."""
        return "BYTES" not in self.datatypes

    def draw(self, count: int, seed: int) -> Rows:
        """Draw rows, with repetition."""
        picked = np.random.default_rng(seed).integers(0, len(self.rows), count)
        return [self.rows[index] for index in picked]


_DATATYPES = {"float": "FP64", "int": "INT64", "bool": "BOOL", "string": "BYTES"}


def table_of(bundle: Path, model: str) -> Table:
    """Read a bundle's features and golden rows."""
    contract = json.loads((bundle / "manifest.json").read_text("utf-8"))["contract"]["features"]
    rows = json.loads((bundle / "golden.json").read_text("utf-8"))["rows"]
    names = tuple(feature["name"] for feature in contract)
    return Table(model, names, tuple(_DATATYPES[feature["dtype"]] for feature in contract), rows)


def requests(protocol: str, table: Table, n_rows: int) -> list[bytes]:
    """Write requests: whole HTTP requests, or the messages of gRPC calls."""
    write = _WRITERS[protocol]
    return [write(table, table.draw(n_rows, seed)) for seed in range(_VARIETY)]


def _v1(table: Table, rows: Rows) -> bytes:
    return http_request(f"/v1/models/{table.model}:predict", orjson.dumps({"instances": rows}))


def _objects(table: Table, rows: Rows) -> bytes:
    instances = [dict(zip(table.names, row, strict=True)) for row in rows]
    return http_request(f"/v1/models/{table.model}:predict", orjson.dumps({"instances": instances}))


def _tutorial(_: Table, rows: Rows) -> bytes:
    return http_request("/predict", orjson.dumps({"instances": rows}))


def _echo(_: Table, rows: Rows) -> bytes:
    return http_request("/", orjson.dumps({"instances": rows}))


def _columns(table: Table, rows: Rows) -> list[tuple[str, str, list[int], list[Any]]]:
    if table.is_numeric:
        flat = [value for row in rows for value in row]
        return [("features", "FP64", [len(rows), len(table.names)], flat)]
    columns = zip(table.names, table.datatypes, zip(*rows, strict=True), strict=True)
    return [(name, datatype, [len(rows)], list(values)) for name, datatype, values in columns]


def _v2(table: Table, rows: Rows) -> bytes:
    inputs = [
        {"name": name, "shape": shape, "datatype": datatype, "data": data}
        for name, datatype, shape, data in _columns(table, rows)
    ]
    return http_request(f"/v2/models/{table.model}/infer", orjson.dumps({"inputs": inputs}))


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


def _grpc(table: Table, rows: Rows) -> bytes:
    from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb

    request = pb.ModelInferRequest(model_name=table.model)
    for name, datatype, shape, data in _columns(table, rows):
        part = request.inputs.add(name=name, datatype=datatype, shape=shape)
        field = {"FP64": "fp64", "INT64": "int64", "BOOL": "bool", "BYTES": "bytes"}[datatype]
        values = [str(value).encode() for value in data] if datatype == "BYTES" else data
        getattr(part.contents, f"{field}_contents").extend(values)
    message: bytes = request.SerializeToString()
    return message


def _grpc_raw(table: Table, rows: Rows) -> bytes:
    from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb

    request = pb.ModelInferRequest(model_name=table.model)
    for name, datatype, shape, data in _columns(table, rows):
        request.inputs.add(name=name, datatype=datatype, shape=shape)
        request.raw_input_contents.append(_raw(datatype, data))
    message: bytes = request.SerializeToString()
    return message


_WRITERS: dict[str, Callable[[Table, Rows], bytes]] = {
    "echo": _echo,
    "tutorial": _tutorial,
    "v1": _v1,
    "v1 objects": _objects,
    "v2": _v2,
    "v2 binary": _v2_binary,
    "grpc": _grpc,
    "grpc raw": _grpc_raw,
}
GRPC_METHOD = "/inference.GRPCInferenceService/ModelInfer"
