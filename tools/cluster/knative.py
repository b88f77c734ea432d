"""Knative Serving on the cluster: knows its objects and how they must be set; knows nothing of KServe."""

import re
from collections.abc import Iterator
from typing import Any

import yaml

from tools import gotools, objects
from tools.cluster import sources
from tools.objects import Object

NAMESPACE = "knative-serving"
SOURCES = gotools.MODULES / "sources.sum"
#: Where the published images are, by the name of their command; serving 0.48.1 is Knative 1.21.1.
PUBLISHED = "gcr.io/knative-releases/knative.dev/serving/cmd/{}:v1.21.1"
INGRESS_CLASS = "model-server.ingress"


def install(*, built: bool) -> None:
    """Install Knative Serving and wait until it answers.

    Args:
        built: With the images that are made here, else with the published ones.
    """
    found = [_adapted(each, built=built) for each in manifests() if each["kind"] != "HorizontalPodAutoscaler"]
    cached = [each for each in found if each["kind"] == "Image"]
    objects.apply(each for each in found if each not in cached)
    objects.wait_for_deployments(NAMESPACE)
    objects.apply(cached)


def manifests() -> Iterator[Object]:
    """Read the objects of a release from the modules of Knative's sources."""
    folders = {
        "knative.dev/serving": "config/core",
        "knative.dev/networking": "config",
        "knative.dev/caching": "config",
    }
    for module, folder in folders.items():
        for file in sorted(gotools.source(module, SOURCES).joinpath(folder).rglob("*.yaml")):
            yield from (each for each in yaml.load_all(file.read_text("utf-8"), yaml.CSafeLoader) if each)


def _image(reference: str, *, built: bool) -> str:
    name = re.sub(r"^ko://.*/cmd/", "", reference)
    if built:
        return next(part.reference for part in sources.knative() if part.binary == name)
    return PUBLISHED.format(name)


def _adapted(each: Object, *, built: bool) -> Object:
    if each["kind"] == "ConfigMap":
        _configure(each, built=built)
    elif each["kind"] == "Image":
        each["spec"]["image"] = _image(each["spec"]["image"], built=built)
    elif each["kind"] == "Deployment":
        for container in each["spec"]["template"]["spec"]["containers"]:
            _adapt_container(container, built=built)
    return each


def _adapt_container(container: dict[str, Any], *, built: bool) -> None:
    container["image"] = _image(container["image"], built=built)
    container["resources"] = {"requests": {"cpu": "20m", "memory": "40Mi"}}


def _configure(each: Object, *, built: bool) -> None:
    # The examples are long, and a checksum guards them against edits.
    each["metadata"].pop("annotations", None)
    data: dict[str, str] = each.setdefault("data", {})
    data.pop("_example", None)
    name = each["metadata"]["name"]
    if name == "config-network":
        data["ingress-class"] = INGRESS_CLASS
    if name == "config-domain":
        data["example.com"] = ""
    if name == "config-deployment":
        data["queue-sidecar-image"] = _image(data["queue-sidecar-image"], built=built)
        # A tag that only the node has cannot be looked up in any registry.
        data["registries-skipping-tag-resolving"] = f"{sources.REGISTRY},ko.local,dev.local,index.docker.io"
