"""The node's image: knows how to put Debian, the Kubernetes binaries and their images into one that kind can start."""

import hashlib
import os
import shutil
import tempfile
from pathlib import Path

import yaml

from tools import gotools
from tools.cluster import archives, docker, sources

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


def image() -> str:
    """Make the node's image unless it is there.

    Returns:
        Its name; it changes with everything that is in it.
    """
    name = f"model-server-node:{gotools.version('kubernetes')}-{_fingerprint()}"
    if docker.has(name):
        return name
    root = docker.from_root(sources.NODE)
    with tempfile.TemporaryDirectory(prefix="node-", dir=gotools.cache()) as scratch:
        context = Path(scratch)
        shutil.copy(FILES / "Dockerfile", context)
        _fill(context / "files")
        print("cluster: making the node's image; once", flush=True)
        docker.build(name, context, ["--build-arg", f"ROOT={root}"])
    return name


def _fingerprint() -> str:
    digest = hashlib.sha256(sources.NODE.path.name.encode())
    for file in sorted(path for path in FILES.iterdir() if path.is_file()):
        digest.update(file.read_bytes())
    digest.update(Path(__file__).read_bytes())
    for part in sources.control_plane():
        digest.update(f"{part} {gotools.fingerprint(part.tool)}".encode())
    return digest.hexdigest()[:12]


def _fill(files: Path) -> None:
    for source, place in PLACES.items():
        _place(FILES / source, files / place, mode=0o644 if "." in source else 0o755)
    for binary, folder in NODE_BINARIES.items():
        _place(gotools.build("kubernetes", binary), files / folder / binary, mode=0o755)
    images = files / "kind" / "images"
    images.mkdir(parents=True)
    for part in sources.control_plane():
        archive(part, images / f"{part.image}.tar")
    files.joinpath("kind", "version").write_text(gotools.version("kubernetes"), "utf-8")
    storage = files / "kind" / "manifests" / "default-storage.yaml"
    storage.parent.mkdir()
    storage.write_text(_storage(), "utf-8")


def _place(source: Path, target: Path, mode: int) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
    os.chmod(target, mode)  # noqa: PTH101 - copyfile leaves the user's umask


def archive(part: sources.Binary, target: Path) -> None:
    """Write the image of one binary as an archive, building the binary unless it is there."""
    built = gotools.build(part.tool, part.binary)
    files = {f"{archives.BINARIES}/{part.binary}": built}
    archives.write(target, part.reference, files, entrypoint=part.entrypoint, user=part.user)


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
