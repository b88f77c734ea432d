"""Logs: one JSON line a request, and never a feature value, a token or a traceback for a client's mistake."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import grpc
import httpx
import pytest

from tests.conformance import launch
from tests.conformance.hostile import HTTP_CASES, cells, grpc_cases
from tests.conformance.hostile.bodies import BODIES, ROUTES
from tests.conformance.hostile.case import MARKERS
from tests.conformance.hostile.cells import CELLS, FORMS
from tests.conformance.target import ADMIN_TOKEN, Target, command
from tests.conformance.wire import Request, grpc_raw, v1

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conformance.facts import Facts
    from tests.conformance.target import Process

CANARY = "canary-token-3f9a"
KEYS = {"timestamp", "level", "message", "endpoint", "model_version", "latency_ms", "request_id", "status", "method"}


@contextlib.contextmanager
def serving(registry: Path, folder: Path, *flags: str) -> Iterator[tuple[Process, Target, Facts]]:
    """Serve churn, the model with numbers, texts and booleans, until the block ends."""
    from tests.conformance.facts import from_bundle

    argv = ["--model_name", "churn", "--model_dir", str(registry), *flags]
    with command(folder, *argv, environment={"API_ADMIN_TOKEN": ADMIN_TOKEN}) as process:
        process.wait_for("/ready")
        with Target(process.base_url, process.grpc_address, ADMIN_TOKEN) as target:
            yield process, target, from_bundle(launch.bundle_of(registry, "churn"))


def hostile_requests(facts: Facts) -> Iterator[Request]:
    """Give every hostile HTTP request of the tables that fits the model."""
    for cell in CELLS:
        column = cells.column_for(facts, cell)
        if column is not None:
            yield from (cells.with_cell(facts, column, cell.raw, form) for form in FORMS)
    yield from (case.build(facts) for _, case in HTTP_CASES if case.fits(facts))
    for route in ROUTES.values():
        yield from (Request(route(facts), body) for body in BODIES.values())


@dataclass(frozen=True)
class Heard:
    """What a server wrote and counted while it was sent good, bad and hostile requests."""

    log: list[dict[str, Any]]
    said: str
    stderr: bytes
    metrics: str
    statuses: dict[str, int]


@pytest.fixture(scope="module")
def heard(registry: Path, folder: Path) -> Heard:
    """One server that logs all it can, sent everything in this suite that should not be repeated aloud."""
    with serving(registry, folder, "--log_level", "DEBUG") as (process, target, facts):
        statuses = {request_id: send(target, request_id, request) for request_id, request in named(facts).items()}
        request = grpc_raw(facts.name, facts.tensors(facts.take(1)))
        target.stub.ModelInfer(request, metadata=[("x-request-id", "line-grpc")], timeout=30)
        for hostile in hostile_requests(facts):
            headers = {**hostile.headers, "x-admin-token": CANARY, "authorization": f"Bearer {CANARY}"}
            target.send(Request(f"{hostile.path}?token={CANARY}", hostile.content, headers))
        for case in grpc_cases.CASES:
            if case.fits(facts):
                with pytest.raises(grpc.RpcError):
                    target.stub.ModelInfer(case.build(facts), metadata=[("x-admin-token", CANARY)], timeout=30)
        target.client.post("/admin/reload", headers={"x-admin-token": CANARY})
        target.client.post("/admin/reload", headers={"x-admin-token": ADMIN_TOKEN})
        metrics = target.client.get("/metrics").text
        process.terminate()
        assert process.wait(timeout_s=60) == 0
        return Heard(process.log(), process.said(), process.stderr.read_bytes(), metrics, statuses)


def named(facts: Facts) -> dict[str, Request]:
    """Give some requests by the identifier that each is sent with."""
    good = v1(facts.name, facts.take(1))
    return {
        "line-good": good,
        "line-bad": Request(good.path, b"{"),
        "line-unknown": Request("/no/such/path", b"", method="GET"),
        "line-method": Request("/predict", b"", method="DELETE"),
        "line-facade": Request("/predict", b"{}"),
    }


def send(target: Target, request_id: str, request: Request) -> int:
    """Send a request with an identifier; gives the status."""
    headers = {**request.headers, "x-request-id": request_id}
    return target.send(Request(request.path, request.content, headers, request.method)).status_code


def test_no_value_and_no_token_reaches_log_or_metrics(heard: Heard) -> None:
    """All hostile tables, over HTTP and gRPC, with tokens in their headers: not one marker is found afterwards."""
    said = heard.said + heard.metrics
    assert not [word for word in (*MARKERS, CANARY, ADMIN_TOKEN) if word in said]
    assert "Traceback" not in said
    assert heard.stderr == b""


def test_every_request_has_one_line(heard: Heard) -> None:
    """HTTP and gRPC, good and bad, with its request id, route template, status and time."""
    lines = [line for line in heard.log if str(line.get("request_id", "")).startswith("line-")]
    assert [line["request_id"] for line in lines] == [*heard.statuses, "line-grpc"]
    assert list(heard.statuses.values()) == [200, 400, 404, 405, 422]
    for line, status in zip(lines, heard.statuses.values(), strict=False):
        assert line.keys() >= KEYS
        assert line["status"] == status
        assert line["latency_ms"] >= 0
        assert ("error_type" in line) is (status >= 400)
    assert lines[0]["endpoint"] == "/v1/models/{model_name}:predict"
    assert lines[-1].keys() >= KEYS - {"method"}


def test_two_workers_share_the_ports(registry: Path, folder: Path) -> None:
    """Each new connection may meet another process; all answer alike, and one signal ends all."""
    with serving(registry, folder, "--workers", "2") as (process, target, facts):
        deadline = time.monotonic() + 60
        while process.stdout.read_bytes().count(b'"message":"ready"') < 2:
            assert time.monotonic() < deadline, "both workers load the model"
            time.sleep(0.1)
        answers = []
        for _ in range(20):
            with httpx.Client(base_url=process.base_url, trust_env=False, verify=False) as client:  # noqa: S501 - no TLS
                request = v1(facts.name, facts.take(1))
                answers.append(client.post(request.path, content=request.content).json())
        assert all(answer == answers[0] for answer in answers), "all answer alike"
        assert "predictions" in answers[0]
        target.stub.ModelInfer(grpc_raw(facts.name, facts.tensors(facts.take(1))), timeout=30)
        process.terminate()
        assert process.wait(timeout_s=60) == 0
        assert process.stderr.read_bytes() == b""
