"""The chart on a real cluster in Standard mode: installed, asked, and broken while requests flow."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.checkout import ROOT
from tests.e2e.releases import NEW, OLD, refusal, served
from tools import objects
from tools.clients import ask_kubectl, kubectl
from tools.cluster import kind
from tools.deploy import ingress, smoke
from tools.deploy.rollout import readiness
from tools.deploy.rollout.address import reachable
from tools.deploy.rollout.release import Release
from tools.programs import ProgramError, succeeds

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.load import Load
    from tools.deploy.rollout.address import Address

pytestmark = pytest.mark.e2e

NODE_PORTS = kind.NODE_PORTS[0]


def test_the_release_answers_with_the_numbers_of_training(release: Release, trained: Path) -> None:
    """v1, v2 and gRPC give the golden rows' outputs, by the way that `make smoke` takes."""
    with reachable(release.name, release.namespace, ingress.address) as opened:
        lines = smoke.run_smoke(opened, trained / "iris" / OLD)

    assert [line[:5] for line in lines] == ["ok   "] * 6


def test_the_conformance_suite_passes_through_the_service(address: Address, trained: Path) -> None:
    """All of it, REST and gRPC, against the pods."""
    words = ["-m", "conformance", "-q", "-p", "no:cacheprovider", "tests/conformance"]
    where = [
        "--base-url",
        address.url,
        "--grpc",
        str(address.grpc),
        "--bundle",
        str(trained / "iris" / OLD),
        "--model",
        "iris",
    ]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *words, *where], cwd=ROOT, capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stdout[-8000:]
    assert " passed" in done.stdout


def test_helm_test_passes(release: Release) -> None:
    """Its pod reads the golden rows from the claim."""
    assert "golden answers" in release.test()


def test_pods_hold_no_key_to_the_cluster(release: Release) -> None:
    """No token is mounted, and the service account may do nothing that everybody may not."""
    pods = objects.items("v1", "Pod", release.namespace, "serving.kserve.io/inferenceservice=iris")
    mounts = [
        mount["mountPath"] for pod in pods for each in pod["spec"]["containers"] for mount in each["volumeMounts"]
    ]

    assert pods
    assert not any(pod["spec"]["automountServiceAccountToken"] for pod in pods)
    assert not [path for path in mounts if "serviceaccount" in path]
    assert {verb: may(release, verb) for verb in ("get", "list", "create", "delete")} == {
        "get": [],
        "list": [],
        "create": [],
        "delete": [],
    }


def may(release: Release, verb: str) -> list[str]:
    """Name the kinds that the release's service account may do something to."""
    kinds = ("pods", "secrets", "configmaps", "services", "inferenceservices.serving.kserve.io")
    account = f"system:serviceaccount:{release.namespace}:{release.name}"
    words = [kubectl(), "auth", "can-i", verb]
    where = [f"--as={account}", "-n", release.namespace, "--quiet"]
    return [kind for kind in kinds if succeeds([*words, kind, *where])]


def test_a_percentage_is_refused(release: Release) -> None:
    """KServe would ignore it and send everybody to the new version at once."""
    words = refusal(release, release.values(NEW, canary={"trafficPercent": 10}))

    assert "canary.trafficPercent: KServe ignores canaryTrafficPercent in Standard mode" in words


def test_the_mode_never_changes(release: Release, load: Load) -> None:
    """As values.yaml says of `mode`: KServe refuses it, and the release serves on as it was."""
    other = Release(release.name, release.namespace, release.model, "knative", release.image)
    words = refusal(other, other.values(OLD))
    load.wait_for_next(50)

    assert "deploymentMode" in words
    assert not load.failures
    served(release, OLD)


def test_a_broken_bundle_leaves_the_old_version_answering(release: Release, load: Load) -> None:
    """The new pod never becomes ready and says which file was changed."""
    release.upgrade(release.values("1.2.0"))
    objects.wait("the new pod's reason", lambda: "pipeline.joblib" in _logs(release), timeout_s=90)
    load.wait_for_next(500)

    assert not readiness.is_ready(release.name, release.namespace)
    assert not load.failures
    assert set(load.versions) == {OLD}
    served(release, OLD)


def _logs(release: Release) -> str:
    where = ["-n", release.namespace, "-l", "serving.kserve.io/inferenceservice=iris"]
    try:
        return ask_kubectl("logs", *where, "--all-containers", "--tail=200", "--prefix")
    except ProgramError:  # a container that has not started yet has no log
        return ""


def test_a_broken_image_leaves_the_old_version_answering(release: Release, load: Load) -> None:
    """The reason is in what the wait says: the image cannot be pulled."""
    repository, _, _ = release.image.rpartition(":")
    release.upgrade(release.values(OLD, image={"repository": repository, "tag": "0.0.0-missing"}))
    objects.wait("the reason", lambda: "Image" in readiness.reasons("iris", release.namespace), timeout_s=90)
    load.wait_for_next(500)

    assert not readiness.is_ready(release.name, release.namespace)
    assert not load.failures
    assert set(load.versions) == {OLD}
    served(release, OLD)


def test_canary_predictors_start_and_get_no_request(release: Release, load: Load) -> None:
    """As values.yaml says of KServe up to 0.20, and why the chart wants to be told that it is newer."""
    place = release.values(NEW)["model"]["storageUri"]
    canary = {"name": "next", "trafficPercent": 50, "model": {"storageUri": place, "version": NEW}}
    served(release, OLD, canary={"kserveIsNewerThan020": True, "predictors": [canary]})
    name = f"{release.name}-next-predictor"
    objects.wait("the canary's pod", lambda: is_running(name, release.namespace))
    load.forget()
    load.wait_for(200)
    served(release, OLD)
    objects.wait("no canary is left", lambda: objects.get("apps/v1", "Deployment", name, release.namespace) is None)

    assert not load.failures
    assert set(load.versions) == {OLD}


def is_running(name: str, namespace: str) -> bool:
    """Say whether a Deployment is there and has the pods it asks for."""
    found = objects.get("apps/v1", "Deployment", name, namespace)
    return found is not None and objects.is_rolled_out(found)


def test_an_emptied_folder_is_never_ready(release: Release, load: Load) -> None:
    """A claim's folder without a bundle: the pod says what is missing, and the old version answers on."""
    values = release.values(OLD)
    release.upgrade(values | {"model": values["model"] | {"storageUri": "pvc://models/nothing-here"}})
    objects.wait("the new pod's reason", lambda: "no bundle" in _logs(release).lower(), timeout_s=90)

    assert not readiness.is_ready(release.name, release.namespace)
    assert not load.failures
    served(release, OLD)
