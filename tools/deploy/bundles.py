"""Bundles on a volume: knows how to bring folders into a claim; knows nothing of what is in them."""

import io
import tarfile
from collections.abc import Iterable
from pathlib import Path

from tools import objects
from tools.clients import ask_kubectl
from tools.deploy.rollout.release import CLAIM
from tools.objects import Object

LOADER = "bundle-loader"
UNPACK = "import sys, tarfile; tarfile.open(fileobj=sys.stdin.buffer, mode='r|').extractall('/models')"
#: All that Pod Security 'restricted' asks for.
RESTRICTED = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "runAsNonRoot": True,
    "runAsUser": 1001,
    "seccompProfile": {"type": "RuntimeDefault"},
}


def make_namespace(name: str) -> None:
    """Make a namespace that lets only pods in which keep Pod Security 'restricted'; Knative's sidecar keeps it too.

    Raises:
        ClusterError: One of that name is being deleted, and that takes too long.
    """
    objects.wait(f"the deleted namespace {name} is gone", lambda: not _is_going(name))
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    objects.apply([{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}])


def _is_going(namespace: str) -> bool:
    found = objects.get("v1", "Namespace", namespace)
    return found is not None and "deletionTimestamp" in found["metadata"]


def fill(namespace: str, folders: Iterable[Path], image: str) -> None:
    """Copy bundles into the claim `models`, which is made when it is not there.

    Args:
        namespace: Where the claim is.
        folders: Bundles, each `<name>/<version>`; they get the same place on the volume.
        image: The server's image; a pod of it does the unpacking.

    Raises:
        ClusterError: The claim gets no volume, or the pod does not start.
    """
    claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    metadata = {"name": CLAIM, "namespace": namespace}
    claims = [{"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": claim}]
    objects.apply([] if objects.get("v1", "PersistentVolumeClaim", CLAIM, namespace) else claims)
    objects.apply([_loader(namespace, image)])
    try:
        objects.wait(f"pod {LOADER} in {namespace}", lambda: _is_running(namespace))
        command = ["exec", "-i", "-n", namespace, LOADER, "--", "python3", "-c", UNPACK]
        ask_kubectl(*command, given=_archive(folders))
    finally:
        ask_kubectl("delete", "pod", LOADER, "-n", namespace, "--ignore-not-found", "--grace-period=0", "--wait=true")


def _is_running(namespace: str) -> bool:
    found = objects.get("v1", "Pod", LOADER, namespace)
    return found is not None and objects.condition(found, "Ready") == "True"


def _archive(folders: Iterable[Path]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for folder in folders:
            archive.add(folder, f"{folder.parent.name}/{folder.name}", filter=_readable)
    return stream.getvalue()


def _readable(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    # The server is another user than whoever trained the bundle.
    entry.mode = 0o755 if entry.isdir() else 0o644
    entry.uid = entry.gid = 1001
    return entry


def _loader(namespace: str, image: str) -> Object:
    container = {
        "name": "loader",
        "image": image,
        "command": ["python3", "-c", "import time; time.sleep(600)"],
        "securityContext": RESTRICTED,
        "volumeMounts": [{"name": "models", "mountPath": "/models"}],
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": LOADER, "namespace": namespace},
        "spec": {
            "automountServiceAccountToken": False,
            "restartPolicy": "Never",
            "securityContext": {"fsGroup": 1001},
            "containers": [container],
            "volumes": [{"name": "models", "persistentVolumeClaim": {"claimName": CLAIM}}],
        },
    }
