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
from tools.release.place import ReleaseError, Repository, commit_tag, repository
from tools.release.record import Record, read
from tools.release.registry import Manifest, Registry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

COMMIT = "a" * 40
NAME = "acme/model-server"
DIGEST = f"sha256:{'4' * 64}"
THERE = Manifest(b'{"schemaVersion": 2, "layers": []}')
OTHER = Manifest(b'{"schemaVersion": 2, "layers": [ ]}')
PATH = f"/v2/{NAME}/manifests/"
#: What a registry says when nothing is wrong and nobody need log in.
WELCOME = registry.Answer(200)


@pytest.fixture
def store() -> Iterator[registry.Store]:
    """A registry that has one tag, `there`."""
    with registry.serve() as found:
        found.put(NAME, "there", THERE.content)
        yield found


@pytest.fixture
def client(store: registry.Store) -> Registry:
    """Our client of it."""
    return Registry(Repository(store.host, NAME))


def test_a_tag_stands_for_its_bytes(client: Registry) -> None:
    """The digest is ours, of the bytes that came."""
    assert client.find("there") == THERE
    assert client.find("elsewhere") is None


def test_a_repository_that_is_not_there_has_no_tags(store: registry.Store) -> None:
    """The first release of all finds none."""
    assert Registry(Repository(store.host, "acme/new")).find("there") is None


def test_a_second_tag_is_the_same_bytes(client: Registry, store: registry.Store) -> None:
    """Other ones would be another image to a client."""
    client.add("v1.0.0", THERE)

    assert store.manifest(NAME, "v1.0.0") == THERE.content


@pytest.mark.parametrize("manifest", [THERE, OTHER], ids=["the same", "another"])
def test_a_tag_that_is_there_is_not_written(client: Registry, store: registry.Store, manifest: Manifest) -> None:
    """Not even with what it stands for: the registry would say "created"."""
    with pytest.raises(ReleaseError, match=r"there is there already .* never overwritten"):
        client.add("there", manifest)

    assert [line for line in store.asked() if line.startswith("PUT")] == [f"PUT {PATH}there"]  # the fixture's


def test_a_manifest_that_is_not_there_gets_no_tag(client: Registry, store: registry.Store) -> None:
    """It is named by its digest, so no other can be tagged in its place."""
    with pytest.raises(ReleaseError, match="gives no clear answer for"):
        client.add("v1.0.0", OTHER)

    assert store.tags().keys() == {f"{NAME}:there"}


@pytest.mark.parametrize(
    "answer",
    [
        registry.refusal(404, "MANIFEST_UNKNOWN"),
        registry.refusal(404, "NAME_UNKNOWN"),
        registry.refusal(404, "NOT_FOUND"),
        registry.Answer(404),
        registry.Answer(404, body=b"<html>no such page</html>"),
    ],
    ids=["no tag", "no repository", "another registry's word", "no words", "a page"],
)
def test_a_registry_may_say_in_several_ways_that_a_tag_is_free(answer: registry.Answer) -> None:
    """What registries in use answer for a tag that is not there."""
    with registry.answering(lambda _, path, __: answer if path == f"{PATH}v1" else WELCOME) as host:
        assert Registry(Repository(host, NAME)).find("v1") is None


def redirected(_: str, path: str, __: Mapping[str, str]) -> registry.Answer:
    """Lead to a place that does not know the tag."""
    if path.startswith(PATH):
        return registry.Answer(302, {"Location": "/elsewhere"})
    return WELCOME if path == "/v2/" else registry.refusal(404, "MANIFEST_UNKNOWN")


def no_api(_: str, __: str, ___: Mapping[str, str]) -> registry.Answer:
    """Know no page at all, the API of registries neither."""
    return registry.refusal(404, "NOT_FOUND")


def no_tokens(_: str, path: str, headers: Mapping[str, str]) -> registry.Answer:
    """Ask for a token that is given nowhere."""
    if path.startswith("/v2/"):
        return registry.Answer(401, {"WWW-Authenticate": f'Bearer realm="http://{headers["Host"]}/token"'})
    return registry.refusal(404, "NAME_UNKNOWN")


@pytest.mark.parametrize("answer", [redirected, no_api, no_tokens], ids=lambda each: each.__name__)
def test_something_else_that_is_not_there_is_not_a_free_tag(answer: Callable[..., registry.Answer]) -> None:
    """The words are the same, but they answer another question."""
    with (
        registry.answering(answer) as host,
        pytest.raises(ReleaseError, match="gives no clear answer for"),
    ):
        Registry(Repository(host, NAME)).find("v1")


@pytest.mark.parametrize("body", [b"", b"<html>log in</html>", b"[]"], ids=["nothing", "a page", "a list"])
def test_what_is_no_manifest_is_not_taken_for_one(body: bytes) -> None:
    """A page for people, say, which some proxy puts in front of every answer."""
    with (
        registry.answering(lambda _, path, __: registry.Answer(200, body=body) if path != "/v2/" else WELCOME) as host,
        pytest.raises(ReleaseError, match="something else than a manifest for v1"),
    ):
        Registry(Repository(host, NAME)).find("v1")


def test_an_image_whose_tag_is_there_never_reaches_docker(client: Registry, store: registry.Store) -> None:
    """The refusal comes before the first word to Docker, which may not be here at all."""
    store.put(NAME, commit_tag(COMMIT), THERE.content)

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


def read_only(method: str, path: str, _: Mapping[str, str]) -> registry.Answer:
    """Have one manifest by its digest, and take no other."""
    if path == f"{PATH}{THERE.digest}":
        return registry.Answer(200, {"Content-Type": registry.MANIFEST}, THERE.content)
    if path.startswith(PATH):
        return registry.refusal(403, "DENIED") if method == "PUT" else registry.refusal(404, "MANIFEST_UNKNOWN")
    return WELCOME


def test_a_registry_that_refuses_a_tag_is_heard() -> None:
    """The tag would be missing otherwise, and the record would say it is there."""
    with (
        registry.answering(read_only) as host,
        pytest.raises(ReleaseError, match=r"v1\.0\.0: .*DENIED.*; log in .* as somebody who may read and write there"),
    ):
        Registry(Repository(host, NAME)).add("v1.0.0", THERE)


@pytest.mark.parametrize("host", ["10.1.2.3", "172.16.0.1:5000", "172.31.9.9", "192.168.0.7:5000"])
def test_a_login_is_not_sent_into_a_private_network_without_tls(host: str) -> None:
    """Crane would try it where TLS does not answer at once; a name has no such exception."""
    with pytest.raises(ReleaseError, match="by a private address"):
        repository(f"{host}/acme", "model-server")


@pytest.mark.parametrize("host", ["10.example", "172.32.0.1", "registry.example:5000", "127.0.0.1:5000"])
def test_other_hosts_are_taken(host: str) -> None:
    """They have TLS, or they are this machine."""
    assert repository(f"{host}/acme", "model-server").host == host


@pytest.mark.parametrize("commit", ["a" * 7, "A" * 40, "main", ""])
def test_a_commit_is_named_in_full(commit: str) -> None:
    """Anything shorter may be another commit tomorrow."""
    with pytest.raises(ReleaseError, match="all 40 digits"):
        commit_tag(commit)


def test_a_manifest_knows_the_names_that_docker_may_have_for_it() -> None:
    """Its configuration's digest in the classic store, its own in containerd's."""
    manifest = Manifest(json.dumps({"config": {"digest": DIGEST}}).encode())

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
