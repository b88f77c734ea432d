"""What was published: knows how to write a digest down for people, later steps and signing; publishes nothing."""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from tools import gotools
from tools.release.place import DIGEST, ReleaseError

FOLDER = gotools.ROOT / "build" / "release"


@dataclass(frozen=True)
class Record:
    """One thing that was published.

    Attributes:
        kind: image or chart.
        name: Its repository, with the registry's host.
        tag: The tag it was given.
        digest: What it is, for ever.
        commit: The commit it was made of.
    """

    kind: str
    name: str
    tag: str
    digest: str
    commit: str

    @property
    def reference(self) -> str:
        """The name by which it can only be this."""
        return f"{self.name}@{self.digest}"


def write(record: Record, folder: Path = FOLDER, environment: Mapping[str, str] = os.environ) -> None:
    """Write a record as a file, and for the steps and the page of a workflow where there is one.

    Args:
        record: What was published.
        folder: Where the file goes, named after the kind.
        environment: GITHUB_OUTPUT and GITHUB_STEP_SUMMARY are files of the workflow.
    """
    folder.mkdir(parents=True, exist_ok=True)
    folder.joinpath(f"{record.kind}.json").write_text(json.dumps(asdict(record), indent=2) + "\n", "utf-8")
    lines = {
        "GITHUB_OUTPUT": f"{record.kind}-name={record.name}\n{record.kind}-digest={record.digest}\n",
        "GITHUB_STEP_SUMMARY": f"- {record.kind} `{record.name}:{record.tag}` is `{record.digest}`\n",
    }
    for variable, text in lines.items():
        if environment.get(variable):
            with Path(environment[variable]).open("a", encoding="utf-8") as file:
                file.write(text)
    print(f"{record.kind}: {record.name}:{record.tag} is {record.digest}")


def read(folder: Path = FOLDER) -> list[Record]:
    """Read what this checkout published last.

    Args:
        folder: Where the files are.

    Returns:
        At least one record.

    Raises:
        ReleaseError: There is none, or one does not hold a digest.
    """
    found = [Record(**json.loads(path.read_text("utf-8"))) for path in sorted(folder.glob("*.json"))]
    if not found or not all(DIGEST.fullmatch(record.digest) for record in found):
        raise ReleaseError(
            "nothing was published from here; `make release-image` or `make release-version` comes first"
        )
    return found


def forget(folder: Path = FOLDER) -> None:
    """Remove the records of an earlier release, so that nothing of it is signed with this one."""
    for path in folder.glob("*.json"):
        path.unlink()
