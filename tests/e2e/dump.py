"""What a failed test leaves behind: knows what to ask a cluster for; judges nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tools.clients import ask_kubectl
from tools.cluster import kind
from tools.programs import ProgramError

if TYPE_CHECKING:
    from pathlib import Path

KINDS = "inferenceservices,deployments,replicasets,pods,services,persistentvolumeclaims"
KNATIVE_KINDS = "services.serving.knative.dev,routes.serving.knative.dev,revisions.serving.knative.dev"
INGRESSES = "ingresses.networking.internal.knative.dev"


def write(folder: Path, namespace: str | None) -> None:
    """Write objects, events and logs into files; what cannot be read is noted in its place.

    Args:
        folder: Where.
        namespace: The namespace of the test; None when it had none yet.
    """
    folder.mkdir(parents=True, exist_ok=True)
    where = ["-n", namespace] if namespace else ["-A"]
    questions = {
        "objects.txt": ["get", KINDS, "-o", "wide", *where],
        "objects.yaml": ["get", KINDS, "-o", "yaml", *where],
        "knative.yaml": ["get", f"{KNATIVE_KINDS},{INGRESSES}", "-o", "yaml", *where],
        "pods.txt": ["describe", "pods", *where],
        "events.txt": ["get", "events", "--sort-by=.lastTimestamp", *where],
        "kserve.log": ["logs", "-n", "kserve", "deployment/kserve-controller-manager", "--tail=500"],
        "ingress.log": ["logs", "-n", "ingress", "deployment/ingress", "--all-containers", "--tail=300"],
    }
    for name, words in questions.items():
        folder.joinpath(name).write_text(_answer(words), "utf-8")
    if namespace:
        for pod in _answer(["get", "pods", "-n", namespace, "-o", "name"]).split():
            log = _answer(["logs", "-n", namespace, pod, "--all-containers", "--prefix", "--tail=300"])
            before = _answer(["logs", "-n", namespace, pod, "--all-containers", "--prefix", "--previous", "--tail=300"])
            folder.joinpath(f"{pod.rpartition('/')[2]}.log").write_text(f"{log}\n--- before ---\n{before}", "utf-8")
    try:
        kind.export_logs(folder / "kind")
    except ProgramError as error:
        folder.joinpath("kind.txt").write_text(str(error), "utf-8")


def _answer(words: list[str]) -> str:
    try:
        return ask_kubectl(*words, timeout_s=30)
    except ProgramError as error:
        return str(error)
