"""A registry: knows how to ask it for a tag's manifest and to give a manifest one more tag; uploads nothing itself.

It speaks the distribution API of the Open Container Initiative, and asks for a token where the registry wants one. A
registry that does not say clearly that a tag is free counts as an error: "I do not know" must never read as "free".
"""

import base64
import hashlib
import http.client
import json
import os
import re
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from email.message import Message
from pathlib import Path
from typing import IO

from tools.release.place import LOOPBACK, ReleaseError, Repository

#: What a tag may stand for; without these words a registry may answer with a translation, whose digest is another.
MANIFESTS = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
LARGEST_BYTES = 4 << 20
TIMEOUT_S = 30.0


@dataclass(frozen=True)
class Manifest:
    """What a tag stands for.

    Attributes:
        content: Its bytes, which the digest is of.
        media_type: What kind it is.
    """

    content: bytes
    media_type: str

    @property
    def digest(self) -> str:
        """The hash that names it."""
        return f"sha256:{hashlib.sha256(self.content).hexdigest()}"

    @property
    def image_ids(self) -> set[str]:
        """The names that a Docker daemon may have for it: its configuration's digest, or its own."""
        config = json.loads(self.content).get("config", {})
        return {self.digest, str(config.get("digest", self.digest))}


@dataclass(frozen=True)
class Answer:
    """An answer of a registry: status, headers and body."""

    status: int
    headers: Message
    body: bytes


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """urllib would send the token along to wherever a registry points."""

    def redirect_request(self, *_: object, **__: object) -> None:
        """Follow none."""


def login_for(host: str, environment: Mapping[str, str] = os.environ) -> str | None:
    """Read from Docker's configuration who to be at a registry; Helm and cosign read the same one.

    Args:
        host: The registry.
        environment: Where DOCKER_CONFIG and HOME are looked up.

    Returns:
        User and password as HTTP's Basic scheme encodes them, or None where there is no login.

    Raises:
        ReleaseError: The login is kept by a helper program.
    """
    folder = environment.get("DOCKER_CONFIG") or str(Path(environment.get("HOME", ""), ".docker"))
    file = Path(folder, "config.json")
    if not file.is_file():
        return None
    found = json.loads(file.read_text("utf-8"))
    login = found.get("auths", {}).get(host, {}).get("auth")
    if login is None and (found.get("credsStore") or host in found.get("credHelpers", {})):
        raise ReleaseError("Docker keeps its logins in a helper program; log in with a DOCKER_CONFIG folder of its own")
    return str(login) if login else None


class Registry:
    """One repository of a registry, as whoever is logged in."""

    def __init__(self, repository: Repository, login: str | None = None) -> None:
        self.repository = repository
        self._login = login
        self._authorization: str | None = None
        # A registry on this machine is never behind the proxy that the environment names.
        proxies = [urllib.request.ProxyHandler({})] if repository.plain else []
        self._opener = urllib.request.build_opener(_NoRedirect, *proxies)

    def find(self, tag: str) -> Manifest | None:
        """Ask what a tag stands for.

        Args:
            tag: The tag.

        Returns:
            Its manifest; None only where the registry says that there is none.

        Raises:
            ReleaseError: The registry says anything else, or nothing; or its bytes are not those of the digest.
        """
        answer = self._ask("GET", tag)
        if answer.status == http.HTTPStatus.NOT_FOUND:
            return None
        if answer.status != http.HTTPStatus.OK:
            raise self._unclear(tag, answer.status)
        found = Manifest(answer.body, answer.headers.get_content_type())
        if answer.headers.get("Docker-Content-Digest") not in {None, found.digest}:
            raise ReleaseError(f"{self.repository} gives other bytes for {tag} than their digest says")
        return found

    def add(self, tag: str, manifest: Manifest) -> None:
        """Give a manifest that is there one more tag, if that tag is free.

        Args:
            tag: The tag.
            manifest: What the repository has already; not a byte of it changes.

        Raises:
            ReleaseError: The tag is taken, or the registry refuses.
        """
        self.demand_free(tag)
        answer = self._ask("PUT", tag, manifest)
        if answer.status != http.HTTPStatus.CREATED:
            raise self._unclear(tag, answer.status)

    def demand_free(self, tag: str) -> None:
        """Refuse a tag that is there: whoever deployed it would get something else.

        Raises:
            ReleaseError: It is taken, or the registry does not say.
        """
        found = self.find(tag)
        if found is not None:
            raise ReleaseError(f"{self.repository}:{tag} is there already ({found.digest}) and is never overwritten")

    def demand(self, tag: str) -> Manifest:
        """Give the manifest of a tag that must be there.

        Raises:
            ReleaseError: It is not, or the registry does not say.
        """
        found = self.find(tag)
        if found is None:
            raise ReleaseError(f"{self.repository}:{tag} is not there; it is published when its commit is on main")
        return found

    def _ask(self, method: str, tag: str, manifest: Manifest | None = None) -> Answer:
        answer = self._send(method, tag, manifest)
        if answer.status == http.HTTPStatus.UNAUTHORIZED:
            self._authorization = self._authorize(answer.headers.get("WWW-Authenticate", ""))
            answer = self._send(method, tag, manifest)
        return answer

    def _send(self, method: str, tag: str, manifest: Manifest | None) -> Answer:
        headers = {"Accept": ", ".join(MANIFESTS)}
        if self._authorization:
            headers["Authorization"] = self._authorization
        if manifest:
            headers["Content-Type"] = manifest.media_type
        url = f"{self.repository.url}/manifests/{tag}"
        return self._open(
            urllib.request.Request(  # noqa: S310 - https, or this machine
                url, manifest.content if manifest else None, headers, method=method
            )
        )

    def _open(self, request: urllib.request.Request) -> Answer:
        try:
            with self._opener.open(request, timeout=TIMEOUT_S) as answer:
                return Answer(answer.status, answer.headers, _read(answer))
        except urllib.error.HTTPError as error:
            with error:
                return Answer(error.code, error.headers, b"")
        except (OSError, http.client.HTTPException) as error:
            raise ReleaseError(f"{self.repository.host} does not answer ({type(error).__name__}); try again") from error

    def _authorize(self, challenge: str) -> str:
        scheme, _, rest = challenge.partition(" ")
        if scheme.lower() == "basic" and self._login:
            return f"Basic {self._login}"
        asked = dict(re.findall(r'(\w+)="([^"]*)"', rest))
        realm = asked.get("realm", "")
        if scheme.lower() != "bearer" or not self._may_be_told(realm):
            raise ReleaseError(f"{self.repository.host} wants a login; `make release-login` makes one")
        scope = f"repository:{self.repository.path}:{'pull,push' if self._login else 'pull'}"
        query = urllib.parse.urlencode({"service": asked.get("service", ""), "scope": scope})
        headers = {"Authorization": f"Basic {self._login}"} if self._login else {}
        answer = self._open(urllib.request.Request(f"{realm}?{query}", headers=headers))  # noqa: S310 - checked above
        if answer.status != http.HTTPStatus.OK:
            raise ReleaseError(f"{self.repository.host} gives no token ({answer.status}); is the login right?")
        given = json.loads(answer.body)
        return f"Bearer {given.get('token') or given.get('access_token')}"

    def _may_be_told(self, realm: str) -> bool:
        # The password goes there: never without TLS, but on this machine.
        parts = urllib.parse.urlsplit(realm)
        return parts.scheme == "https" or (parts.scheme == "http" and LOOPBACK.fullmatch(parts.netloc) is not None)

    def _unclear(self, tag: str, status: int) -> ReleaseError:
        hint = "may this login write there?" if status in {401, 403} else "try again"
        return ReleaseError(f"{self.repository.host} answers {status} for {self.repository.path}:{tag}; {hint}")


def _read(answer: IO[bytes]) -> bytes:
    body = answer.read(LARGEST_BYTES + 1)
    if len(body) > LARGEST_BYTES:
        raise ReleaseError("the registry's answer is too large to be a manifest")
    return body


def basic(user: str, password: str) -> str:
    """Encode a login as HTTP's Basic scheme and Docker's configuration do."""
    return base64.b64encode(f"{user}:{password}".encode()).decode()
