"""What the end-to-end tests share: the cluster, a namespace a file, bundles, and a dump of the cluster on failure."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.checkout import ROOT
from tests.e2e import dump
from tests.e2e.releases import NEW, OLD
from tests.shared_folder import made_once
from tools import objects
from tools.clients import ask_kubectl
from tools.cluster import origin, server
from tools.deploy import bundles
from tools.programs import run

if TYPE_CHECKING:
    from collections.abc import Iterator


#: What tests have measured, by its name; shown at the end of the run and kept beside the dumps.
MEASURED = pytest.StashKey[dict[str, object]]()


def report_folder() -> Path:
    """Say where dumps and measurements go."""
    return Path(os.environ.get("E2E_REPORT", "build/e2e"))


@pytest.fixture(scope="session")
def measured(pytestconfig: pytest.Config) -> dict[str, object]:
    """Numbers that are worth reading, whatever they are: nothing is judged by them."""
    return pytestconfig.stash.setdefault(MEASURED, {})


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Hand what this worker measured to the process that prints."""
    output = getattr(session.config, "workeroutput", None)
    if output is not None:
        output["measured"] = session.config.stash.get(MEASURED, {})


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Take it, in that process."""
    node.config.stash.setdefault(MEASURED, {}).update(getattr(node, "workeroutput", {}).get("measured", {}))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Show what was measured."""
    found = config.stash.get(MEASURED, {})
    if not found:
        return
    report_folder().mkdir(parents=True, exist_ok=True)
    report_folder().joinpath("measured.json").write_text(json.dumps(found, indent=2), "utf-8")
    terminalreporter.section("measured")
    for name, value in found.items():
        terminalreporter.line(f"{name}: {value}")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip everything here, with the reason, unless a cluster was asked for; they change the cluster."""
    if config.getoption("--e2e"):
        return
    reason = pytest.mark.skip(reason="changes a cluster; `make e2e` makes one and runs it")
    for item in items:
        if item.get_closest_marker("e2e"):
            item.add_marker(reason)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Write down what the cluster looks like when a test or its fixtures fail, before anything is cleaned up."""
    report = yield
    namespace = getattr(item, "funcargs", {}).get("namespace")
    if report.failed and item.get_closest_marker("e2e"):  # type: ignore[attr-defined]
        folder = report_folder() / re.sub(r"\W+", "-", item.name)
        item.add_report_section(report.when, "cluster", f"its state is in {folder}")  # type: ignore[attr-defined]
        dump.write(folder, namespace if isinstance(namespace, str) else None)
    return report


@pytest.fixture(scope="session")
def cluster() -> str:
    """The cluster of the kubeconfig; fails, and does not skip, when it was asked for and is not there."""
    try:
        crd = objects.get("apiextensions.k8s.io/v1", "CustomResourceDefinition", "inferenceservices.serving.kserve.io")
    except Exception as error:  # noqa: BLE001 - whatever the client raises, it is the same to say
        pytest.fail(f"no cluster answers ({error}); `make cluster-up` makes one")
    assert crd is not None, "the cluster has no KServe; `make cluster-up` makes one that has"
    return ask_kubectl("config", "current-context").strip()


@pytest.fixture(scope="session")
def image() -> str:
    """The server's image, as the cluster knows it."""
    return os.environ.get("E2E_IMAGE") or server.image()


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A registry with two versions of iris, trained from different seeds; by one worker, for all of them."""
    return made_once(tmp_path_factory, "trained", train)


def train(folder: Path) -> None:
    """Fill a registry, with both versions at once: everybody waits for it, and each takes one core."""
    config = ROOT.joinpath("training", "configs", "iris.yaml").read_text("utf-8")
    seeded = config.replace("seed: 42", "seed: 43")
    assert seeded != config, "training/configs/iris.yaml has no seed to change"

    def train_one(version: str, text: str) -> None:
        file = folder / f"iris-{version}.yaml"
        file.write_text(text, "utf-8")
        words = ["-m", "training", "run", str(file), "--registry", str(folder), "--version", version, "--keep-rejected"]
        run([sys.executable, *words], environment={**os.environ, "OMP_NUM_THREADS": "1"})

    with ThreadPoolExecutor() as pool:
        list(pool.map(train_one, (OLD, NEW), (config, seeded)))


@pytest.fixture(scope="session")
def baked(image: str, trained: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """An image that has iris baked in, built from the place that users have it in; and a copy of that bundle."""
    name = f"{image}-iris"
    return name, made_once(tmp_path_factory, "baked", partial(bake, name, trained)) / "iris" / OLD


def bake(name: str, trained: Path, folder: Path) -> None:
    """Build that image, of what is in artifacts/ or else of what was trained here, and copy the bundle."""
    place = ROOT / "artifacts" / "iris" / OLD
    was_there = place.exists()
    if not was_there:
        shutil.copytree(trained / "iris" / OLD, place)
    try:
        arguments = ("MODEL_NAME=iris", f"MODEL_VERSION={OLD}")
        server.build(built=origin.is_built(), target="bundled", name=name, arguments=arguments)
        shutil.copytree(place, folder / "iris" / OLD)
    finally:
        if not was_there:
            shutil.rmtree(place)


@pytest.fixture(scope="session")
def broken(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle whose pipeline was changed after its manifest was written, as version 1.2.0."""
    folder = tmp_path_factory.mktemp("broken") / "iris" / "1.2.0"
    shutil.copytree(trained / "iris" / NEW, folder)
    manifest = json.loads(folder.joinpath("manifest.json").read_text("utf-8"))
    folder.joinpath("manifest.json").write_text(json.dumps(manifest | {"version": "1.2.0"}), "utf-8")
    with folder.joinpath("pipeline.joblib").open("ab") as file:
        file.write(b"changed")
    return folder


@pytest.fixture(scope="session")
def folders(trained: Path, broken: Path) -> list[Path]:
    """Every bundle that the claims hold."""
    return [trained / "iris" / OLD, trained / "iris" / NEW, broken]


@pytest.fixture(scope="module")
def empty_namespace(request: pytest.FixtureRequest, cluster: str) -> Iterator[str]:
    """A namespace for one file of tests; it goes when the file is done."""
    name = "-".join(["e2e", *re.findall(r"[a-z]+", request.module.__name__.partition("e2e.")[2].replace("test_", ""))])
    assert cluster
    bundles.make_namespace(name)
    yield name
    if not os.environ.get("E2E_KEEP"):
        ask_kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture(scope="module")
def namespace(empty_namespace: str, image: str, folders: list[Path]) -> str:
    """That namespace, with the bundles on a claim."""
    bundles.fill(empty_namespace, folders, image)
    return empty_namespace
