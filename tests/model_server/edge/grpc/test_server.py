"""The envelope of gRPC: every call is counted and answered with a code, bytes that are no message among them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import grpc
import pytest

from tests.bundles.live_server import serving, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.bundles.live_server import LiveServer


@pytest.fixture(scope="module")
def service(written: Path) -> Iterator[LiveServer]:
    """A server of the linear model."""
    with serving(written / "linear" / "1.0.0") as running:
        yield running


@pytest.mark.parametrize("method", ["ModelInfer", "ModelReady"])
def test_bytes_that_are_no_message_are_the_clients_error(
    method: str, service: LiveServer, lines: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Otherwise gRPC would answer UNKNOWN, count nothing and write a traceback, as often as a client likes."""
    call: Any = service.channel.unary_unary(f"/inference.GRPCInferenceService/{method}")

    with pytest.raises(grpc.RpcError) as refused:
        call(b"\xff\xff\xff", timeout=30, metadata=[("x-request-id", f"no-{method}")])

    error: Any = refused.value
    assert (error.code(), error.details()) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        "the bytes are not a message of this method",
    )
    wait_for(lambda: any(line["request_id"] == f"no-{method}" for line in lines()))
    (line,) = [line for line in lines() if line["request_id"] == f"no-{method}"]
    assert (line["endpoint"], line["status"], line["error_type"]) == (method, "INVALID_ARGUMENT", "malformed-request")
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []
