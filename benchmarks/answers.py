"""Whether a contestant answers what the pipeline does: nothing is compared before; knows wire forms, not servers.

A server that answers quickly what is wrong, or half of it, would win every comparison.
"""

from __future__ import annotations

import http.client
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson

from benchmarks import payloads
from benchmarks.load import connect

if TYPE_CHECKING:
    from collections.abc import Iterable

    from benchmarks.contestants import Ports
    from benchmarks.payloads import Table

#: Largest difference of a probability; the bundle's own golden rows are held to the same.
TOLERANCE = 1e-9
_SEEDS = (0, 1)


class Differs(Exception):
    """A contestant refuses a request, or answers something else than the pipeline; the text says which."""


def check(ports: Ports, table: Table, asked: Iterable[tuple[str, int]]) -> float:
    """Ask a server some of the requests that it will be measured with.

    Args:
        ports: Where it listens.
        table: The rows, with the pipeline's own answers.
        asked: Protocols and numbers of rows.

    Returns:
        The largest difference that was seen.

    Raises:
        Differs: It is larger than ``TOLERANCE``, or there is no answer.
    """
    largest = 0.0
    for protocol, n_rows in asked:
        for seed in _SEEDS:
            largest = max(largest, _difference(ports, table, protocol, (n_rows, seed)))
    return largest


def _difference(ports: Ports, table: Table, protocol: str, drawn: tuple[int, int]) -> float:
    where = f"{protocol}, {drawn[0]} rows of {table.model}"
    request = payloads.write(protocol, table, table.draw(*drawn))
    expected = np.array(table.draw(*drawn))[:, :1] if protocol == "echo" else np.array(table.expected(*drawn))
    try:
        answered = probabilities(protocol, _asked(ports, protocol, request))
    except (ValueError, KeyError, IndexError, OSError) as error:
        raise Differs(f"{where}: no answer that can be read ({type(error).__name__}: {error})") from error
    if answered.shape != expected.shape:
        raise Differs(f"{where}: {answered.shape} numbers instead of {expected.shape}")
    difference = float(np.abs(answered - expected.astype(float)).max())
    if not difference <= TOLERANCE:
        raise Differs(f"{where}: answers differ from the pipeline's by {difference:.2g}")
    return difference


def _asked(ports: Ports, protocol: str, request: bytes) -> tuple[bytes, int]:
    """Give the body of an answer, and the length of the JSON that it begins with."""
    if protocol.startswith("grpc"):
        return _called(ports.grpc, request), 0
    with connect(ports.http) as connection:
        connection.sendall(request)
        response = http.client.HTTPResponse(connection)
        response.begin()
        body = response.read()
    if response.status != http.HTTPStatus.OK:
        raise ValueError(f"status {response.status}, {body[:200]!r}")
    return body, int(response.headers.get("inference-header-content-length", len(body)))


def _called(port: int, message: bytes) -> bytes:
    import grpc

    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        try:
            call: Any = channel.unary_unary(payloads.GRPC_METHOD)
            answer: bytes = call(message, timeout=30)
        except grpc.RpcError as error:
            raise ValueError(f"{error.code()}, {error.details()}") from error
    return answer


def probabilities(protocol: str, answer: tuple[bytes, int]) -> np.ndarray[Any, Any]:
    """Read an answer of any contestant.

    Args:
        protocol: As ``payloads`` names it.
        answer: Body, and the length of the JSON that it begins with.

    Returns:
        Shape (rows, classes); of the echo, (rows, 1).

    Raises:
        ValueError: It is none.
        KeyError: Same.
    """
    body, length = answer
    if protocol.startswith("grpc"):
        return _of_message(body)
    read = orjson.loads(body[:length])
    if isinstance(read, dict) and "outputs" in read:
        return _of_tensors(read["outputs"], body[length:])
    rows = read["predictions"] if isinstance(read, dict) else read
    return np.array([_of_row(row) for row in rows], dtype=np.float64)


def _of_row(row: Any) -> list[float]:
    if isinstance(row, dict):
        return list(row["probabilities"].values())
    return row if isinstance(row, list) else [row]


def _of_tensors(outputs: list[dict[str, Any]], raw: bytes) -> np.ndarray[Any, Any]:
    position = 0
    for output in outputs:
        size = (output.get("parameters") or {}).get("binary_data_size", 0)
        if len(output["shape"]) == 2:
            data = np.frombuffer(raw[position : position + size], "<f8") if size else np.array(output["data"])
            return data.reshape(output["shape"])
        position += size
    raise ValueError("no output is a table")


def _of_message(body: bytes) -> np.ndarray[Any, Any]:
    from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb

    response = pb.ModelInferResponse.FromString(body)
    for index, output in enumerate(response.outputs):
        if len(output.shape) == 2:
            raws = response.raw_output_contents
            data = np.frombuffer(raws[index], "<f8") if raws else np.array(output.contents.fp64_contents)
            return data.reshape(output.shape)
    raise ValueError("no output is a table")
