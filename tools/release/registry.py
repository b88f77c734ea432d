"""A registry: knows how to ask crane what a tag stands for and for one more tag of it; uploads nothing itself.

crane speaks the registries' protocol with the logins that Docker has. It ends alike whatever went wrong, so its words
are read: a registry that does not say clearly that a tag is free counts as an error. "I do not know" must never read
as "free".
"""

import hashlib
import json
import re
from dataclasses import dataclass

from tools.clients import ask_crane
from tools.programs import ProgramError
from tools.release.place import ReleaseError, Repository

#: How registries say that a tag, or its whole repository, is not there; a body that crane cannot read has a status.
NOT_THERE = r"(?:MANIFEST_UNKNOWN|NAME_UNKNOWN|NOT_FOUND|unexpected status code 404 Not Found)\b"
#: How they say that somebody else may ask that.
NO_RIGHT = re.compile(r"\b(?:UNAUTHORIZED|DENIED|unexpected status code 40[13])\b")
#: A registry's own words may be a page of HTML.
WORDS_SHOWN = 300


@dataclass(frozen=True)
class Manifest:
    """What a tag stands for.

    Attributes:
        content: Its bytes, which the digest is of.
    """

    content: bytes

    @property
    def digest(self) -> str:
        """The hash that names it."""
        return f"sha256:{hashlib.sha256(self.content).hexdigest()}"

    @property
    def is_one(self) -> bool:
        """Whether the bytes are a manifest at all, and not a page that something in between has put in its place."""
        try:
            found = json.loads(self.content)
        except ValueError:
            return False
        return isinstance(found, dict) and "schemaVersion" in found

    @property
    def image_ids(self) -> set[str]:
        """The names that a Docker daemon may have for it: its configuration's digest, or its own."""
        config = json.loads(self.content).get("config", {})
        return {self.digest, str(config.get("digest", self.digest))}


@dataclass(frozen=True)
class Registry:
    """One repository of a registry, as whoever is logged in.

    Attributes:
        repository: Where it is.
    """

    repository: Repository

    def find(self, tag: str) -> Manifest | None:
        """Ask what a tag stands for.

        Args:
            tag: The tag.

        Returns:
            Its manifest; None only where the registry says that there is none.

        Raises:
            ReleaseError: The registry says anything else, or nothing.
        """
        try:
            found = Manifest(self._ask("manifest", f"{self.repository}:{tag}"))
        except ProgramError as error:
            if self._says_there_is_none(error.said, tag):
                return None
            raise self._unclear(tag, error) from error
        if not found.is_one:
            raise ReleaseError(f"{self.repository.host} gives something else than a manifest for {tag}; try again")
        return found

    def add(self, tag: str, manifest: Manifest) -> None:
        """Give a manifest that is there one more tag, if that tag is free.

        Args:
            tag: The tag.
            manifest: What the repository has already; it is named by its digest, so not a byte of it changes.

        Raises:
            ReleaseError: The tag is taken, or the registry refuses.
        """
        self.demand_free(tag)
        try:
            self._ask("tag", f"{self.repository}@{manifest.digest}", tag)
        except ProgramError as error:
            raise self._unclear(tag, error) from error

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

    def _ask(self, *words: str) -> bytes:
        # Docker and Helm speak with a registry on this machine without TLS, whatever its name there is.
        return ask_crane(*words, *(["--insecure"] if self.repository.plain else []))

    def _says_there_is_none(self, said: str, tag: str) -> bool:
        # The answer to this very request: a token server, or where the registry redirects to, may miss something else.
        asked = re.escape(f"{self.repository.host}/v2/{self.repository.path}/manifests/{tag}")
        answer = re.compile(rf"^Error: fetching manifest \S+: GET https?://{asked}: {NOT_THERE}", re.MULTILINE)
        return answer.search(said) is not None

    def _unclear(self, tag: str, error: ProgramError) -> ReleaseError:
        said = (error.said.partition("Error: ")[2] or str(error))[:WORDS_SHOWN]
        hint = "try again"
        if NO_RIGHT.search(said):
            hint = "log in (`make release-login`) as somebody who may read and write there"
        return ReleaseError(
            f"{self.repository.host} gives no clear answer for {self.repository.path}:{tag}: {said}; {hint}"
        )
