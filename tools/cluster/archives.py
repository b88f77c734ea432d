"""Image archives: knows how Docker writes an image of given files, without any daemon; runs nothing."""

import hashlib
import io
import json
import tarfile
from collections.abc import Mapping
from pathlib import Path

BINARIES = "usr/local/bin"


def write(target: Path, reference: str, files: Mapping[str, Path], config: Mapping[str, object]) -> None:
    """Write an image FROM scratch as an archive; the same files give the same bytes.

    Args:
        target: The archive.
        reference: The image's name and tag.
        files: The path in the image, without a leading slash, and the file; every one is executable.
        config: How a container starts when nothing else is said, in Docker's words: Entrypoint, User, Env.
    """
    layer = _layer(files)
    digest = hashlib.sha256(layer).hexdigest()
    image = {
        "architecture": "amd64",
        "os": "linux",
        "created": "1970-01-01T00:00:00Z",
        "config": {"WorkingDir": "/", **config},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
        "history": [{"created": "1970-01-01T00:00:00Z"}],
    }
    description = json.dumps(image).encode()
    name = f"{hashlib.sha256(description).hexdigest()}.json"
    manifest = [{"Config": name, "RepoTags": [reference], "Layers": [f"{digest}/layer.tar"]}]
    with tarfile.open(target, "w") as archive:
        _add(archive, f"{digest}/layer.tar", layer)
        _add(archive, name, description)
        _add(archive, "manifest.json", json.dumps(manifest).encode())


def _layer(files: Mapping[str, Path]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        folders = {parent for path in files for parent in Path(path).parents} | {Path("tmp")}
        for folder in sorted(str(folder) for folder in folders if folder != Path()):
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o1777 if folder == "tmp" else 0o755
            archive.addfile(entry)
        for path, file in sorted(files.items()):
            _add(archive, path, file.read_bytes(), mode=0o755)
    return stream.getvalue()


def _add(archive: tarfile.TarFile, name: str, content: bytes, mode: int = 0o644) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(content), mode
    archive.addfile(entry, io.BytesIO(content))
