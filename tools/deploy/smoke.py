"""The smoke test: knows what a served bundle must answer, with training's numbers; knows nothing of clusters."""

import json
import os
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from tools.deploy.rollout.address import Address
from tools.deploy.rollout.release import CHART
from tools.errors import ClusterError
from tools.programs import run

#: The chart's own test, so that `helm test` and this one can never differ.
CHECK = CHART / "files" / "check.py"


def run_smoke(address: Address, bundle: Path, *, timeout_s: float = 60.0) -> list[str]:
    """Ask for readiness, health and the golden rows by every protocol that is served.

    Args:
        address: Where the server is.
        bundle: The bundle that it must serve.
        timeout_s: How long it may take to be ready, in seconds.

    Returns:
        A line a check that passed.

    Raises:
        ClusterError: One failed that is asked here.
        ProgramError: One of the chart's own test failed; the text is its own.
    """
    manifest = json.loads(bundle.joinpath("manifest.json").read_text("utf-8"))
    golden = json.loads(bundle.joinpath("golden.json").read_text("utf-8"))
    name, version = manifest["name"], manifest["version"]
    environment = {
        **{key: value for key, value in os.environ.items() if not key.lower().endswith("_proxy")},
        **({"http_proxy": address.proxy} if address.proxy else {}),
        "BASE_URL": address.url,
        "MODEL_NAME": name,
        "DEADLINE_S": str(timeout_s),
        "GOLDEN": json.dumps(golden),
    }
    lines = run([sys.executable, CHECK], environment=environment, timeout_s=timeout_s + 60).splitlines()
    lines.append(_health(address, version))
    if address.grpc:
        lines.append(_grpc(address.grpc, name, golden))
    return lines


def opener(address: Address) -> urllib.request.OpenerDirector:
    """Make a client that goes to an address, and through no proxy of this machine."""
    return urllib.request.build_opener(urllib.request.ProxyHandler({"http": address.proxy} if address.proxy else {}))


def _health(address: Address, version: str) -> str:
    for attempt in range(5):
        try:
            with opener(address).open(f"{address.url}/health", timeout=5) as answer:
                served = answer.headers["x-model-version"]
                break
        except (OSError, urllib.error.HTTPError) as error:
            if attempt == 4:
                raise ClusterError(f"/health does not answer: {error}") from error
            time.sleep(3)
    if served != version:
        raise ClusterError(f"the server answers with version {served}, not {version}")
    return f"ok   /health answers; version {served} is served"


def _grpc(address: str, name: str, golden: dict[str, Any]) -> str:
    import grpc
    from kserve.protocol.grpc import grpc_predict_v2_pb2 as messages
    from kserve.protocol.grpc.grpc_predict_v2_pb2_grpc import GRPCInferenceServiceStub

    with grpc.insecure_channel(address, options=[("grpc.enable_http_proxy", 0)]) as channel:
        stub = GRPCInferenceServiceStub(channel)
        metadata = stub.ModelMetadata(messages.ModelMetadataRequest(name=name), timeout=10)
        request = messages.ModelInferRequest(model_name=name, inputs=_tensors(metadata, golden["rows"]))
        answer = stub.ModelInfer(request, timeout=10)
    for output in answer.outputs:
        if output.name not in golden["outputs"]:
            continue
        contents = next(value for _, value in output.contents.ListFields())
        found = [each.decode() if isinstance(each, bytes) else each for each in contents]
        wanted = [cell for row in golden["outputs"][output.name] for cell in (row if isinstance(row, list) else [row])]
        if len(found) != len(wanted) or not all(
            _same(*pair, golden["tolerance"]) for pair in zip(found, wanted, strict=True)
        ):
            raise ClusterError(f"gRPC gives other answers than training: differ in {output.name}")
    return f"ok   gRPC gives the golden answers: {', '.join(sorted(output.name for output in answer.outputs))}"


def _same(found: Any, wanted: Any, tolerance: float) -> bool:
    return abs(found - wanted) <= tolerance if isinstance(wanted, float) else bool(found == wanted)


def _tensors(metadata: Any, rows: list[list[Any]]) -> list[dict[str, Any]]:
    # One matrix for a numeric model, else a tensor a column, each in the field of its datatype.
    inputs = metadata.inputs
    if len(inputs) == 1 and len(inputs[0].shape) == 2:
        columns = [([len(rows), len(rows[0])], [cell for row in rows for cell in row])]
    else:
        columns = [([len(rows)], list(column)) for column in zip(*rows, strict=True)]
    return [
        {"name": each.name, "datatype": each.datatype, "shape": shape, "contents": _contents(each.datatype, data)}
        for each, (shape, data) in zip(inputs, columns, strict=True)
    ]


def _contents(datatype: str, data: list[Any]) -> dict[str, list[Any]]:
    if datatype == "BYTES":
        return {"bytes_contents": [str(cell).encode() for cell in data]}
    return {f"{datatype.lower()}_contents": [float(cell) if datatype == "FP64" else int(cell) for cell in data]}
