"""Where a release goes: knows how a repository of a registry is written, and its tags; asks nobody."""

import re
from dataclasses import dataclass

LOOPBACK = re.compile(r"(localhost|127\.\d+\.\d+\.\d+|\[::1\])(:\d+)?")
#: crane speaks with these without TLS where TLS does not answer at once.
PRIVATE = re.compile(r"(10|192\.168|172\.(1[6-9]|2\d|3[01]))\.[\d.]+(:\d+)?$")
HOST = r"(?:localhost|[a-z0-9.-]+\.[a-z0-9-]+|\[[0-9a-f:]+\])(?::\d+)?"
PATH = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
VERSION = re.compile(r"v(\d+\.\d+\.\d+)")
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


class ReleaseError(Exception):
    """This cannot be published, or it is not known whether it may be; the text says what to do."""


@dataclass(frozen=True)
class Repository:
    """A repository of a registry.

    Attributes:
        host: The registry, with its port where it has one.
        path: The rest, without a slash in front.
    """

    host: str
    path: str

    def __str__(self) -> str:
        return f"{self.host}/{self.path}"

    @property
    def plain(self) -> bool:
        """Whether the registry is on this machine, where Docker and Helm speak HTTP without TLS too."""
        return LOOPBACK.fullmatch(self.host) is not None


def repository(place: str, name: str) -> Repository:
    """Name a repository under the place that a release goes to.

    Args:
        place: A registry's host and an owner, such as `registry.example/acme`; in any case, since registries want
            small letters and owners may have capitals.
        name: What is published, such as `model-server`.

    Returns:
        The repository.

    Raises:
        ReleaseError: The place has no host, is not written as registries write one, or is an address of a private
            network.

    >>> str(repository("registry.example/Acme", "model-server"))
    'registry.example/acme/model-server'
    """
    found = re.fullmatch(rf"({HOST})/({PATH}(?:/{PATH})*)", place.strip("/").lower())
    if found is None:
        raise ReleaseError("PUBLISH is a registry's host and an owner, such as registry.example/acme")
    if PRIVATE.match(found[1]):
        raise ReleaseError(
            "PUBLISH names a registry by a private address, where a login could go without TLS; use its name"
        )
    return Repository(found[1], f"{found[2]}/{name}")


def commit_tag(commit: str) -> str:
    """Give the tag of a commit's image.

    Raises:
        ReleaseError: It is not the whole name of a commit; a short one may mean another commit tomorrow.
    """
    if not re.fullmatch(r"[0-9a-f]{40}", commit):
        raise ReleaseError("a commit is named by all 40 digits")
    return f"sha-{commit}"


def version_of(tag: str) -> str:
    """Read the version from a tag of git.

    Raises:
        ReleaseError: It is not three numbers after a v.

    >>> version_of("v1.2.3")
    '1.2.3'
    """
    found = VERSION.fullmatch(tag)
    if found is None:
        raise ReleaseError("TAG is v and three numbers, such as v1.2.3")
    return found[1]
