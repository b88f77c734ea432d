"""Requests of every protocol in one queue: they share model calls, and neither load nor neighbours harm them."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import grpc
import numpy as np
import pytest

from tests.bundles import catalogue
from tests.bundles.live_server import TOKEN, serving, wait_for
from tests.model_server.waiting import Blocked, ask, call

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import ThreadPoolExecutor
    from pathlib import Path

    from tests.bundles.live_server import LiveServer

V2 = "/v2/models/waiting/infer"


def test_every_protocol_shares_a_model_call(written: Path, pool: ThreadPoolExecutor) -> None:
    """What came while the model was busy is one call: v1, v2, gRPC and the plain route."""
    tensor = {"name": "x", "datatype": "FP64", "shape": [1, 2], "data": [2.0, 0.0]}
    with serving(written / "waiting" / "1.0.0") as service:
        blocked = Blocked(service, pool, 1.5)
        before = blocked.calls
        asked = [
            pool.submit(ask, service, [1.0, 0.0]),
            pool.submit(service.http.post, V2, json={"inputs": [tensor]}),
            pool.submit(call, service, [3.0, 0.0]),
            pool.submit(service.http.post, "/predict/batch", json={"instances": [{"x0": 4.0, "x1": 0.0}]}),
        ]
        first, second, third, fourth = [future.result() for future in asked]

        assert first.json()["predictions"] == [{"value": 1.0}]
        assert second.json()["outputs"][0]["data"] == [2.0]
        assert list(third.outputs[0].contents.fp64_contents) == [3.0]
        assert fourth.json()["predictions"][0]["value"] == 4.0
        assert blocked.asked.result().status_code == 200
        assert blocked.calls == before + 2


def test_a_full_queue_is_answered_503(written: Path, pool: ThreadPoolExecutor) -> None:
    """With Retry-After, and RESOURCE_EXHAUSTED over gRPC; afterwards requests are answered again."""
    with serving(written / "waiting" / "1.0.0", "--queue_rows=2") as service:
        blocked = Blocked(service, pool, 1.5, n_rows=2)
        refused = ask(service, [1.0, 0.0])
        with pytest.raises(grpc.RpcError) as caught:
            call(service, [1.0, 0.0])
        plain = service.http.post("/predict", json={"x0": 1.0, "x1": 0.0})

        assert (refused.status_code, refused.json()["code"], refused.headers["retry-after"]) == (503, "overloaded", "1")
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert (plain.status_code, plain.headers["retry-after"]) == (503, "1")
        assert blocked.asked.result().status_code == 200
        assert ask(service, [1.0, 0.0]).status_code == 200


def test_a_request_that_waits_too_long_is_answered_503(written: Path, pool: ThreadPoolExecutor) -> None:
    """The one that runs is finished; a gRPC call's own deadline counts when it is shorter."""
    with serving(written / "waiting" / "1.0.0", "--queue_timeout_s=0.3") as service:
        blocked = Blocked(service, pool, 1.2)
        late = pool.submit(ask, service, [1.0, 0.0])

        assert (late.result().status_code, late.result().json()["code"]) == (503, "overloaded")
        assert blocked.asked.result().status_code == 200
        assert ask(service, [1.0, 0.0]).status_code == 200


def test_a_failing_neighbour_fails_alone(written: Path, pool: ThreadPoolExecutor) -> None:
    """Their common call fails, so each is asked again by itself."""
    with serving(written / "waiting" / "1.0.0") as service:
        blocked = Blocked(service, pool, 1.0)
        asked = [pool.submit(ask, service, row) for row in ([1.0, 0.0], [None, 0.0], [3.0, 0.0])]
        first, second, third = [future.result() for future in asked]

        assert blocked.asked.result().status_code == 200
        assert (first.json()["predictions"], third.json()["predictions"]) == ([{"value": 1.0}], [{"value": 3.0}])
        assert (second.status_code, second.json()["code"]) == (500, "internal")


def test_a_refused_neighbour_is_refused_alone(written: Path, pool: ThreadPoolExecutor) -> None:
    """It is told the place in its own rows."""
    with serving(written / "waiting" / "1.0.0") as service:
        blocked = Blocked(service, pool, 1.0)
        asked = [pool.submit(ask, service, *rows) for rows in ([[1.0, 0.0]], [[2.0, 0.0], [2.0, "x"]], [[3.0, 0.0]])]
        first, second, third = [future.result() for future in asked]

        assert blocked.asked.result().status_code == 200
        assert (first.json()["predictions"], third.json()["predictions"]) == ([{"value": 1.0}], [{"value": 3.0}])
        assert second.status_code == 400
        assert [(v["feature"], v["row"]) for v in second.json()["violations"]] == [("x1", 1)]


def test_a_cancelled_call_touches_no_neighbour(written: Path, pool: ThreadPoolExecutor) -> None:
    """It leaves the queue; the others are answered."""
    with serving(written / "waiting" / "1.0.0") as service:
        blocked = Blocked(service, pool, 1.0)
        gone = pool.submit(call, service, [7.0, 0.0], timeout=0.2)
        kept = pool.submit(ask, service, [2.0, 0.0])

        assert isinstance(gone.exception(), grpc.RpcError)
        assert kept.result().json()["predictions"] == [{"value": 2.0}]
        assert blocked.asked.result().status_code == 200


def test_a_queued_request_is_answered_by_what_it_came_to(tmp_path: Path, pool: ThreadPoolExecutor) -> None:
    """A reload while it waits serves the next one; its own answer is of one version throughout."""
    for version in ("1.0.0", "2.0.0"):
        catalogue.write("waiting", tmp_path / "waiting" / version, version=version)
    production = tmp_path / "waiting" / "production"
    production.write_text("1.0.0\n")
    with serving(tmp_path, "--model_name=waiting", "--app_env=local") as service:
        blocked = Blocked(service, pool, 2.0)
        queued = pool.submit(ask, service, [1.0, 0.0])
        wait_for(lambda: service.value("model_server_requests_in_flight") == 2)
        production.write_text("2.0.0\n")
        headers = {"x-admin-token": TOKEN}
        assert service.http.post("/admin/reload", headers=headers).status_code == 200
        later = pool.submit(ask, service, [1.0, 0.0])

        versions = [asked.result().headers["x-model-version"] for asked in (blocked.asked, queued, later)]
        assert versions == ["1.0.0", "1.0.0", "2.0.0"]
        assert queued.result().json()["model_version"] == "1.0.0"


# --- large requests ---------------------------------------------------------------------------------------------------

MANY = np.random.default_rng(5).normal(size=(6000, 3))


@pytest.fixture(scope="module")
def linear_service(written: Path) -> Iterator[LiveServer]:
    """A server of the linear model."""
    with serving(written / "linear" / "1.0.0") as service:
        yield service


def test_a_large_request_has_the_answers_of_its_rows(linear_service: LiveServer) -> None:
    """They are in order over every form of REST, whose bodies are read in pieces."""
    rows = MANY.tolist()
    parts = [
        linear_service.http.post("/v1/models/linear:predict", json={"instances": rows[start : start + 100]}).json()
        for start in range(0, len(rows), 100)
    ]
    expected = [prediction["value"] for part in parts for prediction in part["predictions"]]
    tensor = {"name": "features", "datatype": "FP64", "shape": [6000, 3]}
    flat = {"inputs": [{**tensor, "data": MANY.ravel().tolist()}], "id": "large"}
    nested = {"inputs": [{**tensor, "data": rows}]}
    columns = [{"name": f"x{i}", "datatype": "FP64", "shape": [6000], "data": MANY[:, i].tolist()} for i in range(3)]
    objects = [dict(zip(("x0", "x1", "x2"), row, strict=True)) for row in rows]

    for document in ({"instances": rows}, {"instances": objects, "parameters": {}}):
        answer = linear_service.http.post("/v1/models/linear:predict", json=document).json()
        assert [prediction["value"] for prediction in answer["predictions"]] == pytest.approx(expected, rel=1e-12)
        assert (answer["model_name"], answer["model_version"]) == ("linear", "1.0.0")
    for document in (flat, nested, {"inputs": columns}):
        answer = linear_service.http.post("/v2/models/linear/infer", json=document).json()
        assert answer["outputs"][0]["data"] == pytest.approx(expected, rel=1e-12)
        assert answer.get("id") == document.get("id")


@pytest.mark.parametrize("bad", [0, 3000, 5999])
def test_a_bad_row_of_a_large_request_is_named(bad: int, linear_service: LiveServer) -> None:
    """By its own number, as in a small one; and it is counted once."""
    rows = MANY.tolist()
    rows[bad][1] = "x"
    before = linear_service.value("model_server_contract_violations_total", feature="x1")

    answer = linear_service.http.post("/v1/models/linear:predict", json={"instances": rows})

    assert answer.status_code == 400
    assert [(v["feature"], v["row"]) for v in answer.json()["violations"]] == [("x1", bad)]
    assert linear_service.value("model_server_contract_violations_total", feature="x1") == before + 1


def test_small_requests_are_answered_beside_a_large_one(written: Path) -> None:
    """They pass it, and the probe with them, although one row a call makes it last."""
    with serving(written / "linear" / "1.0.0", "--batch_rows=1") as service:
        large = threading.Thread(
            target=service.http.post, args=("/v1/models/linear:predict",), kwargs={"json": {"instances": MANY.tolist()}}
        )
        large.start()
        wait_for(lambda: service.value("model_server_requests_in_flight") == 1)
        passed = 0
        while large.is_alive() and passed < 5:
            assert service.http.post("/v1/models/linear:predict", json={"instances": MANY[:1].tolist()}).is_success
            assert service.http.get("/v2/health/live").is_success
            passed += large.is_alive()
        large.join()

    assert passed >= 3
