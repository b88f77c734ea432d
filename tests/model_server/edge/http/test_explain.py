"""``:explain`` over real HTTP: it takes the road of predictions, with the same queue, limits, slices and counts."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import TYPE_CHECKING, Any, ClassVar

import orjson
import pytest
from prometheus_client import CollectorRegistry

from model_server.edge.exchange import Exchange
from model_server.edge.http.inference import ENCODED_ROWS, Inference
from model_server.serving.loaded import Wanted
from model_server.serving.repository import BundleRepository
from model_server.serving.service import Service
from model_server.telemetry.metrics import Metrics
from model_server.wire.pieces import PIECE_BYTES, SMALL_BYTES
from tests.bundles import catalogue
from tests.bundles.catalogue import NUMBERS, PEOPLE
from tests.bundles.live_server import serving, wait_for
from tests.model_server.edge.wire_to_wire import Here
from tests.model_server.waiting import Blocked, ask

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import ThreadPoolExecutor
    from pathlib import Path

    import httpx

    from model_server.edge.exchange import Response
    from model_server.serving.call import Answer
    from tests.bundles.live_server import LiveServer

BATCH_ROWS = 8
MAX_ROWS = 100
#: Rows of each kind of model: numbers, mixed columns, and columns that may be missing.
ROWS: dict[str, list[list[Any]]] = {
    "risk": [[float(number), 0.5, -number / 3] for number in range(21)],
    "people": [[18 + number, None if number % 5 == 0 else 100.5 * number, True, "basic"] for number in range(21)],
    "costs": [[None if number % 4 == 0 else 3.5 * number, 1 + number % 9, number % 2 == 0] for number in range(21)],
}


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, LiveServer]]:
    """A server of each model in ``ROWS``, with small batches and a low limit of rows."""
    folder = tmp_path_factory.mktemp("explained")
    for name in ROWS:
        catalogue.write(name, folder / name)
    flags = [f"--batch_rows={BATCH_ROWS}", f"--max_rows={MAX_ROWS}"]
    with (
        serving(folder / "risk", *flags) as risk,
        serving(folder / "people", *flags) as people,
        serving(folder / "costs", *flags) as costs,
    ):
        yield {"risk": risk, "people": people, "costs": costs}


def explain(service: LiveServer, name: str, *rows: list[Any]) -> httpx.Response:
    """Ask for all contributions."""
    return service.http.post(f"/v1/models/{name}:explain", json={"instances": list(rows)})


def rows_total(service: LiveServer) -> float:
    """Read how many rows were answered so far."""
    return service.value("model_server_rows_total", model_version="1.0.0")


# --- answers ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ROWS)
def test_slices_are_joined_to_what_single_rows_get(name: str, services: dict[str, LiveServer]) -> None:
    """More rows than a batch: the contributions are those of each row by itself, bit for bit, in order."""
    service, rows = services[name], ROWS[name]
    assert len(rows) > 2 * BATCH_ROWS

    whole = explain(service, name, *rows).json()
    single = [explain(service, name, row).json()["explanations"][0] for row in rows]

    assert whole["explanations"] == single
    assert len({orjson.dumps(one) for one in single}) > BATCH_ROWS, "slices that are explained alike prove no order"


@pytest.mark.parametrize("name", ROWS)
def test_the_version_is_the_same_in_header_and_body(name: str, services: dict[str, LiveServer]) -> None:
    """Behind a canary it is the only way to know who answered."""
    answer = explain(services[name], name, ROWS[name][0])

    assert answer.status_code == 200
    assert answer.json()["model_version"] == answer.headers["x-model-version"] == "1.0.0"
    assert answer.json()["model_name"] == name


def test_rows_are_counted_and_logged(services: dict[str, LiveServer], lines: Any) -> None:
    """Explained rows are rows: they cost more than predicted ones, and a bill or an alert must see them."""
    service, before = services["risk"], rows_total(services["risk"])
    headers = {"x-request-id": "explained"}
    body = {"instances": ROWS["risk"]}

    assert service.http.post("/v1/models/risk:explain", json=body, headers=headers).status_code == 200

    wait_for(lambda: [line for line in lines() if line["request_id"] == "explained"])
    (line,) = [line for line in lines() if line["request_id"] == "explained"]
    assert rows_total(service) - before == len(ROWS["risk"])
    assert (line["rows"], line["status"], line["protocol"]) == (len(ROWS["risk"]), 200, "v1")
    assert (line["endpoint"], line["model_version"]) == ("/v1/models/{model_name}:explain", "1.0.0")


# --- limits -----------------------------------------------------------------------------------------------------------


def test_more_rows_than_the_limit_are_refused(services: dict[str, LiveServer]) -> None:
    """As many as the limit are answered; one more is refused in the words of predictions, and none is counted."""
    service, before = services["risk"], rows_total(services["risk"])
    rows = [ROWS["risk"][0]] * (MAX_ROWS + 1)

    refused = explain(service, "risk", *rows)
    predicted = service.http.post("/v1/models/risk:predict", json={"instances": rows})

    assert (refused.status_code, refused.json()["code"]) == (400, "contract-violation")
    assert refused.json()["error"] == predicted.json()["error"]
    assert rows_total(service) == before
    assert len(explain(service, "risk", *rows[:MAX_ROWS]).json()["explanations"]) == MAX_ROWS


def test_a_bad_row_is_named_by_its_place(services: dict[str, LiveServer]) -> None:
    """In a request of several slices too; the broken rule is counted once."""
    service, rows = services["risk"], [*ROWS["risk"][:-1], [1.0, 1e31, 1.0]]
    before = service.value("model_server_contract_violations_total", feature="x1")

    refused = explain(service, "risk", *rows)

    assert refused.status_code == 400
    assert [(flaw["feature"], flaw["row"]) for flaw in refused.json()["violations"]] == [("x1", len(rows) - 1)]
    assert service.value("model_server_contract_violations_total", feature="x1") == before + 1


def test_a_full_queue_refuses_explanations_too(written: Path, pool: ThreadPoolExecutor) -> None:
    """They wait in the queue of predictions: beyond its bound they are told to come later, not piled up."""
    with serving(written / "waiting" / "1.0.0", "--queue_rows=2") as service:
        blocked = Blocked(service, pool, 1.0, n_rows=2)
        refused = explain(service, "waiting", [1.0, 0.0])

        assert not blocked.asked.done(), "the model was free again before the explanation was asked for"
        assert (refused.status_code, refused.json()["code"], refused.headers["retry-after"]) == (503, "overloaded", "1")
        assert blocked.asked.result().status_code == 200
        assert explain(service, "waiting", [1.0, 0.0]).status_code == 501


def test_an_explanation_that_waits_too_long_is_refused(written: Path, pool: ThreadPoolExecutor) -> None:
    """It has the deadline of a prediction in the queue."""
    with serving(written / "waiting" / "1.0.0", "--queue_timeout_s=0.2") as service:
        blocked = Blocked(service, pool, 1.0)
        late = explain(service, "waiting", [1.0, 0.0])

        assert (late.status_code, late.json()["code"], late.headers["retry-after"]) == (503, "overloaded", "1")
        assert blocked.asked.result().status_code == 200


def test_what_cannot_be_explained_is_answered_501(written: Path) -> None:
    """With the version that was asked and without a row in the counts; predictions go on."""
    with serving(written / "waiting" / "1.0.0") as service:
        before = rows_total(service)
        refused = explain(service, "waiting", [1.0, 0.0], [2.0, 0.0])

        assert (refused.status_code, refused.json()["code"]) == (501, "not-supported")
        assert refused.headers["x-model-version"] == "1.0.0"
        assert rows_total(service) == before
        assert ask(service, [1.0, 0.0]).json()["predictions"] == [{"value": 1.0}]


# --- the way ----------------------------------------------------------------------------------------------------------


def turns(repository: BundleRepository, path: str, body: bytes) -> int:
    """Count the turns of the loop that a request lets others have before it is in the queue."""
    service = Service(repository, Here(), Metrics(CollectorRegistry()), max_rows=10_000)
    answering = Inference(service, bare=False).answer(Exchange("POST", path, {}, b"", "id", time.perf_counter()), body)
    count = 0
    while answering.send(None) is None:
        count += 1
    answering.close()
    return count


def test_a_large_body_is_parsed_in_pieces(written: Path) -> None:
    """The loop turns at each piece, as it does for a prediction: a probe is answered meanwhile."""
    body = orjson.dumps({"instances": [[1.0 / (number + 3), 0.5, -1.0] for number in range(9000)]})
    assert len(body) > SMALL_BYTES

    async def steps() -> tuple[int, int]:
        repository = BundleRepository(Wanted(str(written / "risk" / "1.0.0")), Here(), Metrics(CollectorRegistry()))
        await repository.reload()
        return turns(repository, "/v1/models/risk:explain", body), turns(repository, "/v1/models/risk:predict", body)

    explained, predicted = asyncio.run(steps())

    assert explained == predicted
    assert explained >= len(body) // PIECE_BYTES


def test_a_large_request_is_explained_row_by_row(written: Path) -> None:
    """Parsed in pieces, checked in parts, run in slices: and still each row has what it gets alone."""
    rows = [[1.0 / (number + 3), 0.5, -float(number)] for number in range(6000)]
    with serving(written / "linear" / "1.0.0") as service:
        found = explain(service, "linear", *rows).json()["explanations"]
        picked = range(0, len(rows), 500)
        single = [explain(service, "linear", rows[number]).json()["explanations"][0] for number in picked]

    assert len(found) == len(rows)
    assert [found[number] for number in picked] == single


class Noting(Inference):
    """Notes in which thread an answer is written."""

    threads: ClassVar[list[int]] = []

    def encode(self, exchange: Exchange, answer: Answer) -> Response:
        """Note, then write."""
        self.threads.append(threading.get_ident())
        return super().encode(exchange, answer)


@pytest.mark.parametrize(("n_rows", "is_aside"), [(ENCODED_ROWS, False), (ENCODED_ROWS + 1, True)])
@pytest.mark.parametrize("path", ["/v1/models/risk:explain", "/v2/models/risk/infer"])
def test_many_objects_are_written_beside_the_loop(written: Path, path: str, n_rows: int, *, is_aside: bool) -> None:
    """Contributions and reasons take long to build, and others are answered meanwhile; a few need no thread."""
    row = [0.1, 0.2, 0.3]
    tensor = {"name": "features", "datatype": "FP64", "shape": [n_rows, 3], "data": row * n_rows}
    reasons: Any = {"inputs": [tensor], "outputs": [{"name": "reasons"}]}
    body = orjson.dumps(reasons if path.startswith("/v2") else {"instances": [row] * n_rows})

    async def answered() -> Response | None:
        metrics = Metrics(CollectorRegistry())
        repository = BundleRepository(Wanted(str(written / "risk" / "1.0.0")), Here(), metrics)
        await repository.reload()
        inference = Noting(Service(repository, Here(), metrics, max_rows=10_000), bare=False)
        return await inference.answer(Exchange("POST", path, {}, b"", "id", time.perf_counter()), body)

    Noting.threads.clear()
    response = asyncio.run(answered())

    assert response is not None
    assert response.status == 200, response.body
    assert [thread != threading.get_ident() for thread in Noting.threads] == [is_aside]


CASES: dict[str, tuple[str, bytes]] = {
    "one row": ("people", orjson.dumps({"instances": PEOPLE[:1]})),
    "rows": ("people", orjson.dumps({"instances": PEOPLE * 9})),
    "objects": ("people", orjson.dumps({"instances": [{"age": 30, "income": None, "member": True, "plan": "plus"}]})),
    "no rows": ("people", b'{"instances": []}'),
    "a bad value": ("people", orjson.dumps({"instances": [[17, 1.0, True, "basic"], [30, "x", True, "gold"]]})),
    "too many rows": ("people", orjson.dumps({"instances": PEOPLE * 60})),
    "no instances": ("people", b'{"rows": []}'),
    "no JSON": ("people", b'{"instances": [[30, '),
    "another model": ("other", orjson.dumps({"instances": PEOPLE})),
}


@pytest.mark.parametrize("case", CASES)
def test_kserves_way_answers_the_same(case: str, services: dict[str, LiveServer], long_way: LiveServer) -> None:
    """``hot_path: false`` is the way back for a bad day: clients must not notice it."""
    name, body = CASES[case]

    lean, kserve = [
        service.http.post(f"/v1/models/{name}:explain", content=body) for service in (services["people"], long_way)
    ]

    assert lean.status_code == kserve.status_code
    assert without_id(lean) == without_id(kserve)
    assert lean.headers["x-model-version"] == kserve.headers["x-model-version"] == "1.0.0"


def without_id(answer: httpx.Response) -> Any:
    """Read an answer's body without what differs from request to request."""
    document = answer.json()
    document.pop("request_id", None)
    return document


@pytest.fixture(scope="module")
def long_way(written: Path) -> Iterator[LiveServer]:
    """The same model on KServe's own routes, with the same limits."""
    flags = [f"--batch_rows={BATCH_ROWS}", f"--max_rows={MAX_ROWS}", "--hot_path=false"]
    with serving(written / "people" / "1.0.0", *flags) as service:
        yield service


def test_kserves_way_counts_and_refuses_the_same(written: Path, pool: ThreadPoolExecutor) -> None:
    """Rows are counted, a full queue refuses, and what cannot be explained is 501."""
    with serving(written / "linear" / "1.0.0", "--hot_path=false") as service:
        before = rows_total(service)
        assert explain(service, "linear", *NUMBERS).status_code == 200
        assert rows_total(service) - before == len(NUMBERS)
    with serving(written / "waiting" / "1.0.0", "--hot_path=false", "--queue_rows=2") as service:
        blocked = Blocked(service, pool, 1.0, n_rows=2)
        refused = explain(service, "waiting", [1.0, 0.0])

        assert (refused.status_code, refused.json()["code"], refused.headers["retry-after"]) == (503, "overloaded", "1")
        assert blocked.asked.result().status_code == 200
        assert explain(service, "waiting", [1.0, 0.0]).status_code == 501
