"""The repository: what a load checks, what a failed one leaves, and that a swap is never seen half done."""

from __future__ import annotations

import asyncio
import http.client
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from model_server.bundle import write
from model_server.contract import Contract
from model_server.errors import (
    BundleError,
    BundleIncompatible,
    BundleNotApproved,
    BundleNotFound,
    BundleTampered,
    ConfigError,
    GoldenMismatch,
    ModelNotFound,
    ModelNotReady,
    VersionNotFound,
)
from model_server.serving.loaded import Wanted, build
from model_server.serving.repository import BundleRepository
from model_server.telemetry.metrics import Metrics
from tests.bundles import catalogue, contracts, writing
from tests.bundles.catalogue import NUMBERS, promote, write_two_versions
from tests.bundles.estimators import LoadCounting, RaisingWhenOpened, Waiting
from tests.bundles.live_server import TOKEN, serving, wait_for

if TYPE_CHECKING:
    from pathlib import Path

    import httpx

    from tests.bundles.live_server import LiveServer

ADMIN = {"x-admin-token": TOKEN}


def repository(wanted: Wanted) -> BundleRepository:
    """Make a repository that loads in a thread of its own."""
    return BundleRepository(wanted, ThreadPoolExecutor(1), Metrics(CollectorRegistry()))


def loads(repo: BundleRepository, result: str) -> float:
    """Count loads by result."""
    metrics: Metrics = repo._metrics  # noqa: SLF001 - the registry it was made with
    return metrics.registry.get_sample_value("model_server_model_loads_total", {"result": result}) or 0.0


# --- building ---------------------------------------------------------------------------------------------------------


def test_a_bundle_is_built_from_its_folder(written: Path) -> None:
    """It is served under the name of its manifest, or another that is asked for."""
    uri = str(written / "linear" / "1.0.0")

    built = build(Wanted(uri))

    assert (built.name, built.version, len(built.digest)) == ("linear", "1.0.0", 64)
    assert build(Wanted(uri, name="other")).name == "other"
    assert 0 < built.load_s < 30


def test_a_registry_gives_what_is_in_production_or_what_was_asked_for(tmp_path: Path) -> None:
    """A version in the settings is stronger than the pointer, for an operator who allows what is not approved."""
    root = write_two_versions(tmp_path)

    assert build(Wanted(str(root), "linear")).version == "1.0.0"
    assert build(Wanted(str(root), "linear", "2.0.0", allow_unapproved=True)).version == "2.0.0"
    with pytest.raises(BundleNotApproved, match=r"promote linear 2\.0\.0"):
        build(Wanted(str(root), "linear", "2.0.0"))
    promote(root, "2.0.0")
    assert build(Wanted(str(root), "linear")).version == "2.0.0"


@pytest.mark.parametrize("prefix", ["", "sha256:"])
def test_a_digest_pins_a_bundle(prefix: str, written: Path) -> None:
    """With or without the name of the hash; another bundle is not loaded."""
    uri = str(written / "linear" / "1.0.0")
    digest = build(Wanted(uri)).digest

    assert build(Wanted(uri, digest=prefix + digest)).digest == digest
    with pytest.raises(BundleTampered, match=r"but .* was asked for"):
        build(Wanted(uri, digest=prefix + "0" * 64))


def test_another_version_than_the_wanted_is_not_loaded(written: Path) -> None:
    """The text says what to correct."""
    with pytest.raises(BundleError, match=r"is version 1\.0\.0, but .*1\.0\.1"):
        build(Wanted(str(written / "linear" / "1.0.0"), version="1.0.1"))


def test_a_changed_file_is_not_opened(tmp_path: Path) -> None:
    """Unpickling runs code, so the hash comes first."""
    directory = catalogue.write("linear", tmp_path / "linear" / "1.0.0").directory
    pipeline = directory / "pipeline.joblib"
    pipeline.chmod(0o644)
    pipeline.write_bytes(pipeline.read_bytes()[:-1] + b"x")

    with pytest.raises(BundleTampered, match=r"pipeline\.joblib has SHA-256"):
        build(Wanted(str(directory)))


def test_a_model_that_answers_otherwise_than_in_training_is_not_served(tmp_path: Path) -> None:
    """The text names what differs and by how much."""
    contract = Contract(features=contracts.numbers(2), output=contracts.VALUE)
    golden = {"rows": [[1.0, 0.0]], "outputs": {"value": [-5.0]}, "tolerance": 1e-9}
    content = writing.files(Waiting().fit(np.zeros((1, 2))), golden)
    write(tmp_path / "odd" / "1.0.0", contracts.manifest(contract), content, {})

    with pytest.raises(GoldenMismatch, match=r"does not answer its golden rows .*FAIL golden value: observed 6"):
        build(Wanted(str(tmp_path / "odd" / "1.0.0")))


def test_another_scikit_learn_is_refused_unless_accepted(tmp_path: Path) -> None:
    """A warning in the log is the price."""
    directory = catalogue.write("linear", tmp_path / "linear" / "1.0.0").directory

    def age(manifest: dict[str, Any]) -> None:
        manifest["libraries"]["scikit-learn"] = "1.2.0"

    writing.rewrite_manifest(directory, age)

    with pytest.raises(BundleIncompatible, match=r"1\.2\.0 in training"):
        build(Wanted(str(directory)))
    assert build(Wanted(str(directory), libraries="warn")).version == "1.0.0"


# --- loading ----------------------------------------------------------------------------------------------------------


def test_before_the_first_load_nothing_is_served() -> None:
    """The texts say that it is still loading."""
    named, unnamed = repository(Wanted("none", "linear")), repository(Wanted("none"))

    assert not named.is_ready
    assert (named.served_version, named.was_loaded) == ("", False)
    with pytest.raises(ModelNotReady, match="'linear' is not ready: the model is still loading"):
        named.require("linear")
    with pytest.raises(ModelNotFound, match="the served model is 'linear'"):
        named.require("other")
    with pytest.raises(ModelNotReady, match="still loading"):
        unnamed.require("anything")


def test_a_failed_load_leaves_what_was_served(tmp_path: Path) -> None:
    """The old bundle serves on; the failure is counted."""
    root = write_two_versions(tmp_path)

    async def steps() -> None:
        repo = repository(Wanted(str(root), "linear"))
        before = await repo.reload()
        promote(root, "9.9.9")
        with pytest.raises(BundleNotFound, match=r"9\.9\.9"):
            await repo.reload()
        assert repo.loaded is before
        assert repo.is_ready
        assert (loads(repo, "loaded"), loads(repo, "failed")) == (1, 1)
        promote(root, "2.0.0")
        assert (await repo.reload()).version == "2.0.0"
        assert repo.failure is None

    asyncio.run(steps())


def test_a_first_load_that_fails_says_why_in_a_word(tmp_path: Path) -> None:
    """Requests are told the kind of failure, never a path of this machine."""

    async def steps() -> None:
        for name in ("linear", None):
            repo = repository(Wanted(str(tmp_path), name))
            with pytest.raises(BundleNotFound):
                await repo.reload()
            with pytest.raises(ModelNotReady, match=r"loading failed \(bundle-not-found\)$"):
                repo.require("linear")

    asyncio.run(steps())


@pytest.mark.parametrize("how", ["ValueError", "MemoryError", "SystemExit", "KeyboardInterrupt", "CancelledError"])
def test_whatever_unpickling_raises_is_a_failed_load(how: str, tmp_path: Path) -> None:
    """A bundle runs code of its own: it must neither end the process nor leave it waiting."""
    contract = Contract(features=contracts.numbers(1), output=contracts.VALUE)
    content = writing.files(RaisingWhenOpened(how), {"rows": [[0.0]], "outputs": {"value": [0.0]}, "tolerance": 0.0})
    write(tmp_path / "odd" / "1.0.0", contracts.manifest(contract), content, {})

    async def steps() -> None:
        repo = repository(Wanted(str(tmp_path / "odd" / "1.0.0")))
        with pytest.raises(BundleError, match=how):
            await asyncio.wait_for(repo.reload(), 10)
        assert loads(repo, "failed") == 1

    asyncio.run(steps())


def test_a_location_that_is_not_read_here_is_a_setting(tmp_path: Path) -> None:
    """The text names KServe's storage initializer."""
    del tmp_path

    async def steps() -> None:
        with pytest.raises(ConfigError, match="STORAGE_URI"):
            await repository(Wanted("s3://bucket/model")).reload()

    asyncio.run(steps())


def test_unload_and_load(written: Path) -> None:
    """The name stays known in between, and the text says what happened."""

    async def steps() -> None:
        repo = repository(Wanted(str(written / "linear" / "1.0.0")))
        await repo.reload()
        with pytest.raises(ModelNotFound, match="no such model"):
            repo.unload("other")
        repo.unload("linear")
        assert not repo.is_ready
        with pytest.raises(ModelNotFound, match="is not loaded"):
            repo.unload("linear")
        with pytest.raises(ModelNotReady):
            repo.require("linear")
        with pytest.raises(ModelNotFound):
            await repo.load("other")
        await repo.load("linear")
        assert repo.require("linear").version == "1.0.0"

    asyncio.run(steps())


def test_only_the_served_version_is_found(written: Path) -> None:
    """An empty version is none, as in a path without one."""

    async def steps() -> None:
        repo = repository(Wanted(str(written / "linear" / "1.0.0")))
        served = await repo.reload()
        assert repo.require("linear", "1.0.0") is repo.require("linear", "") is served
        with pytest.raises(VersionNotFound, match=r"in version 1\.0\.0 only"):
            repo.require("linear", "1.0")

    asyncio.run(steps())


def test_reloads_come_one_after_the_other(tmp_path: Path) -> None:
    """The last one asked for decides, however long each takes."""
    root = write_two_versions(tmp_path)

    async def steps() -> None:
        repo = repository(Wanted(str(root), "linear"))
        first = asyncio.create_task(repo.reload())
        await asyncio.sleep(0)
        second = asyncio.create_task(repo.reload())
        served = await asyncio.gather(first, second)
        assert repo.loaded is served[1]

    asyncio.run(steps())


# --- served -----------------------------------------------------------------------------------------------------------


def info(service: LiveServer) -> list[str]:
    """List the versions that the metrics call served."""
    return [
        sample.labels["version"]
        for metric in service.metrics.registry.collect()
        if metric.name == "model_server_model_info"
        for sample in metric.samples
    ]


def test_no_answer_of_200_mixes_two_versions_over_20_reloads(tmp_path: Path) -> None:
    """All succeed, and the numbers of each are those of the version that its body and its header name."""
    root = write_two_versions(tmp_path)
    factors = {"1.0.0": 1.0, "2.0.0": 10.0}
    path = "/v1/models/linear:predict"
    with serving(root, "--model_name=linear") as service:
        answered: list[httpx.Response] = []

        def ask(_: int) -> httpx.Response:
            return service.http.post(path, json={"instances": NUMBERS})

        def predict() -> None:
            with ThreadPoolExecutor(8) as pool:
                answered.extend(pool.map(ask, range(200)))

        asking = threading.Thread(target=predict)
        asking.start()
        reloaded = []
        for number in range(20):
            promote(root, ("2.0.0", "1.0.0")[number % 2])
            reloaded.append(service.http.post("/admin/reload", headers=ADMIN))
        asking.join()

        assert info(service) == ["1.0.0"]
        assert service.value("model_server_model_loads_total", result="loaded") == 21

    assert [response.status_code for response in reloaded] == [200] * 20
    assert [response.json()["models"] for response in reloaded[:2]] == [
        [{"name": "linear", "version": "2.0.0"}],
        [{"name": "linear", "version": "1.0.0"}],
    ]
    assert [response.status_code for response in answered] == [200] * 200
    for response in answered:
        document = response.json()
        version = document["model_version"]
        values = [prediction["value"] for prediction in document["predictions"]]
        assert values == pytest.approx([factors[version] * sum(row) for row in NUMBERS])
        assert response.headers["x-model-version"] == version


def test_a_failed_reload_answers_503_and_the_old_bundle_serves(tmp_path: Path) -> None:
    """With the reason, for whoever holds the token; retrying would not help."""
    root = write_two_versions(tmp_path)
    with serving(root, "--model_name=linear") as service:
        promote(root, "9.9.9")

        failed = service.http.post("/admin/reload", headers=ADMIN)

        assert (failed.status_code, failed.json()["code"]) == (503, "bundle-not-found")
        assert "retry-after" not in failed.headers
        assert service.http.get("/v2/health/ready").status_code == 200
        assert service.http.post("/v1/models/linear:predict", json={"instances": NUMBERS}).status_code == 200
        assert service.value("model_server_model_loads_total", result="failed") == 1


def test_after_a_first_load_that_failed_a_reload_opens_every_door(tmp_path: Path) -> None:
    """KServe's own routes too, which look the model up by name."""
    root = tmp_path / "later"
    with serving(root, "--model_name=linear", "--require_model=false", ready=False) as service:
        wait_for(lambda: "failed" in service.http.get("/v1/models/linear").text or _failed(service))
        assert service.http.post("/v1/models/linear:predict", json={"instances": NUMBERS}).status_code == 503
        write_two_versions(root)

        assert service.http.post("/admin/reload", headers=ADMIN).status_code == 200
        assert service.http.get("/v1/models").json() == {"models": ["linear"]}
        assert service.http.post("/v1/models/linear:explain", json={"instances": NUMBERS}).status_code == 200
        assert service.http.post("/v1/models/linear:predict", json={"instances": NUMBERS}).status_code == 200


def _failed(service: LiveServer) -> bool:
    return service.value("model_server_model_loads_total", result="failed") > 0


def test_the_pipeline_is_opened_once_however_many_requests_come(tmp_path: Path) -> None:
    """The pickle itself counts; a reload opens it again."""
    contract = Contract(features=contracts.numbers(2), output=contracts.VALUE)
    pipeline = LoadCounting().fit(np.zeros((2, 2)))
    described = contracts.manifest(contract, name="opened")
    writing.bundle(tmp_path / "opened" / "1.0.0", pipeline, described, contract.frame([[1.0, 0.0]]))
    before = LoadCounting.times
    with serving(tmp_path / "opened" / "1.0.0") as service:
        connection = http.client.HTTPConnection("127.0.0.1", service.running.http_port)
        statuses = []
        for _ in range(1000):
            connection.request("POST", "/v1/models/opened:predict", b'{"instances": [[1.5, 0]]}')
            with connection.getresponse() as response:
                statuses.append(response.status)
                response.read()
        connection.close()
        assert LoadCounting.times == before + 1
        assert service.http.post("/admin/reload", headers=ADMIN).status_code == 200
        assert LoadCounting.times == before + 2

    assert statuses == [200] * 1000


def test_the_model_is_unloaded_and_loaded_over_http(written: Path) -> None:
    """The index and the metrics tell; a second unload finds nothing."""
    index = "/v2/repository/index"
    with serving(written / "linear" / "1.0.0") as service:
        assert service.http.post(index).json() == [{"name": "linear", "version": "1.0.0", "state": "READY"}]
        statuses = [
            service.http.post(f"/v2/repository/models/linear/{verb}", headers=ADMIN).status_code
            for verb in ("unload", "unload")
        ]
        unloaded = service.http.post("/v1/models/linear:predict", json={"instances": NUMBERS})
        assert info(service) == []
        assert service.http.post(index).json() == [{"name": "linear", "state": "UNAVAILABLE", "reason": "not loaded"}]
        other = service.http.post("/v2/repository/models/other/load", headers=ADMIN)
        loaded = service.http.post("/v2/repository/models/linear/load", headers=ADMIN)

        assert statuses == [200, 404]
        assert (unloaded.status_code, "was unloaded" in unloaded.json()["error"]) == (503, True)
        assert (other.status_code, loaded.status_code) == (404, 200)
        assert service.http.post("/v1/models/linear:predict", json={"instances": NUMBERS}).status_code == 200


def test_a_bundle_may_vanish_while_it_is_served(tmp_path: Path) -> None:
    """It is in memory; only the next load will miss it."""
    directory = catalogue.write("linear", tmp_path / "linear" / "1.0.0").directory
    with serving(directory) as service:
        shutil.rmtree(directory)

        assert service.http.post("/v1/models/linear:predict", json={"instances": NUMBERS}).status_code == 200
        assert service.http.post("/admin/reload", headers=ADMIN).status_code == 503
        assert service.http.post("/v1/models/linear:predict", json={"instances": NUMBERS}).status_code == 200


def test_a_wish_is_a_value() -> None:
    """It is passed to the thread that loads, and must not change there."""
    wanted = Wanted("here")

    assert replace(wanted, name="x") == Wanted("here", name="x")
