"""With several workers behind one port, nothing claims to have reached all of them."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

import grpc
import pytest
from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb

from tests.conformance.errors import assert_error
from tests.conformance.target import Target, command

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conformance.target import Process

TOKEN = "workers-tests-only"  # noqa: S105 - of a test
ADMIN = {"x-admin-token": TOKEN}
CHANGES = ["/admin/reload", "/v2/repository/models/iris/load", "/v2/repository/models/iris/unload"]
RPCS = [
    ("RepositoryModelLoad", pb.RepositoryModelLoadRequest),
    ("RepositoryModelUnload", pb.RepositoryModelUnloadRequest),
]


def wait_until_all_are_ready(process: Process, workers: int) -> None:
    """Wait for the line of each worker: a probe reaches any of them."""
    process.wait_for("/ready")
    deadline = time.monotonic() + 60
    while sum(line["message"] == "ready" for line in process.log()) < workers:
        assert time.monotonic() < deadline, process.said()
        time.sleep(0.05)


@pytest.fixture(scope="module", params=[1, 2], ids=["one worker", "two workers"])
def served(
    request: pytest.FixtureRequest, registry: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[int, Process, Target]]:
    """A server of iris with an admin token, and how many workers it has."""
    flags = ["--model_name=iris", f"--model_dir={registry}", f"--workers={request.param}"]
    folder = tmp_path_factory.mktemp("workers")
    with command(folder, *flags, environment={"API_ADMIN_TOKEN": TOKEN}) as process:
        wait_until_all_are_ready(process, request.param)
        with Target(process.base_url, process.grpc_address) as target:
            yield request.param, process, target


@pytest.mark.parametrize("path", CHANGES[:2])
def test_a_reload_is_done_by_all_workers_or_refused(served: tuple[int, Process, Target], path: str) -> None:
    """Of several it would reach one, and the pod would answer with two versions."""
    workers, _, target = served
    response = target.client.post(path, headers=ADMIN)

    if workers == 1:
        assert response.status_code == 200
    else:
        assert_error(response, 501, "not-supported")
        assert "restart it (in Kubernetes, the pods)" in response.json()["error"]
        assert "reloaded" not in response.text


def test_an_unload_of_one_worker_is_refused(served: tuple[int, Process, Target]) -> None:
    """The others would answer on; where there is one, it is done and undone."""
    workers, _, target = served
    unloaded = target.client.post(CHANGES[2], headers=ADMIN)
    loaded = target.client.post(CHANGES[1], headers=ADMIN)

    assert [unloaded.status_code, loaded.status_code] == ([200, 200] if workers == 1 else [501, 501])
    assert target.client.get("/ready").status_code == 200


@pytest.mark.parametrize(("method", "message"), RPCS, ids=[name for name, _ in RPCS])
def test_rpcs_are_refused_alike(served: tuple[int, Process, Target], method: str, message: type) -> None:
    """The same guard stands before both protocols."""
    workers, _, target = served
    call = getattr(target.stub, method)
    if workers == 1:
        assert call(message(model_name="iris"), metadata=tuple(ADMIN.items()), timeout=60).model_name == "iris"
        target.stub.RepositoryModelLoad(RPCS[0][1](model_name="iris"), metadata=tuple(ADMIN.items()), timeout=60)
        return
    with pytest.raises(grpc.RpcError) as caught:
        call(message(model_name="iris"), metadata=tuple(ADMIN.items()), timeout=60)
    assert isinstance(caught.value, grpc.Call)
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize("path", CHANGES)
def test_who_has_no_token_is_not_told_how_many_there_are(served: tuple[int, Process, Target], path: str) -> None:
    """The token comes first."""
    assert_error(served[2].client.post(path), 403, "forbidden")


def test_a_scrape_says_how_many_workers_there_are(served: tuple[int, Process, Target]) -> None:
    """Whoever reads the numbers of one worker learns that they are not those of all."""
    workers, _, target = served
    text = target.client.get("/metrics").text

    assert re.findall(r"^model_server_workers (.*)$", text, re.MULTILINE) == [f"{workers}.0"]
    assert "# HELP model_server_workers Serving processes behind this port. Above 1, each scrape is answered by" in text


def test_several_workers_are_warned_of_at_the_start(served: tuple[int, Process, Target]) -> None:
    """One worker is what metrics and reloads are made for."""
    workers, process, _ = served
    warned = [line["message"] for line in process.log() if line["level"] == "WARNING"]

    told = [text for text in warned if "a scrape of /metrics covers one of them" in text]
    assert [text.split(" ", 1)[0] for text in told] == ([] if workers == 1 else [str(workers)])
