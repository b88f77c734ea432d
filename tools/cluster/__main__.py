"""The commands `up`, `down` and `build`: knows the order of the steps and their times; each step is another module."""

import argparse
import hashlib
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from tools import gotools
from tools.cluster import docker, ingress, kind, knative, kserve, names, node, origin, server, sources
from tools.errors import ClusterError
from tools.programs import ProgramError

#: What a first build takes, most of it for Go's caches.
DISK_NEEDED_GB = 30


@contextmanager
def step(name: str, *, at_least_s: float = 0.0) -> Iterator[None]:
    """Say how long a step took, unless it was shorter than what is worth a line."""
    started = time.monotonic()
    yield
    took_s = time.monotonic() - started
    if took_s >= at_least_s:
        print(f"cluster: {name:28} {took_s:6.1f} s", flush=True)


def up() -> None:
    """Make the cluster with all that the tests need, from whatever is there already.

    Raises:
        ClusterError: Something is missing here, or a step took too long; the text says what to do.
        ProgramError: A step failed; the text says which.
    """
    docker.demand()
    built = origin.is_built()
    print(f"cluster: images are {'built here' if built else 'pulled'} (E2E_IMAGES)", flush=True)
    if built:
        warn_of_little_disk()
        image = build()
    else:
        with step("the server's image"):
            server.build(built=False)
        image = None
    if not kind.runs(image):
        with step("kind create cluster"):
            kind.delete()
            kind.create(image)
    with ThreadPoolExecutor(max_workers=1) as beside:
        loaded = beside.submit(_timed, "load the server's image", partial(kind.load_image, server.image()))
        if built:
            with step("resolve names without a host"):
                names.detach()
        install(built=built)
        loaded.result()
    url = f"http://127.0.0.1:{kind.INGRESS_PORT}"
    print(f"cluster: ready; context {kind.CONTEXT}, ingress {url}, image {server.image()}")


def install(*, built: bool) -> None:
    """Install what runs on the cluster, unless this version of it is there."""
    # Knative first: KServe's controller looks once, at its start, whether there is any.
    for name, part in (("Knative Serving", knative), ("KServe", kserve), ("ingress", ingress)):
        mark = f"{name.replace(' ', '-')}-{fingerprint()}"
        if not kind.has(mark):
            with step(name):
                part.install(built=built)
            kind.remember(mark)


def fingerprint() -> str:
    """Hash what the cluster's parts are made from: another version of it installs them anew."""
    digest = hashlib.sha256()
    for part in sources.parts():
        digest.update(f"{part} {gotools.fingerprint(part.tool)}".encode())
    for file in sorted(path for path in Path(__file__).parent.rglob("*") if path.is_file() and path.suffix != ".pyc"):
        digest.update(file.read_bytes())
    return digest.hexdigest()[:12]


def warn_of_little_disk() -> None:
    """Say so when a first build may not fit."""
    free = shutil.disk_usage(gotools.cache().parent if gotools.cache().parent.is_dir() else Path.home()).free / 1e9
    if free < DISK_NEEDED_GB:
        print(f"cluster: {free:.0f} GB are free; a first build may need {DISK_NEEDED_GB}", file=sys.stderr, flush=True)


def build() -> str:
    """Build every binary and image that is not there yet.

    Two at a time: one waits for packages or links on one core while the other compiles. What fails ends the rest before
    it starts.

    Returns:
        The node's image.
    """
    tools = dict.fromkeys([*(part.tool for part in sources.parts()), "kind"])
    work: list[tuple[str, Callable[[], object]]] = [
        (tool, partial(gotools.build, tool, next(iter(gotools.binaries(tool))))) for tool in tools
    ]
    # Kubernetes takes longest and stands first; what only fetches goes beside it.
    work[1:1] = [
        ("the server's image", partial(server.build, built=True)),
        ("the node's packages", partial(docker.from_root, sources.NODE)),
    ]
    with step("binaries and images"), ThreadPoolExecutor(max_workers=2) as pool:
        made = [pool.submit(_timed, name, make) for name, make in work]
        wait(made, return_when=FIRST_EXCEPTION)
        pool.shutdown(wait=False, cancel_futures=True)
        for each in made:
            if not each.cancelled():
                each.result()
    with step("the node's image"):
        return node.image([ingress.image()])


def _timed(name: str, make: Callable[[], object]) -> None:
    with step(name, at_least_s=1.0):
        make()


def main() -> int:
    """Run one of the commands."""
    parser = argparse.ArgumentParser(prog="python -m tools.cluster", description=__doc__)
    parser.add_argument("command", choices=("up", "down", "build"))
    command = parser.parse_args().command
    started = time.monotonic()
    try:
        docker.demand()
        {"up": up, "down": kind.delete, "build": build}[command]()
    except (ClusterError, ProgramError, gotools.ToolsError) as error:
        print(f"cluster: {error}", file=sys.stderr)
        return 1
    print(f"cluster: {command} took {time.monotonic() - started:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
