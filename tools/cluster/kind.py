"""The cluster itself: knows how to start, feed, describe and end one with kind; knows nothing of what runs on it."""

import socket
import tempfile
from functools import cache
from itertools import chain
from pathlib import Path

import yaml

from tools import gotools
from tools.cluster import docker, sources
from tools.programs import ProgramError, run, succeeds

NAME = "model-server"
CONTEXT = f"kind-{NAME}"
NODE = f"{NAME}-control-plane"
#: Ports of the node, all on the loopback address: the ingress, then Services of the tests' own (REST, gRPC).
INGRESS_PORT = 31080
NODE_PORTS = ((31081, 31082), (31083, 31084))
#: Of Kubernetes itself, on the node.
API_PORT = 6443


def _kind() -> str:
    return str(gotools.build("kind"))


def runs(image: str | None) -> bool:
    """Say whether the cluster is there and its API answers; one that a restarted daemon left behind does not.

    Args:
        image: What the node has to be made of; None for any.
    """
    if NAME not in run([_kind(), "get", "clusters"]).split():
        return False
    if image not in (None, run(["docker", "inspect", "--format", "{{.Config.Image}}", NODE]).strip()):
        return False
    ask = ["docker", "exec", NODE, "kubectl", "--kubeconfig=/etc/kubernetes/admin.conf"]
    return succeeds([*ask, "get", "--raw", "/readyz"])


def create(image: str | None) -> None:
    """Start the cluster; its context becomes the current one of the kubeconfig.

    Args:
        image: The node's, made here; None for kind's own.
    """
    words = [_kind(), "create", "cluster", "--name", NAME, "--wait", "120s"]
    if image is not None:
        words += ["--image", image]
    with tempfile.TemporaryDirectory() as scratch:
        config = Path(scratch, "kind.yaml")
        config.write_text(yaml.safe_dump(configuration(built=image is not None)), "utf-8")
        run([*words, "--config", config], timeout_s=600)


def delete() -> None:
    """End the cluster and take its context out of the kubeconfig."""
    run([_kind(), "delete", "cluster", "--name", NAME])


def has(mark: str) -> bool:
    """Say whether the node was given what carries a mark."""
    return succeeds(["docker", "exec", NODE, "test", "-f", f"/kind/given/{mark}"])


def remember(mark: str) -> None:
    """Mark the node as one that was given something."""
    run(["docker", "exec", NODE, "sh", "-c", f"mkdir -p /kind/given && touch /kind/given/{mark}"])


def load_image(image: str) -> None:
    """Bring an image of the Docker daemon into the node, unless it is there."""
    mark = docker.identity(image).replace(":", "-")
    if has(mark):
        return
    with tempfile.TemporaryDirectory(dir=gotools.cache()) as scratch:
        archive = Path(scratch, "image.tar")
        docker.save(image, archive)
        run([_kind(), "load", "image-archive", archive, "--name", NAME], timeout_s=600)
    remember(mark)


@cache
def address() -> str:
    """Give the address at which this machine reaches the node's ports.

    On Linux it is the node's own, with nothing in between that could lose a connection or take time. Where containers
    run in a virtual machine it is the loopback address, by Docker's proxy.
    """
    form = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
    try:
        found = run(["docker", "inspect", "--format", form, NODE]).strip()
    except ProgramError:
        found = ""
    return found if found and is_open(found, API_PORT) else "127.0.0.1"


def is_open(host: str, port: int) -> bool:
    """Say whether somebody listens there."""
    try:
        socket.create_connection((host, port), timeout=2.0).close()
    except OSError:
        return False
    return True


def export_logs(folder: Path) -> None:
    """Write what kind knows of the node into a folder: its processes' logs, and every container's."""
    run([_kind(), "export", "logs", folder, "--name", NAME], timeout_s=120)


def configuration(*, built: bool) -> dict[str, object]:
    """Write kind's configuration of the cluster."""
    ports = [
        {"containerPort": port, "hostPort": port, "listenAddress": "127.0.0.1"}
        for port in (INGRESS_PORT, *chain(*NODE_PORTS))
    ]
    found: dict[str, object] = {
        "kind": "Cluster",
        "apiVersion": "kind.x-k8s.io/v1alpha4",
        "nodes": [{"role": "control-plane", "extraPortMappings": ports}],
    }
    if built:
        found["networking"] = {"disableDefaultCNI": True, "kubeProxyMode": "none", "podSubnet": "10.244.0.0/16"}
        found["kubeadmConfigPatches"] = [yaml.safe_dump(patch) for patch in _patches()]
    return found


def _patches() -> list[dict[str, object]]:
    # Images of our own, a host that may have cgroup v1 only, and a resolver that pods can reach. etcd writes where kind
    # mounts a tmpfs: it would wait for a disk each time, and the cluster need not outlive its node.
    tags = {part.image: part.tag for part in sources.control_plane()}
    images = {"imageRepository": sources.REGISTRY}
    return [
        {
            "kind": "ClusterConfiguration",
            **images,
            "etcd": {"local": {**images, "imageTag": tags["etcd"], "dataDir": "/tmp/etcd"}},  # noqa: S108 - in the node
            "dns": {**images, "imageTag": tags["coredns"]},
        },
        {
            "kind": "KubeletConfiguration",
            "cgroupDriver": "cgroupfs",
            "failCgroupV1": False,
            "resolvConf": "/etc/resolv-pods.conf",
        },
    ]
