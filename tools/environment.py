"""The development environment: knows how to make .venv from the locks on a bare machine; knows no package index.

Run by the system's Python (3.11 or newer, standard library only) from `make setup`. pip brings uv, checked against its
hash in locks/uv.txt, and uv brings the rest, checked against locks/dev.txt. Where packages come from is what the
machine's own pip or uv configuration says. A stamp holds what it was made from: a second call does nothing.
"""

import argparse
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
UV_LOCK = ROOT / "locks" / "uv.txt"
DEV_LOCK = ROOT / "locks" / "dev.txt"

# What serving, training and their tests import: some 2,300 of the environment's 11,000 files. Two lists of little in
# common, for two cores.
IMPORTS = (
    "model_server.edge.server, pytest, hypothesis",
    "sklearn.compose, sklearn.datasets, sklearn.ensemble, sklearn.linear_model, matplotlib.backends.backend_svg",
)

# pip's key and the variable by which uv hears the same.
PIP_KEY_TO_UV_VARIABLE: Mapping[str, str] = {
    "index-url": "UV_DEFAULT_INDEX",
    "extra-index-url": "UV_INDEX",
    "find-links": "UV_FIND_LINKS",
    "trusted-host": "UV_INSECURE_HOST",
    "cert": "SSL_CERT_FILE",
}


class SetupError(Exception):
    """The environment cannot be made here; the text says what to do."""


def stamp_text() -> str:
    """Say what the environment is to be made from: the interpreter on the first line, the locks' hash on the second."""
    inputs = (DEV_LOCK, UV_LOCK, ROOT / "pyproject.toml")
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in inputs)).hexdigest()
    return f"{sys.version.split()[0]} {Path(sys.executable).resolve()}\n{digest}\n"


def uv_variables(pip_config: str, environment: Mapping[str, str]) -> dict[str, str]:
    """Translate pip's configuration into uv's variables, so that one configuration serves both.

    Args:
        pip_config: What `pip config list` printed.
        environment: The process environment; a variable that is set there wins.

    Returns:
        The variables to add.

    Example:
        >>> uv_variables("global.cert='/etc/ca.pem'", {})
        {'SSL_CERT_FILE': '/etc/ca.pem'}
        >>> uv_variables("global.cert='/etc/ca.pem'", {"SSL_CERT_FILE": "/mine.pem"})
        {}
    """
    found: dict[str, str] = {}
    for line in pip_config.splitlines():
        key, _, value = line.partition("=")
        variable = PIP_KEY_TO_UV_VARIABLE.get(key.rpartition(".")[2])
        if variable and variable not in environment:
            found[variable] = " ".join(value.strip("'\"").replace("\\n", " ").split())
    return found


def run(*command: str | Path, **extra: str) -> None:
    """Run a command with extra environment variables; a failure ends the setup."""
    words = [str(word) for word in command]
    try:
        subprocess.run(words, check=True, cwd=ROOT, env={**os.environ, **extra})
    except subprocess.CalledProcessError as error:
        raise SetupError(
            f"`{' '.join(words[:6])} …` failed (exit {error.returncode}); its own words are above"
        ) from error


@cache
def has_pip() -> bool:
    """Say whether this interpreter has a pip that runs: Debian shows every Python the one of its own."""
    return subprocess.run([sys.executable, "-m", "pip", "--version"], capture_output=True, check=False).returncode == 0


def has_ensurepip() -> bool:
    """Say whether this interpreter can make a pip; Debian's cannot without a further package."""
    return importlib.util.find_spec("ensurepip") is not None


def create(folder: Path) -> None:
    """Make the empty environment, with a pip of its own where the machine has none and this Python brings one.

    Args:
        folder: The environment.

    Raises:
        SetupError: No pip, ensurepip or uv; nothing is installed into the machine unasked.
    """
    if not (has_ensurepip() or has_pip() or shutil.which("uv")):
        raise SetupError(
            f"this Python ({sys.executable}) has neither pip nor ensurepip, and there is no uv; "
            f"install one of them first, on Debian as root: apt-get install python3.{sys.version_info.minor}-venv"
        )
    venv.create(folder, with_pip=has_ensurepip() and not has_pip(), clear=True, symlinks=True)


def uv_for(folder: Path) -> tuple[Path, dict[str, str]]:
    """Install the pinned uv beside the environment's packages, not among them; without any pip, take the machine's uv.

    Args:
        folder: The environment.

    Returns:
        The uv command and the variables that carry pip's configuration to it.
    """
    if not (has_pip() or has_ensurepip()):
        return Path(str(shutil.which("uv"))), {}
    pip = [sys.executable if has_pip() else folder / "bin" / "python", "-m", "pip"]
    target = folder / "uv"
    checked = ("--upgrade", "--require-hashes", "--no-deps")
    words = ("--quiet", "--no-cache-dir", *checked, "--target", target, "-r", UV_LOCK)
    run(*pip, "install", *words, PIP_ROOT_USER_ACTION="ignore")  # it warns of the machine's packages: none is touched
    config = subprocess.run([*pip, "config", "list"], check=True, capture_output=True, text=True).stdout
    return target / "bin" / "uv", uv_variables(config, os.environ)


def fill(folder: Path, uv: Path, variables: dict[str, str]) -> None:
    """Install exactly the locked packages and the checkout itself, and compile what will be imported to bytecode."""
    variables = {**variables, "VIRTUAL_ENV": str(folder)}
    if not os.access(os.environ.get("HOME", ""), os.W_OK):
        variables.setdefault("UV_CACHE_DIR", str(folder / "uv-cache"))
    run(uv, "pip", "sync", "--quiet", "--require-hashes", DEV_LOCK, **variables)
    checkout = ("--no-deps", "--no-build-isolation", "--offline", "--editable", ROOT)
    run(uv, "pip", "install", "--quiet", *checkout, **variables)

    def compile_all(modules: str) -> None:
        # Now, whatever PYTHONDONTWRITEBYTECODE says: else each start of the server takes seconds more.
        run(folder / "bin" / "python", "-c", f"import {modules}", PYTHONDONTWRITEBYTECODE="")

    with ThreadPoolExecutor() as pool:
        list(pool.map(compile_all, IMPORTS))  # the list asks for each result, and so for what it raised


def ensure(folder: Path) -> None:
    """Make the environment, or mend it when the locks changed, or do nothing when it is already what they say."""
    stamp = folder / "stamp"
    wanted = stamp_text()
    found = stamp.read_text("utf-8") if stamp.is_file() else ""
    if found == wanted:
        stamp.touch()
        return
    print(f"setup: {folder} from locks/dev.txt, with Python {sys.version.split()[0]}", flush=True)
    if found.splitlines()[:1] != wanted.splitlines()[:1]:
        stamp.unlink(missing_ok=True)
        create(folder)
    fill(folder, *uv_for(folder))
    stamp.write_text(wanted, "utf-8")


def main() -> int:
    """Read the one argument, make the environment, turn a failure into one clear line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="where the environment goes")
    folder: Path = parser.parse_args().folder.absolute()
    try:
        ensure(folder)
    except SetupError as error:
        print(f"setup: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
