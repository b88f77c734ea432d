"""A release, by its real commands in a checkout of its own, against a registry that takes whatever it is given."""

from __future__ import annotations

import base64
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from model_server import __version__
from tests.tools import programs, registry

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ROOT = Path(__file__).resolve().parent.parent.parent
IMAGE = "acme/model-server"
CHART = "acme/charts/model-server"
TAG = f"v{__version__}"
WHO = "https://github.com/acme/model-server/.github/workflows/release.yml@refs/heads/main"


@dataclass
class Workplace:
    """A clean checkout, a registry, and programs on PATH.

    Attributes:
        folder: The checkout.
        commit: Its commit.
        store: What the registry holds.
        environment: The variables of the commands.
    """

    folder: Path
    commit: str
    store: registry.Store
    environment: dict[str, str]

    def run(self, command: str, **further: str) -> subprocess.CompletedProcess[str]:
        """Run a command of the release as make does."""
        words = [sys.executable, "-m", "tools.release", command]
        environment = {**self.environment, **further}
        return subprocess.run(words, cwd=self.folder, env=environment, capture_output=True, text=True, check=False)

    def calls(self) -> list[list[str]]:
        """Give the programs that were called, with their words."""
        return programs.calls(Path(self.environment["CALLS"]))

    def published(self) -> dict[str, str]:
        """Publish the image, and give the tags that are there now."""
        done = self.run("image")
        assert done.returncode == 0, done.stderr
        return self.store.tags()


def git(folder: Path, *words: str) -> str:
    """Run git in a checkout."""
    identity = ("-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false")
    command = ["git", *identity, *words]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a release is made of, as one commit whose changelog has the version."""
    folder = tmp_path_factory.mktemp("release") / "checkout"
    for part in ("tools", "charts", "model_server"):
        shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__", "go"))
    # Of the Go tools two are asked; they were built before.
    for tool in ("helm4", "crane"):
        shutil.copytree(ROOT / "tools/go" / tool, folder / "tools/go" / tool)
    shutil.copy(ROOT / ".gitignore", folder)
    text = ROOT.joinpath("CHANGELOG.md").read_text("utf-8")
    folder.joinpath("CHANGELOG.md").write_text(f"{text}\n## {__version__}\n", "utf-8")
    for words in (("init", "--quiet"), ("add", "--all"), ("commit", "--quiet", "--message", "all of it")):
        git(folder, *words)
    return folder


@pytest.fixture
def workplace(checkout: Path, tmp_path: Path) -> Iterator[Workplace]:
    """A clean checkout, an image that was built of its commit, and an empty registry."""
    folder, config, path = tmp_path / "checkout", tmp_path / "docker", tmp_path / "bin"
    shutil.copytree(checkout, folder)
    config.mkdir()
    path.mkdir()
    programs.install(path)
    commit = git(folder, "rev-parse", "HEAD")
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("GITHUB_", "HELM_"))}
    with registry.serve() as store:
        environment = {
            **kept,
            "PATH": f"{path}{os.pathsep}{os.environ['PATH']}",
            "DOCKER_CONFIG": str(config),
            "CALLS": str(tmp_path / "calls"),
            "IMAGE_ID": programs.IMAGE_ID,
            "PUSHED_ID": programs.IMAGE_ID,
            "LABELS": json.dumps({"org.opencontainers.image.revision": commit}),
            "GITHUB_OUTPUT": str(tmp_path / "output"),
            "GITHUB_STEP_SUMMARY": str(tmp_path / "summary"),
            "PUBLISH": f"{store.host}/Acme",
            "SIGNER": WHO,
        }
        yield Workplace(folder, commit, store, environment)


def test_an_image_is_published_under_its_commit_and_its_digest_is_recorded(
    workplace: Workplace, tmp_path: Path
) -> None:
    """As a file, as outputs of the step, and on the page of the run."""
    tags = workplace.published()
    commit = workplace.commit
    digest = tags[f"{IMAGE}:sha-{commit}"]
    name = f"{workplace.store.host}/{IMAGE}"
    recorded = json.loads(workplace.folder.joinpath("build/release/image.json").read_text("utf-8"))

    assert list(tags) == [f"{IMAGE}:sha-{commit}"]
    assert recorded == {"kind": "image", "name": name, "tag": f"sha-{commit}", "digest": digest, "commit": commit}
    assert tmp_path.joinpath("output").read_text("utf-8") == f"image-name={name}\nimage-digest={digest}\n"
    assert digest in tmp_path.joinpath("summary").read_text("utf-8")


@pytest.mark.parametrize("command", ["check", "image"])
def test_a_commit_is_published_once(workplace: Workplace, command: str) -> None:
    """A second push would be another image under the name that somebody deployed; Docker would not even say so."""
    before = workplace.published()
    pushed = len(workplace.calls())
    done = workplace.run(command, IMAGE_ID=programs.OTHER_ID, PUSHED_ID=programs.OTHER_ID)

    assert done.returncode == 1
    assert f"{IMAGE}:sha-{workplace.commit} is there already" in done.stderr
    assert "never overwritten" in done.stderr
    assert workplace.store.tags() == before
    assert len(workplace.calls()) == pushed


def test_a_free_commit_can_be_published(workplace: Workplace) -> None:
    """The check changes nothing."""
    done = workplace.run("check")

    assert (done.returncode, done.stderr) == (0, "")
    assert workplace.store.tags() == {}


@pytest.mark.parametrize("labels", ["{}", '{"org.opencontainers.image.revision": "unknown"}', "null"])
def test_an_image_of_another_commit_is_refused(workplace: Workplace, labels: str) -> None:
    """The tag says which commit it is; the image must say so too."""
    done = workplace.run("image", LABELS=labels)

    assert done.returncode == 1
    assert "was not built of the commit" in done.stderr
    assert workplace.store.tags() == {}


def test_a_changed_checkout_is_refused(workplace: Workplace) -> None:
    """No commit says what is in it."""
    workplace.folder.joinpath("more.py").write_text("", "utf-8")
    done = workplace.run("image")

    assert done.returncode == 1
    assert "1 files differ from the commit" in done.stderr
    assert workplace.store.asked() == []


def test_what_is_recorded_is_what_was_asked(workplace: Workplace) -> None:
    """Another image in the registry than the one here, for whatever reason, is no release."""
    done = workplace.run("image", PUSHED_ID=programs.OTHER_ID)

    assert done.returncode == 1
    assert "is not the image that is here" in done.stderr
    assert not workplace.folder.joinpath("build/release/image.json").exists()


@pytest.mark.parametrize("status", [401, 403, 500])
def test_a_registry_that_does_not_say_is_not_a_free_tag(workplace: Workplace, status: int) -> None:
    """Only "there is none" is; anything else might hide an image that would be overwritten."""
    told = registry.Answer(status)
    with registry.answering(lambda _, path, __: told if "/manifests/" in path else registry.Answer(200)) as host:
        done = workplace.run("image", PUBLISH=f"{host}/acme")

    hint = "try again" if status == 500 else "log in (`make release-login`)"
    assert done.returncode == 1
    assert f"{host} gives no clear answer for {IMAGE}:sha-{workplace.commit}: " in done.stderr
    assert hint in done.stderr
    assert workplace.calls() == []


def test_a_registry_that_is_not_there_is_not_a_free_tag(workplace: Workplace) -> None:
    """The port is one that nothing listens on."""
    done = workplace.run("image", PUBLISH="127.0.0.1:1/acme")

    assert done.returncode == 1
    assert "connection refused" in done.stderr
    assert workplace.calls() == []


def test_a_version_is_the_image_of_its_commit_and_a_chart_that_deploys_it(workplace: Workplace) -> None:
    """Nothing is built again: the digest that was asked is the digest that is deployed."""
    digest = workplace.published()[f"{IMAGE}:sha-{workplace.commit}"]
    done = workplace.run("version", TAG=TAG)
    assert done.returncode == 0, done.stderr

    assert workplace.store.tags().keys() == {
        f"{IMAGE}:sha-{workplace.commit}",
        f"{IMAGE}:{TAG}",
        f"{CHART}:{__version__}",
    }
    assert workplace.store.tags()[f"{IMAGE}:{TAG}"] == digest
    assert [words for words in workplace.calls() if words[1] == "push"] != []
    values = yaml.safe_load(chart_file(workplace, "values.yaml"))
    assert values["image"] | {"registry": workplace.store.host, "repository": IMAGE, "tag": ""} == values["image"]
    assert values["image"]["digest"] == digest


def chart_file(workplace: Workplace, name: str) -> str:
    """Read a file of the published chart."""
    layers = json.loads(workplace.store.manifest(CHART, __version__))["layers"]
    package = workplace.store.read(f"{CHART}/blobs/{layers[0]['digest']}")
    with tarfile.open(fileobj=io.BytesIO(package)) as archive:
        file = archive.extractfile(f"model-server/{name}")
        assert file is not None
        return file.read().decode()


def test_the_chart_of_a_version_differs_from_the_checkouts_in_the_image_alone(workplace: Workplace) -> None:
    """Comments and every other value stay, and so does the chart of the checkout."""
    workplace.published()
    workplace.run("version", TAG=TAG)
    before = ROOT.joinpath("charts/model-server/values.yaml").read_text("utf-8").splitlines()
    after = chart_file(workplace, "values.yaml").splitlines()
    changed = [new.split(":")[0].strip() for old, new in zip(before, after, strict=True) if old != new]

    assert changed == ["registry", "repository", "digest"]
    assert git(workplace.folder, "status", "--porcelain") == ""


def test_what_was_published_is_signed_by_digest(workplace: Workplace) -> None:
    """A tag could be another image by the time cosign looks."""
    workplace.published()
    workplace.run("version", TAG=TAG)
    done = workplace.run("sign")
    tags = workplace.store.tags()
    signed = [words[-1] for words in workplace.calls() if words[:2] == ["cosign", "sign"]]

    assert done.returncode == 0
    assert signed == [
        f"{workplace.store.host}/{CHART}@{tags[f'{CHART}:{__version__}']}",
        f"{workplace.store.host}/{IMAGE}@{tags[f'{IMAGE}:{TAG}']}",
    ]


def test_there_is_nothing_to_sign_before_something_is_published(workplace: Workplace) -> None:
    """Signing what was there already would vouch for somebody else's work."""
    done = workplace.run("sign")

    assert done.returncode == 1
    assert "nothing was published from here" in done.stderr


def test_only_a_signed_image_gets_a_version(workplace: Workplace) -> None:
    """The image of a run that broke off before it signed is there, but vouched for by nobody."""
    digest = workplace.published()[f"{IMAGE}:sha-{workplace.commit}"]
    good, bad = workplace.run("verify"), workplace.run("verify", UNSIGNED="yes")
    asked = next(words for words in workplace.calls() if words[:2] == ["cosign", "verify"])

    assert (good.returncode, bad.returncode) == (0, 1)
    assert "no signatures found" in bad.stderr
    assert asked[-1] == f"{workplace.store.host}/{IMAGE}@{digest}"
    assert asked[asked.index("--certificate-identity") + 1] == WHO


@pytest.mark.parametrize("command", ["check", "version"])
@pytest.mark.parametrize("taken", [f"{IMAGE}:{TAG}", f"{CHART}:{__version__}"], ids=["image", "chart"])
def test_a_version_is_published_once(workplace: Workplace, command: str, taken: str) -> None:
    """Be it the image's tag or the chart's: nothing is changed then, the other one neither."""
    workplace.published()
    name, _, tag = taken.rpartition(":")
    workplace.store.put(name, tag, b'{"schemaVersion": 2, "layers": []}')
    before = workplace.store.tags()
    done = workplace.run(command, TAG=TAG)

    assert done.returncode == 1
    assert f"{taken} is there already" in done.stderr
    assert workplace.store.tags() == before


@pytest.mark.parametrize("command", ["check", "version", "verify"])
def test_a_version_needs_the_image_of_its_commit(workplace: Workplace, command: str) -> None:
    """A version is never built for itself."""
    done = workplace.run(command, TAG=TAG)

    assert done.returncode == 1
    assert f"{IMAGE}:sha-{workplace.commit} is not there" in done.stderr
    assert workplace.store.tags() == {}


@pytest.mark.parametrize("tag", ["v9.9.9", "0.1.0", "v0.1", "v0.1.0-rc.1", "main"])
def test_a_tag_that_is_not_the_version_is_refused(workplace: Workplace, tag: str) -> None:
    """Code, chart and changelog say the same, or nothing is published."""
    before = workplace.published()
    done = workplace.run("version", TAG=tag)

    assert done.returncode == 1
    wanted = ["TAG is v and three numbers"]
    if tag == "v9.9.9":
        wanted = ["model_server/__init__.py", "version in charts", "appVersion in charts", "CHANGELOG.md"]
    assert [text for text in wanted if text not in done.stderr] == []
    assert workplace.store.tags() == before


SECRET = "hush-hush"  # noqa: S105 - of a registry that lives for one test
LOGIN = base64.b64encode(f"robot:{SECRET}".encode()).decode()


def closed(_: str, path: str, headers: Mapping[str, str]) -> registry.Answer:
    """Have nothing, and say so only to who is logged in."""
    if headers.get("Authorization") != f"Basic {LOGIN}":
        return registry.Answer(401, {"WWW-Authenticate": 'Basic realm="closed"'})
    return registry.Answer(200) if path == "/v2/" else registry.refusal(404, "MANIFEST_UNKNOWN")


def test_the_login_that_docker_has_is_used_and_never_shown(workplace: Workplace) -> None:
    """Neither as it was given nor as Docker writes it down."""
    with registry.answering(closed) as host:
        place, robot = {"PUBLISH": f"{host}/acme"}, {"REGISTRY_USER": "robot"}
        refused = workplace.run("check", **place)
        wrong = workplace.run("login", **robot, REGISTRY_TOKEN=SECRET[:-1], **place)
        denied = workplace.run("check", **place)
        logged = workplace.run("login", **robot, REGISTRY_TOKEN=SECRET, **place)
        done = workplace.run("check", **place)
    every = (refused, wrong, denied, logged, done)
    shown = "".join(each.stdout + each.stderr for each in every) + json.dumps(workplace.calls())

    assert [each.returncode for each in every] == [1, 0, 1, 0, 0]
    assert "log in (`make release-login`)" in refused.stderr
    assert "log in (`make release-login`)" in denied.stderr
    assert [secret for secret in (SECRET[:-1], LOGIN) if secret in shown] == []


def test_a_login_that_is_kept_by_a_program_is_asked_for(workplace: Workplace) -> None:
    """A program that is missing is said: without it, a private registry would look like one that forbids."""
    Path(workplace.environment["DOCKER_CONFIG"], "config.json").write_text('{"credsStore": "nowhere"}', "utf-8")
    done = workplace.run("check")

    assert done.returncode == 1
    assert "docker-credential-nowhere" in done.stderr


@pytest.mark.parametrize(
    "place", ["", "acme", "https://registry.example/acme", "registry.example", "registry.example/a b"]
)
def test_a_place_that_is_none_is_refused(workplace: Workplace, place: str) -> None:
    """Docker would take a name without a host for one of its own registry."""
    done = workplace.run("check", PUBLISH=place)

    assert done.returncode == 1
    assert "PUBLISH is" in done.stderr
