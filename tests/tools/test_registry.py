"""The registry's client and the chart's package, one refusal at a time: each step refuses by itself, whoever calls."""

from __future__ import annotations

import json
import os
import subprocess
import tarfile
from typing import TYPE_CHECKING

import pytest

from tests.tools import registry
from tools.release import chart, image
from tools.release.checkout import CHART
from tools.release.place import ReleaseError, Repository, commit_tag
from tools.release.record import Record, read
from tools.release.registry import LARGEST_BYTES, Manifest, Registry, basic, login_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

KIND = "application/vnd.oci.image.manifest.v1+json"
COMMIT = "a" * 40
NAME = "acme/model-server"
DIGEST = f"sha256:{'4' * 64}"
THERE = Manifest(b'{"layers": []}', KIND)
OTHER = Manifest(b'{"layers": [1]}', KIND)


@pytest.fixture
def store() -> Iterator[registry.Store]:
    """A registry that has one tag, `there`."""
    with registry.serve() as found:
        found.manifests[NAME, "there"] = (THERE.content, KIND)
        yield found


@pytest.fixture
def client(store: registry.Store) -> Registry:
    """Our client of it."""
    return Registry(Repository(store.host, NAME))


def test_a_tag_stands_for_its_bytes(client: Registry) -> None:
    """The digest is ours, of the bytes that came."""
    assert client.find("there") == THERE
    assert client.find("elsewhere") is None


def test_a_second_tag_is_the_same_bytes(client: Registry, store: registry.Store) -> None:
    """And the same kind: another one would be another image to a client."""
    client.add("v1.0.0", THERE)

    assert store.manifests[NAME, "v1.0.0"] == (THERE.content, KIND)


@pytest.mark.parametrize("manifest", [THERE, OTHER], ids=["the same", "another"])
def test_a_tag_that_is_there_is_not_written(client: Registry, store: registry.Store, manifest: Manifest) -> None:
    """Not even with what it stands for: the registry would say "created"."""
    with pytest.raises(ReleaseError, match=r"there is there already .* never overwritten"):
        client.add("there", manifest)

    assert [method for method, _ in store.asked] == ["GET"]


def test_an_image_whose_tag_is_there_never_reaches_docker(client: Registry, store: registry.Store) -> None:
    """The refusal comes before the first word to Docker, which may not be here at all."""
    store.manifests[NAME, commit_tag(COMMIT)] = (THERE.content, KIND)

    with pytest.raises(ReleaseError, match="never overwritten"):
        image.publish(client, COMMIT, "no-such-image")


@pytest.mark.docker
def test_docker_itself_pushes_what_is_recorded(client: Registry, store: registry.Store, tmp_path: Path) -> None:
    """The names that Docker gives an image are the ones that are compared, and a version is the same digest."""
    name = f"model-server-release-test:{os.getpid()}"
    tarfile.open(tmp_path / "root.tar", "w").close()
    words = ["docker", "import", "--change", f"LABEL {image.REVISION}={COMMIT}", str(tmp_path / "root.tar"), name]
    subprocess.run(words, check=True, capture_output=True)
    pushed = f"{client.repository}:{commit_tag(COMMIT)}"
    try:
        first = image.publish(client, COMMIT, name)
        second = image.promote(client, COMMIT, "1.0.0")
        with pytest.raises(ReleaseError, match="never overwritten"):
            image.publish(client, COMMIT, name)
    finally:
        subprocess.run(["docker", "image", "rm", "--force", name, pushed], check=True, capture_output=True)

    assert store.tags()[f"{NAME}:{commit_tag(COMMIT)}"] == first.digest
    assert store.tags()[f"{NAME}:v1.0.0"] == second.digest == first.digest


def test_a_chart_whose_version_is_there_never_reaches_helm(client: Registry, tmp_path: Path) -> None:
    """Helm would overwrite it without a word."""
    with pytest.raises(ReleaseError, match="never overwritten"):
        chart.publish(client, tmp_path / "no-such-package.tgz", "there", COMMIT)


def test_a_registry_that_refuses_a_tag_is_heard(client: Registry, store: registry.Store) -> None:
    """The tag would be missing otherwise, and the record would say it is there."""
    store.refuse_writing = True

    with pytest.raises(ReleaseError, match=r"answers 403 .* may this login write there"):
        client.add("v1.0.0", THERE)


def test_an_answer_without_end_is_not_read(client: Registry, store: registry.Store) -> None:
    """A manifest is small."""
    store.manifests[NAME, "large"] = (b" " * (LARGEST_BYTES + 1), KIND)

    with pytest.raises(ReleaseError, match="too large"):
        client.find("large")


@pytest.mark.parametrize("commit", ["a" * 7, "A" * 40, "main", ""])
def test_a_commit_is_named_in_full(commit: str) -> None:
    """Anything shorter may be another commit tomorrow."""
    with pytest.raises(ReleaseError, match="all 40 digits"):
        commit_tag(commit)


def test_a_manifest_knows_the_names_that_docker_may_have_for_it() -> None:
    """Its configuration's digest in the classic store, its own in containerd's."""
    manifest = Manifest(json.dumps({"config": {"digest": DIGEST}}).encode(), KIND)

    assert manifest.image_ids == {manifest.digest, DIGEST}
    assert THERE.image_ids == {THERE.digest}


@pytest.mark.parametrize(
    "text",
    [
        "mode: standard\n",
        'image:\n  registry: ""\n',
        '\nimage:\n  registry: ""\n  repository: a\n  tag: ""\n\nmodel:\n  digest: ""\n',
    ],
    ids=["no block", "at the top", "no digest in it"],
)
def test_values_that_cannot_be_pinned_are_refused(text: str) -> None:
    """A chart without its digest would be published as if it had one."""
    with pytest.raises(ReleaseError, match="must follow it"):
        chart.pin(text, Repository("registry.example", NAME), DIGEST)


def test_the_digest_of_the_model_is_left_alone() -> None:
    """Two blocks of the values have a digest."""
    text = CHART.joinpath("values.yaml").read_text("utf-8")
    pinned = chart.pin(text, Repository("registry.example", NAME), DIGEST)

    assert pinned.count(DIGEST) == 1
    assert pinned.index(DIGEST) < pinned.index("\nmodel:\n")


def test_a_chart_of_another_version_is_refused(tmp_path: Path) -> None:
    """Helm names the package after Chart.yaml."""
    record = Record("image", f"registry.example/{NAME}", "sha", DIGEST, COMMIT)

    with pytest.raises(ReleaseError, match=r"made no model-server-9\.9\.9\.tgz"):
        chart.package(record, "9.9.9", tmp_path)


def test_a_record_without_a_digest_is_none(tmp_path: Path) -> None:
    """Signing a tag would sign whatever it is by then."""
    values = {"kind": "image", "name": "registry.example/a", "tag": "v1", "digest": "v1", "commit": COMMIT}
    tmp_path.joinpath("image.json").write_text(json.dumps(values), "utf-8")

    with pytest.raises(ReleaseError, match="nothing was published"):
        read(tmp_path)


def test_a_login_is_that_of_its_host(tmp_path: Path) -> None:
    """And no login is no error: a public registry can be read without."""
    login = basic("robot", "secret")
    tmp_path.joinpath("config.json").write_text(json.dumps({"auths": {"registry.example": {"auth": login}}}), "utf-8")
    environment = {"DOCKER_CONFIG": str(tmp_path)}

    assert login_for("registry.example", environment) == login
    assert login_for("other.example", environment) is None
    assert login_for("registry.example", {"HOME": str(tmp_path)}) is None
