"""Where bundles come from: a URI -> a local bundle folder; knows schemes and folders, not what is in a bundle.

The server reads folders only. Remote schemes are fetched by KServe's storage initializer before the server starts, so
here they are a mistake in the settings, and the error says how to put it right.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from model_server.errors import ConfigError
from model_server.sources import local
from model_server.sources.local import resolve

if TYPE_CHECKING:
    from model_server.approval import Record

_SCHEME = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]*)://")


def from_uri(uri: str, model_name: str | None, version: str | None = None) -> Path:
    """Find the folder of the bundle to serve.

    Args:
        uri: A path or ``file://`` URI of a bundle, of a model's folder, or of a registry.
        model_name: Name of the model; None will do for a bundle, or a registry that holds one model.
        version: The version to take, or None for the one in production.

    Returns:
        The bundle's folder. Nothing in it was checked or opened.

    Raises:
        ConfigError: The URI is empty or of a scheme that is not read here.
        BundleNotFound: There is no such bundle; the text lists what was found and the command that helps.
    """
    return resolve(_path(uri), model_name, version)


def record_of(directory: Path, uri: str) -> Record | None:
    """Read what the registry around a bundle says of its versions.

    Args:
        directory: What ``from_uri`` found.
        uri: Where it was looked for.

    Returns:
        The record; None for a bundle that lies by itself.

    Raises:
        BundleTampered: The history of the registry is needed and not valid.
    """
    return local.record_of(directory, _path(uri))


def _path(uri: str) -> Path:
    if not uri.strip():
        raise ConfigError("the model directory is empty: name a bundle's folder or a registry, for example ./artifacts")
    scheme = _SCHEME.match(uri)
    if scheme is None:
        return Path(uri)
    if scheme[1].lower() != "file":
        raise ConfigError(
            f"a {scheme[1].lower()}:// location is not read by the server itself: set STORAGE_URI to it on the "
            "container, so that KServe's storage initializer fetches it to /mnt/models, the model directory"
        )
    return _file_path(uri)


def _file_path(uri: str) -> Path:
    parts = urlsplit(uri)
    if parts.netloc not in ("", "localhost"):
        raise ConfigError("a file:// location needs an absolute path, as in file:///srv/artifacts")
    return Path(unquote(parts.path))
