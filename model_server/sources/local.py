"""The local registry as folders: ``<root>/<name>/<version>/`` and pointer files; knows how to read it, not to write it.

A pointer (``production``, ``candidate``) is a text file in ``<root>/<name>/`` that holds one version; beside them,
``history.jsonl`` has one line a change of production. Only what ``production`` names is found, unless a version is
asked for; whether that one may be served is not decided here.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import orjson
from pydantic import TypeAdapter, ValidationError

from model_server.approval import Promotion, Record
from model_server.bundle import MANIFEST
from model_server.errors import BundleNotFound, BundleTampered, describe
from model_server.manifest import SemVer

if TYPE_CHECKING:
    from pathlib import Path

PRODUCTION, CANDIDATE, HISTORY = "production", "candidate", "history.jsonl"
_KEPT = (PRODUCTION, CANDIDATE, HISTORY)
_SEMVER: TypeAdapter[str] = TypeAdapter(SemVer)


def resolve(path: Path, model_name: str | None, version: str | None = None) -> Path:
    """Find a bundle's folder under a path.

    Args:
        path: A bundle, a folder of versions, or a registry of such folders.
        model_name: Which folder of a registry to look in, or None where it holds one model only.
        version: The version to take, or None for the one in production.

    Returns:
        The bundle's folder.

    Raises:
        BundleNotFound: There is no such bundle; the text lists what was found and the command that helps.
    """
    if (path / MANIFEST).is_file():
        return _of_version(path, version)
    held = models(path)
    name = held[0] if model_name is None and len(held) == 1 else model_name
    for folder in (path / name, path) if name is not None else (path,):
        if versions(folder) or read_pointer(folder, PRODUCTION):
            return _in_model(folder, version)
    raise BundleNotFound(_nothing(path, model_name))


def versions(folder: Path) -> list[str]:
    """List the versions that a model's folder holds, lowest first by semantic version; empty for no folder."""
    if not folder.is_dir():
        return []
    found = [entry.name for entry in folder.iterdir() if is_version(entry.name) and (entry / MANIFEST).is_file()]
    return sorted(found, key=precedence)


def models(root: Path) -> list[str]:
    """List the models of a registry, by name."""
    if not root.is_dir():
        return []
    return sorted(entry.name for entry in root.iterdir() if entry.is_dir() and versions(entry))


def read_pointer(folder: Path, pointer: str) -> str | None:
    """Read which version a pointer names; None when there is no such pointer."""
    try:
        return (folder / pointer).read_text(encoding="utf-8").strip() or None
    except (OSError, UnicodeDecodeError):
        return None


def record_of(bundle: Path, asked: Path) -> Record | None:
    """Read what the registry around a bundle says of its versions.

    Args:
        bundle: The bundle's folder.
        asked: The path by which it was found: its own, its model's or a registry's.

    Returns:
        The record; None for a bundle that was named by its own folder and lies in no registry.

    Raises:
        BundleTampered: The history is not valid, and the bundle is not in production anyway.
    """
    if bundle != asked:
        return _record(bundle.parent, bundle.name)
    for place in (bundle.absolute(), bundle.resolve()):  # a link may lead into a registry, or out of it
        if any((place.parent / name).is_file() for name in _KEPT):
            return _record(place.parent, place.name)
    return None


def _record(folder: Path, version: str) -> Record:
    production = read_pointer(folder, PRODUCTION)
    # A damaged history must not take the version off the air that is in production.
    return Record(folder, production, () if version == production else _history(folder))


def _history(folder: Path) -> tuple[Promotion, ...]:
    path = folder / HISTORY
    try:
        lines = path.read_bytes().splitlines()
    except OSError:
        return ()
    return tuple(_promotion(path, number, line) for number, line in enumerate(lines, 1) if line.strip())


def _promotion(path: Path, number: int, line: bytes) -> Promotion:
    try:
        return Promotion.model_validate_json(line)
    except ValidationError as error:
        raise BundleTampered(
            f"{path}, line {number}, is no change of production ({describe(error)}): restore that file"
        ) from error


def is_version(text: str) -> bool:
    """Say whether a text is a semantic version, and so a safe folder name.

    >>> is_version("1.2.0-rc.1"), is_version("../1.2.0"), is_version("latest")
    (True, False, False)
    """
    try:
        _SEMVER.validate_python(text)
    except ValidationError:
        return False
    return True


def precedence(version: str) -> tuple[tuple[int, ...], bool, tuple[tuple[int, int, str], ...]]:
    """Sort key of a semantic version: numbers by value, a pre-release before its release.

    >>> sorted(["1.10.0", "1.9.0", "1.10.0-rc.1", "1.10.0-rc"], key=precedence)
    ['1.9.0', '1.10.0-rc', '1.10.0-rc.1', '1.10.0']
    """
    core, _, tail = version.partition("-")
    marks = tuple((0, int(part), "") if part.isdecimal() else (1, 0, part) for part in re.split(r"\.", tail) if part)
    return tuple(map(int, core.split("."))), not tail, marks


def _of_version(bundle: Path, version: str | None) -> Path:
    held = _held_version(bundle)
    if version is not None and held is not None and held != version:
        raise BundleNotFound(
            f"{bundle} is version {held}, but version {version} was asked for: "
            "name the folder of that version, or ask for none"
        )
    return bundle


def _held_version(bundle: Path) -> str | None:
    # Only to refuse early: whether the manifest is valid and true is checked when the bundle is verified.
    try:
        manifest = orjson.loads((bundle / MANIFEST).read_bytes())
    except (OSError, orjson.JSONDecodeError):
        return None
    return str(manifest["version"]) if isinstance(manifest, dict) and "version" in manifest else None


def _in_model(folder: Path, version: str | None) -> Path:
    pointed = read_pointer(folder, PRODUCTION)
    wanted = version if version is not None else pointed
    if wanted is None:
        raise BundleNotFound(f"no version of {folder.name} is in production: {_found(folder)}; {_promote(folder)}")
    if not is_version(wanted) or not (folder / wanted / MANIFEST).is_file():
        reason = "was asked for" if version is not None else "is named by its production pointer"
        raise BundleNotFound(
            f"{folder} holds no bundle of version {wanted!r}, which {reason}: {_found(folder)}; {_promote(folder)}"
        )
    return folder / wanted


def _found(folder: Path) -> str:
    held = ", ".join(versions(folder)) or "none"
    pointers = {name: read_pointer(folder, name) for name in (PRODUCTION, CANDIDATE)}
    told = ", ".join(f"{name} is {version}" for name, version in pointers.items() if version) or "no production pointer"
    return f"found versions {held}; {told}"


def _promote(folder: Path) -> str:
    version = (versions(folder) or ["VERSION"])[-1]
    return (
        f"put one into production with 'python -m training promote {folder.name} {version} --registry {folder.parent}'"
    )


def _nothing(path: Path, model_name: str | None) -> str:
    train = f"make one with 'python -m training run CONFIG --registry {path} --promote'"
    if not path.is_dir():
        return f"no bundle at {path}: there is no such folder; {train}"
    held = models(path)
    if not held:
        return f"no bundle at {path}: it holds neither {MANIFEST} nor a folder {model_name or 'NAME'}/VERSION/; {train}"
    if model_name is None:
        return f"the registry {path} holds several models: choose one of {', '.join(held)} with model_name"
    return f"no model {model_name!r} in the registry {path}: found {', '.join(held)}; choose one of them or {train}"
