"""The node's image: knows how to put Debian, Kubernetes and every image of the cluster's parts into one for kind."""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

import yaml

from tools import gotools
from tools.cluster import archives, docker, sources
from tools.programs import run

FILES = Path(__file__).resolve().parent / "files" / "node"
#: Where each file of ours goes in the node.
PLACES = {
    "entrypoint": "usr/local/bin/entrypoint",
    "journalctl": "usr/local/bin/journalctl",
    "crictl": "usr/local/bin/crictl",
    "containerd.toml": "etc/containerd/config.toml",
    "10-pods.conflist": "etc/cni/net.d/10-pods.conflist",
}
NODE_BINARIES = {"kubelet": "usr/bin", "kubeadm": "usr/bin", "kubectl": "usr/bin", "kube-proxy": "usr/local/bin"}
#: A claim of the tests takes one and never gives it back; a cluster lasts for some runs.
VOLUMES = 60


def image(further: Sequence[str]) -> str:
    """Make the node's image unless it is there.

    Args:
        further: Images of the Docker daemon that are to be in it, beside those of one binary each.

    Returns:
        Its name; it changes with everything that is in it.
    """
    name = f"model-server-node:{gotools.version('kubernetes')}-{_fingerprint(further)}"
    if docker.has(name):
        return name
    print("cluster: making the node's image; once, some minutes", flush=True)
    root = docker.from_root(sources.NODE)
    with tempfile.TemporaryDirectory(prefix="node-", dir=gotools.cache()) as scratch:
        context = Path(scratch, "context")
        _fill(context / "files")
        shutil.copy(FILES / "Dockerfile", context)
        _unpack(_archives(Path(scratch, "archives"), further), root, context)
        docker.build(name, context, ["--build-arg", f"ROOT={root}"])
    return name


def _fingerprint(further: Sequence[str]) -> str:
    digest = hashlib.sha256(sources.NODE.path.name.encode())
    for file in (*sorted(path for path in FILES.iterdir() if path.is_file()), Path(__file__), Path(archives.__file__)):
        digest.update(file.read_bytes())
    for part in sources.parts():
        digest.update(f"{part} {gotools.fingerprint(part.tool)}".encode())
    for name in further:
        digest.update(docker.identity(name).encode())
    return digest.hexdigest()[:12]


def _fill(files: Path) -> None:
    for source, place in PLACES.items():
        _place(FILES / source, files / place, mode=0o644 if "." in source else 0o755)
    for binary, folder in NODE_BINARIES.items():
        _place(gotools.build("kubernetes", binary), files / folder / binary, mode=0o755)
    storage = files / "kind" / "manifests" / "default-storage.yaml"
    storage.parent.mkdir(parents=True)
    storage.write_text(_storage(), "utf-8")
    files.joinpath("kind", "version").write_text(gotools.version("kubernetes"), "utf-8")


def _archives(folder: Path, further: Sequence[str]) -> Path:
    folder.mkdir()
    for part in sources.parts():
        files = {f"{archives.BINARIES}/{part.binary}": gotools.build(part.tool, part.binary)}
        archives.write(folder / f"{part.image}.tar", part.reference, files, part.config)
    for number, name in enumerate(further):
        docker.save(name, folder / f"{number}.tar")
    return folder


def _unpack(images: Path, root: str, target: Path) -> None:
    # Once, instead of each time that a node starts, where it takes half a minute.
    mounts = (f"{FILES}:/files:ro", f"{images}:/images:ro", f"{target}:/target", "/var/lib/containerd")
    volumes = [word for mount in mounts for word in ("--volume", mount)]
    run(["docker", "run", "--rm", "--privileged", *volumes, root, "/bin/bash", "/files/unpack"])


def _place(source: Path, target: Path, mode: int) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
    os.chmod(target, mode)  # noqa: PTH101 - copyfile leaves the user's umask


def _storage() -> str:
    # kind applies this file as it is. No provisioner can run here, so the volumes are there from the start.
    storage_class = {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": "standard", "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}},
        "provisioner": "kubernetes.io/no-provisioner",
        "volumeBindingMode": "Immediate",
    }
    volumes = [
        {
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": f"volume-{number}"},
            "spec": {
                "storageClassName": "standard",
                "capacity": {"storage": "5Gi"},
                "accessModes": ["ReadWriteOnce", "ReadOnlyMany", "ReadWriteMany"],
                "persistentVolumeReclaimPolicy": "Retain",
                "hostPath": {"path": f"/volumes/{number}"},
            },
        }
        for number in range(1, VOLUMES + 1)
    ]
    return yaml.safe_dump_all([storage_class, *volumes])
