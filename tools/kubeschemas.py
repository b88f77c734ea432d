"""JSON schemas of the kinds that the chart renders: knows CRDs and Kubernetes' OpenAPI, no chart.

The sources are Go modules whose hashes stand in tools/go/sources.sum; what is made from them lies in the tools' cache.
Every object is closed, as the API server's strict validation closes it: a misspelt field is an error.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from tools import gotools

Schema = dict[str, Any]

SOURCES = gotools.MODULES / "sources.sum"
CRDS: Mapping[str, str] = {
    "github.com/kserve/kserve": "config/crd/full/serving.kserve.io_inferenceservices.yaml",
    "github.com/prometheus-operator/prometheus-operator": (
        "example/prometheus-operator-crd/monitoring.coreos.com_podmonitors.yaml"
    ),
}
KUBERNETES = ("k8s.io/kubernetes", "api/openapi-spec/swagger.json")
KINDS: Mapping[str, str] = {
    "configmap_v1": "io.k8s.api.core.v1.ConfigMap",
    "networkpolicy_v1": "io.k8s.api.networking.v1.NetworkPolicy",
    "pod_v1": "io.k8s.api.core.v1.Pod",
    "poddisruptionbudget_v1": "io.k8s.api.policy.v1.PodDisruptionBudget",
    "secret_v1": "io.k8s.api.core.v1.Secret",
    "serviceaccount_v1": "io.k8s.api.core.v1.ServiceAccount",
}
#: Where kubeconform finds the schema of an object.
TEMPLATE = "{{.ResourceKind}}_{{.ResourceAPIVersion}}.json"
_DEFINITION = "#/definitions/"


def folder() -> Path:
    """Give the folder of the schemas, which is made when it is not there."""
    made_from = SOURCES.read_bytes() + Path(__file__).read_bytes()
    target = gotools.cache() / f"schemas-{hashlib.sha256(made_from).hexdigest()[:12]}"
    if not target.is_dir():
        draft = target.with_suffix(".draft")
        draft.mkdir(parents=True, exist_ok=True)
        for name, schema in _schemas():
            draft.joinpath(f"{name}.json").write_text(json.dumps(schema), "utf-8")
        draft.rename(target)
    return target


def closed(schema: Any) -> Any:
    """Forbid what a schema does not name, at every depth, unless it says that anything goes there.

    >>> closed({"properties": {"a": {"type": "string"}}})["additionalProperties"]
    False
    >>> "additionalProperties" in closed({"properties": {}, "x-kubernetes-preserve-unknown-fields": True})
    False
    """
    if isinstance(schema, list):
        return [closed(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    is_open = "additionalProperties" in schema or schema.get("x-kubernetes-preserve-unknown-fields")
    found = {key: closed(value) for key, value in schema.items()}
    if isinstance(schema.get("properties"), dict) and not is_open:
        found["additionalProperties"] = False
    return found


def of_definition(name: str, definitions: Mapping[str, Schema]) -> Schema:
    """Write an OpenAPI definition without references.

    Args:
        name: Of a definition that does not hold itself.
        definitions: All of them, by name.

    Returns:
        A JSON schema that stands alone.
    """
    found: Schema = closed(_resolved(definitions[name], definitions))
    return found


def _resolved(schema: Any, definitions: Mapping[str, Schema]) -> Any:
    if isinstance(schema, list):
        return [_resolved(item, definitions) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if isinstance(schema.get("$ref"), str):
        return _resolved(definitions[schema["$ref"].removeprefix(_DEFINITION)], definitions)
    if schema.get("format") == "int-or-string":
        return {"type": ["integer", "string"]}
    return {key: _resolved(value, definitions) for key, value in schema.items()}


def of_crd(text: str) -> Iterator[tuple[str, Schema]]:
    """Give the schema of each version that a CustomResourceDefinition serves, by `kind_version`."""
    spec = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))["spec"]  # noqa: S506 - both are safe loaders
    for version in spec["versions"]:
        schema = closed(version["schema"]["openAPIV3Schema"])
        schema["properties"]["metadata"] = {"type": "object"}
        yield f"{spec['names']['singular']}_{version['name']}", schema


def _schemas() -> Iterator[tuple[str, Schema]]:
    for module, path in CRDS.items():
        yield from of_crd(gotools.source(module, SOURCES).joinpath(path).read_text("utf-8"))
    module, path = KUBERNETES
    definitions = json.loads(gotools.source(module, SOURCES).joinpath(path).read_text("utf-8"))["definitions"]
    for name, definition in KINDS.items():
        yield name, of_definition(definition, definitions)


if __name__ == "__main__":
    print(folder())
