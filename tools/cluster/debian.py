"""Root file systems: knows how to make one of Debian's packages, once, into the cache; knows nothing of images."""

import hashlib
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tools import gotools
from tools.errors import ClusterError
from tools.programs import ProgramError, run

SUITE = "bookworm"
#: What fills a root file system and no program reads.
WASTE = ("var/cache/apt/archives", "var/lib/apt/lists", "usr/share/doc", "usr/share/man", "usr/share/locale")


@dataclass(frozen=True)
class Root:
    """A root file system: what it is for, and the packages that it holds beyond the smallest Debian."""

    name: str
    packages: tuple[str, ...]

    @property
    def path(self) -> Path:
        """The archive in the cache, made or not."""
        digest = hashlib.sha256(" ".join((SUITE, *self.packages)).encode()).hexdigest()[:12]
        return gotools.cache() / f"root-{self.name}-{SUITE}-{digest}.tar"


def make(root: Root) -> Path:
    """Make a root file system unless it is there.

    Args:
        root: What it shall hold.

    Returns:
        The archive of it.

    Raises:
        ClusterError: debootstrap is missing, or this is not root.
        ProgramError: A package cannot be fetched.
    """
    if root.path.is_file():
        return root.path
    if os.geteuid() != 0 or not shutil.which("debootstrap"):
        raise ClusterError(
            "images are built here with debootstrap, as root; install it (on Debian: apt-get install debootstrap),"
            " or use E2E_IMAGES=pull where an image registry can be reached"
        )
    print(f"cluster: making the root file system `{root.name}`; once, a few minutes", flush=True)
    root.path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="root-") as scratch:
        folder = Path(scratch, "root")
        included = ",".join(root.packages)
        run(["debootstrap", "--variant=minbase", f"--include={included}", SUITE, folder, *_mirror()], timeout_s=1800)
        for waste in WASTE:
            shutil.rmtree(folder / waste, ignore_errors=True)
        draft = root.path.with_suffix(f".{os.getpid()}")
        run(["tar", "--numeric-owner", "-C", folder, "-cf", draft, "."])
        draft.rename(root.path)
    return root.path


def _mirror() -> list[str]:
    # The mirror that this machine's apt uses for the same suite; debootstrap has one of its own otherwise.
    try:
        listed = run(["apt-get", "indextargets", "--format", "$(REPO_URI)", f"Codename: {SUITE}", "Component: main"])
    except ProgramError:
        return []
    return listed.split()[:1]
