"""The image of a commit: knows how to publish what was built here, once; builds nothing and asks it nothing."""

import json

from tools.programs import run
from tools.release.place import ReleaseError, commit_tag
from tools.release.record import Record
from tools.release.registry import Registry

REVISION = "org.opencontainers.image.revision"


def publish(registry: Registry, commit: str, local: str) -> Record:
    """Push an image under its commit's tag.

    Args:
        registry: Where to.
        commit: The commit it was built of.
        local: The name that the Docker daemon here has for it.

    Returns:
        What was published.

    Raises:
        ReleaseError: The tag is there already, the image is of another commit, or the registry has another image now.
        ProgramError: Docker failed.
    """
    tag = commit_tag(commit)
    registry.demand_free(tag)
    found = json.loads(run(["docker", "image", "inspect", "--format", "{{json .}}", local]))
    labels = found.get("Config", {}).get("Labels") or {}
    if labels.get(REVISION) != commit:
        raise ReleaseError(f"{local} was not built of the commit that is checked out; `make image` builds it")
    name = f"{registry.repository}:{tag}"
    run(["docker", "tag", local, name])
    run(["docker", "push", name], timeout_s=1800)
    manifest = registry.demand(tag)
    if found["Id"] not in manifest.image_ids:
        raise ReleaseError(f"{name} is not the image that is here; somebody else published at the same time")
    return Record("image", str(registry.repository), tag, manifest.digest, commit)


def promote(registry: Registry, commit: str, version: str) -> Record:
    """Give the image of a commit its version as a second tag; not a byte of it changes.

    Args:
        registry: Where it is.
        commit: The commit it was built of.
        version: Three numbers; the tag has a v in front.

    Returns:
        What was published.

    Raises:
        ReleaseError: The commit has no image, or the version's tag is there already.
    """
    manifest = registry.demand(commit_tag(commit))
    registry.add(f"v{version}", manifest)
    return Record("image", str(registry.repository), f"v{version}", manifest.digest, commit)
