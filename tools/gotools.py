"""The Go tools of the tests: knows how to build them once, pinned, into a cache; knows nothing of charts and clusters.

Each tool is a module of its own in tools/go: its go.mod names one version and what to build of it, its go.sum the hash
of every module that is compiled in. What was built lies in a folder named after a hash of both, so another version is
another folder. Where there is no Go that is new enough, the wheel of locks/go.txt brings the whole toolchain, into the
same cache.
"""

import argparse
import functools
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from tools import wheels

ROOT = Path(__file__).resolve().parent.parent
MODULES = ROOT / "tools" / "go"
GO_LOCK = ROOT / "locks" / "go.txt"
GO_NEEDED = (1, 26)

#: The Kubernetes version that Helm 3 takes without a cluster; without the flags it is 1.20. Helm 4 has its own.
KUBERNETES = {"Major": "1", "Minor": "34"}
CAPABILITIES = "helm.sh/helm/v3/pkg/chartutil"
VERSION_VARIABLES: Mapping[str, str] = {
    "helm3": "helm.sh/helm/v3/internal/version.version",
    "helm4": "helm.sh/helm/v4/internal/version.version",
}
#: In this order, and one after the other: the three of Helm share most of what is compiled.
TOOLS = ("helm-unittest", "helm3", "helm4", "kubeconform", "actionlint", "helm-docs", "oasdiff", "crane")
#: kubeadm compares these with the version it is asked to install.
KUBERNETES_VERSION = "k8s.io/component-base/version"


class ToolsError(Exception):
    """A tool cannot be built here; the text says what to do."""


def cache(environment: Mapping[str, str] = os.environ, part: str = "tools") -> Path:
    """Give the folder that outlives the checkout, for the tools or for another part of what is kept.

    >>> str(cache({"XDG_CACHE_HOME": "/var/cache"}))
    '/var/cache/model-server/tools'
    """
    home = environment.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(home, "model-server", part)


def fingerprint(name: str) -> str:
    """Hash what a tool is made from: its module files and the flags it is linked with."""
    parts = [path.read_bytes() for path in sorted(MODULES.joinpath(name).glob("*")) if path.is_file()]
    return hashlib.sha256(b"".join([*parts, link_flags(name).encode()])).hexdigest()[:12]


def packages(name: str) -> list[str]:
    """Read from its go.mod which packages a tool consists of; the folder's own where it names none."""
    text = MODULES.joinpath(name, "go.mod").read_text("utf-8")
    block = re.search(r"^tool (?:\(\n(.*?)^\)|(\S+)$)", text, re.MULTILINE | re.DOTALL)
    return (block[1] or block[2]).split() if block else ["."]


def version(name: str) -> str:
    """Read from its go.mod which version of a tool is pinned."""
    text = MODULES.joinpath(name, "go.mod").read_text("utf-8")
    required = re.findall(r"^(?:require )?\s*(\S+) (v\S+)", text, re.MULTILINE)
    wanted = packages(name)
    if wanted == ["."]:
        return "v0"
    found: list[str] = [number for module, number in required if f"{wanted[0]}/".startswith(f"{module}/")]
    if not found:
        raise ToolsError(f"tools/go/{name}/go.mod needs the version of the module of its line `tool PACKAGE`")
    return found[0]


def link_flags(name: str) -> str:
    """Say how a tool is linked: without debug tables, and with the versions it shows and supposes."""
    flags = ["-s", "-w"]
    if name in VERSION_VARIABLES:
        flags.append(f"-X {VERSION_VARIABLES[name]}={version(name)}")
    if name in ("helm3", "helm-unittest"):
        flags += [f"-X {CAPABILITIES}.k8sVersion{part}={number}" for part, number in KUBERNETES.items()]
    if name == "kubernetes":
        number = version(name)
        _, major, minor, _ = re.split(r"[v.]", number)
        values = {"gitVersion": number, "gitMajor": major, "gitMinor": minor, "gitTreeState": "clean"}
        flags += [f"-X {KUBERNETES_VERSION}.{variable}={value}" for variable, value in values.items()]
    return " ".join(flags)


def folder_of(name: str) -> Path:
    """Give the folder of a tool's binaries, built or not."""
    return cache() / f"{name}-{version(name)}-{fingerprint(name)}"


def binaries(name: str) -> dict[str, str]:
    """Say which binaries a tool has: one named after it, or one a package where it has several packages."""
    wanted = packages(name)
    return {name: wanted[0]} if len(wanted) == 1 else {package.rpartition("/")[2]: package for package in wanted}


def is_new_enough(answer: str) -> bool:
    """Say whether `go version` names a Go that can build the tools.

    >>> is_new_enough("go version go1.27.3 linux/amd64"), is_new_enough("go version go1.22 linux/amd64")
    (True, False)
    """
    found = re.search(r"\bgo(\d+)\.(\d+)", answer)
    return found is not None and (int(found[1]), int(found[2])) >= GO_NEEDED


@functools.cache
def go() -> str:
    """Find a Go toolchain: the machine's if it is new enough, else the one of locks/go.txt, fetched once."""
    found = shutil.which("go")
    if found:
        answer = subprocess.run([found, "version"], capture_output=True, text=True, check=False).stdout
        if is_new_enough(answer):
            return found
    return str(_fetched_go())


def _fetched_go() -> Path:
    try:
        folder = wheels.fetch(GO_LOCK, cache())
    except subprocess.CalledProcessError as error:
        raise ToolsError(
            "no Go 1.26 or newer here, and its wheel cannot be had either; its own words are above"
        ) from error
    found = [path for path in (*folder.rglob("bin/go"), *folder.rglob("go/bin/go")) if os.access(path, os.X_OK)]
    if not found:
        raise ToolsError("the wheel of locks/go.txt holds no go command for this machine; install Go 1.26 or newer")
    return next((path for path in found if path.parent.parent.joinpath("src").is_dir()), found[0])


def _run(command: list[str], folder: Path) -> str:
    # -buildvcs=false: the tools are no part of the checkout's history. GOTOOLCHAIN=local: nothing fetches another Go.
    environment = {
        **os.environ,
        "CGO_ENABLED": "0",
        "GOTOOLCHAIN": "local",
        "GOFLAGS": "-buildvcs=false",
        "GOWORK": "off",
    }
    done = subprocess.run(command, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise ToolsError(f"`{' '.join(command[:4])} …` in {folder.name} failed; its own words are above")
    return done.stdout


def build(name: str, binary: str | None = None) -> Path:
    """Build a tool unless it is there, all its binaries at once: they share most of what is compiled.

    Args:
        name: A folder of tools/go.
        binary: Which one is wanted, of a tool that has several; otherwise it is named after the tool.

    Returns:
        The binary.

    Raises:
        ToolsError: There is no Go, a module cannot be fetched, or one is not what go.sum says.
    """
    target = folder_of(name) / (binary or name)
    if target.is_file():
        return target
    wanted = binaries(name)
    print(f"tools: building {name} {version(name)}; once, up to some minutes", flush=True)
    target.parent.mkdir(parents=True, exist_ok=True)
    flags = ["-mod=readonly", "-trimpath", "-ldflags", link_flags(name)]
    # What is drafted here is moved into place whole, whoever else builds the same.
    with tempfile.TemporaryDirectory(prefix=f"{name}-", dir=cache()) as scratch:
        place = scratch if len(wanted) > 1 else str(Path(scratch, name))
        _run([go(), "build", *flags, "-o", place, *wanted.values()], MODULES / name)
        for built in wanted:
            Path(scratch, built).rename(target.parent / built)
    return target


def source(module: str, sums: Path) -> Path:
    """Fetch a module for the files in it.

    Args:
        module: A module path.
        sums: A file in the form of go.sum, with the version and the hash that the module must have.

    Returns:
        The module's folder, read-only.

    Raises:
        ToolsError: The module is not listed, cannot be fetched, or has another hash.
    """
    pins = {path: (number, digest) for path, number, digest in map(str.split, sums.read_text("utf-8").splitlines())}
    if module not in pins:
        raise ToolsError(f"{sums.name} has no line for {module}; add one with its version and hash")
    number, digest = pins[module]
    with tempfile.TemporaryDirectory() as scratch:
        answer = json.loads(_run([go(), "mod", "download", "-json", f"{module}@{number}"], Path(scratch)))
    if answer["Sum"] != digest:
        raise ToolsError(f"{module} {number} is not what {sums.name} says; was the line changed by hand?")
    return Path(answer["Dir"])


def main() -> int:
    """Build every tool, or print the path of one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--path", choices=TOOLS, help="print where this tool lies and build nothing else")
    wanted: str | None = parser.parse_args().path
    try:
        paths = {name: build(name) for name in ([wanted] if wanted else TOOLS)}
    except ToolsError as error:
        print(f"tools: {error}", file=sys.stderr)
        return 1
    for name, path in paths.items():
        print(path if wanted else f"{name:14} {version(name):9} {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
