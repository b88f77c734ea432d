"""The parts of the cluster's tools that need no cluster: image archives, configurations, names, versions."""

from __future__ import annotations

import hashlib
import json
import re
import tarfile
from typing import TYPE_CHECKING, Any

import pytest

from tools import gotools, objects
from tools.cluster import archives, kind, knative, names, node, origin, sources
from tools.errors import ClusterError

if TYPE_CHECKING:
    from pathlib import Path

COREFILE = """.:53 {
    errors
    kubernetes cluster.local in-addr.arpa {
       pods insecure
    }
    forward . /etc/resolv.conf {
       max_concurrent 1000
    }
    cache 30 {
       disable success cluster.local
    }
    loop
    reload
}
"""
#: How a container of the test's image starts.
CONFIG = {"Entrypoint": ["/usr/local/bin/tool"], "User": "7"}


def test_coredns_keeps_all_but_what_asks_outside() -> None:
    """Without a resolver behind it, `forward` would not let it start; other blocks stay whole."""
    kept = names.without_outside(COREFILE)

    assert "forward" not in kept
    assert "max_concurrent" not in kept
    assert "loop" not in kept
    assert kept.count("{") == kept.count("}") == 3
    assert names.without_outside(kept) == kept


@pytest.fixture
def image(tmp_path: Path) -> dict[str, Any]:
    """An archive with one file, taken apart."""
    binary = tmp_path / "tool"
    binary.write_bytes(b"binary")
    target = tmp_path / "image.tar"
    archives.write(target, "kind.local/tool:1", {"usr/local/bin/tool": binary}, CONFIG)
    with tarfile.open(target) as archive:
        found = {entry.name: (archive.extractfile(entry) or target.open("rb")).read() for entry in archive}
    return {"bytes": target.read_bytes(), "files": found, "binary": binary, "target": target}


def test_an_archive_holds_what_docker_reads(image: dict[str, Any]) -> None:
    """The manifest names a configuration and a layer; the configuration holds the layer's hash."""
    (manifest,) = json.loads(image["files"]["manifest.json"])
    config = json.loads(image["files"][manifest["Config"]])
    layer = image["files"][manifest["Layers"][0]]

    assert manifest["RepoTags"] == ["kind.local/tool:1"]
    assert config["rootfs"]["diff_ids"] == [f"sha256:{hashlib.sha256(layer).hexdigest()}"]
    assert config["config"]["Entrypoint"] == ["/usr/local/bin/tool"]
    assert config["config"]["User"] == "7"


def test_the_same_files_give_the_same_archive(image: dict[str, Any], tmp_path: Path) -> None:
    """Nothing of the time or the machine is in it."""
    again = tmp_path / "again.tar"
    files = {"usr/local/bin/tool": image["binary"]}
    archives.write(again, "kind.local/tool:1", files, CONFIG)

    assert again.read_bytes() == image["bytes"]


@pytest.mark.parametrize("tool", ["kubernetes", "etcd", "coredns", "kind", "kserve", "knative", "pause"])
def test_each_tool_names_its_version_and_binaries(tool: str) -> None:
    """And every module that is compiled in has a hash in its go.sum."""
    assert re.fullmatch(r"v\d+(\.\d+\.\d+)?", gotools.version(tool))
    assert gotools.binaries(tool)
    assert tool == "pause" or gotools.MODULES.joinpath(tool, "go.sum").stat().st_size > 1000


def test_kubernetes_is_told_its_version() -> None:
    """It is what kubeadm compares with the version it installs."""
    flags = gotools.link_flags("kubernetes")

    assert f"version.gitVersion={gotools.version('kubernetes')}" in flags
    assert "version.gitMajor=1" in flags


def test_all_kubernetes_modules_have_one_version() -> None:
    """The staging modules are released with it: v1.34.4 goes with v0.34.4."""
    text = gotools.MODULES.joinpath("kubernetes", "go.mod").read_text("utf-8")
    replaced = re.findall(r"=> (k8s\.io/\S+) (v\S+)", text)
    wanted = gotools.version("kubernetes").replace("v1.", "v0.")

    assert len(replaced) == 31
    assert {version for _, version in replaced} == {wanted}


@pytest.mark.parametrize("tool", ["helm3", "helm-unittest", "coredns"])
def test_what_several_tools_need_is_compiled_once(tool: str) -> None:
    """They have the same versions of the modules that they share with Helm 4: Kubernetes' client is most of each."""
    versions, wanted = modules(tool), modules("helm4")

    assert "k8s.io/client-go" in versions
    assert {name: number for name, number in versions.items() if wanted.get(name, number) != number} == {}


def modules(tool: str) -> dict[str, str]:
    """Read which version of which module a tool is made with."""
    text = gotools.MODULES.joinpath(tool, "go.mod").read_text("utf-8")
    return dict(re.findall(r"^\s+(\S+) (v\S+)", text, re.MULTILINE))


def test_the_published_knative_is_the_one_that_is_built() -> None:
    """Serving 0.48.1 is Knative 1.21.1: the minor versions are 27 apart."""
    built = [int(part) for part in gotools.version("knative").removeprefix("v").split(".")]
    published = [int(part) for part in knative.PUBLISHED.rpartition(":v")[2].split(".")]

    assert published == [1, built[1] - 27, built[2]]


def test_a_built_cluster_takes_its_images_from_nowhere() -> None:
    """Each image that kubeadm asks for is one that is in the node."""
    patches = str(kind.configuration(built=True)["kubeadmConfigPatches"])
    tags = {part.image: part.tag for part in sources.control_plane()}

    assert f"imageRepository: {sources.REGISTRY}" in patches
    assert f"imageTag: {tags['etcd']}" in patches
    assert f"imageTag: {tags['coredns']}" in patches
    assert f'sandbox_image = "{sources.PAUSE}"' in node.FILES.joinpath("containerd.toml").read_text("utf-8")
    assert sources.PAUSE in {part.reference for part in sources.control_plane()}


def test_a_pulled_cluster_is_kinds_own() -> None:
    """No patch of ours is left: only the ports."""
    assert set(kind.configuration(built=False)) == {"kind", "apiVersion", "nodes"}


def test_ports_are_open_on_the_loopback_address_only() -> None:
    """A test cluster is for this machine."""
    nodes: Any = kind.configuration(built=True)["nodes"]

    assert {port["listenAddress"] for port in nodes[0]["extraPortMappings"]} == {"127.0.0.1"}


def test_a_deployment_is_rolled_out_when_its_newest_pods_are_the_only_ones() -> None:
    """An older pod that still answers, or a status of before, is not enough."""
    done = {
        "metadata": {"generation": 2},
        "spec": {"replicas": 1},
        "status": {"observedGeneration": 2, "replicas": 1, "updatedReplicas": 1, "readyReplicas": 1},
    }

    assert objects.is_rolled_out(done)
    for change in ({"observedGeneration": 1}, {"replicas": 2}, {"readyReplicas": 0}, {"updatedReplicas": 0}):
        assert not objects.is_rolled_out(done | {"status": done["status"] | change})


def test_waiting_ends() -> None:
    """The error says what was waited for."""
    with pytest.raises(ClusterError, match="the moon: not so after 0 s"):
        objects.wait("the moon", lambda: False, timeout_s=0)


def test_the_origin_of_images_is_pull_or_build(monkeypatch: pytest.MonkeyPatch) -> None:
    """Anything else is named as a mistake."""
    for wanted, built in (("build", True), ("pull", False)):
        monkeypatch.setenv("E2E_IMAGES", wanted)
        origin.is_built.cache_clear()
        assert origin.is_built() is built
    monkeypatch.setenv("E2E_IMAGES", "steal")
    origin.is_built.cache_clear()
    with pytest.raises(ClusterError, match="E2E_IMAGES is steal; it is pull, build, or not set"):
        origin.is_built()
    origin.is_built.cache_clear()
