"""The chart of a version: knows how to package it so that it deploys one digest, and to publish that once."""

import hashlib
import json
import re
import shutil
from pathlib import Path

from tools.clients import ask_helm
from tools.release.checkout import CHART
from tools.release.place import ReleaseError, Repository
from tools.release.record import Record
from tools.release.registry import Registry

#: A release that is rendered only to be looked at.
PROBE = ("--set", "model.name=probe", "--set", "model.storageUri=pvc://models/probe")


def pin(values: str, image: Repository, digest: str) -> str:
    """Write an image into the text of values.yaml, comments and all.

    Args:
        values: The text.
        image: Where the image is.
        digest: What it is; without a tag beside it, nothing else can be meant.

    Returns:
        The new text.

    Raises:
        ReleaseError: The text has no such block any more.
    """
    head, found, rest = values.partition("\nimage:\n")
    block = re.match(r"(?:[ \t].*\n|\n)+", rest)
    if not found or block is None:
        raise ReleaseError("values.yaml of the chart has no block `image:`; tools/release/chart.py must follow it")
    text = block[0]
    for key, value in (("registry", image.host), ("repository", image.path), ("tag", ""), ("digest", digest)):
        text, count = re.subn(rf"^  {key}: .*$", f'  {key}: "{value}"', text, flags=re.MULTILINE)
        if count != 1:
            raise ReleaseError(f"values.yaml of the chart has no image.{key}; tools/release/chart.py must follow it")
    return head + found + text + rest[block.end() :]


def package(image: Record, version: str, folder: Path) -> Path:
    """Package the chart with an image's digest as its own default, and look at what it deploys.

    Args:
        image: The image.
        version: The chart's version, which Chart.yaml has.
        folder: Where the work and the package go.

    Returns:
        The package.

    Raises:
        ReleaseError: The package would deploy another image.
        ProgramError: Helm failed.
    """
    copy = folder / "chart" / CHART.name
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(CHART, copy)
    host, _, path = image.name.partition("/")
    values = copy / "values.yaml"
    values.write_text(pin(values.read_text("utf-8"), Repository(host, path), image.digest), "utf-8")
    ask_helm("package", str(copy), "--destination", str(folder))
    packaged = folder / f"{CHART.name}-{version}.tgz"
    if not packaged.is_file():
        raise ReleaseError(f"Helm made no {packaged.name}; is that the version in Chart.yaml?")
    deployed = set(
        re.findall(r"^\s*-?\s*image: (\S+)$", ask_helm("template", "probe", str(packaged), *PROBE), re.MULTILINE)
    )
    if {name.strip('"') for name in deployed} != {image.reference}:
        raise ReleaseError("the packaged chart deploys another image than the one that was published")
    return packaged


def publish(registry: Registry, packaged: Path, version: str, commit: str) -> Record:
    """Push a packaged chart.

    Args:
        registry: Where to; its path ends in the chart's name.
        packaged: The package.
        version: The chart's version, which becomes the tag.
        commit: The commit it was made of.

    Returns:
        What was published.

    Raises:
        ReleaseError: The version is there already, or the registry has another package now.
        ProgramError: Helm failed.
    """
    registry.demand_free(version)
    where = str(registry.repository).removesuffix(f"/{CHART.name}")
    ask_helm("push", str(packaged), f"oci://{where}", *(["--plain-http"] if registry.repository.plain else []))
    manifest = registry.demand(version)
    digest = f"sha256:{hashlib.sha256(packaged.read_bytes()).hexdigest()}"
    if digest not in {layer["digest"] for layer in json.loads(manifest.content)["layers"]}:
        raise ReleaseError(f"{registry.repository}:{version} is not the package that is here; publish one at a time")
    return Record("chart", str(registry.repository), version, manifest.digest, commit)
