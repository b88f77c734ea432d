"""Objects of a cluster: knows how to apply many, in the order they need, and to wait; knows no kind in particular."""

import time
from collections.abc import Callable, Iterable, Mapping
from functools import cache, partial
from typing import Any

from kubernetes import config, dynamic
from kubernetes.client.exceptions import ApiException
from kubernetes.dynamic.exceptions import ResourceNotFoundError
from urllib3.exceptions import HTTPError

from tools.errors import ClusterError

Object = dict[str, Any]
OWNER = "cluster"
#: What must be there before the rest: kinds of objects, then places to put them, then what pods refer to.
FIRST = ("CustomResourceDefinition", "Namespace", "ServiceAccount", "ClusterRole", "Role", "ConfigMap", "Secret")


@cache
def api() -> dynamic.DynamicClient:
    """Connect to the cluster that the kubeconfig's current context names.

    Raises:
        ClusterError: It names none.
    """
    try:
        client = config.new_client_from_config()  # type: ignore[no-untyped-call]
    except config.ConfigException as error:
        raise ClusterError(f"the kubeconfig names no cluster ({error}); `make cluster-up` makes one") from error
    return dynamic.DynamicClient(client)  # type: ignore[no-untyped-call]


def apply(objects: Iterable[Object], *, timeout_s: float = 120.0) -> None:
    """Apply objects server-side; those that a webhook or a new kind is not ready for are tried again.

    Args:
        objects: Complete objects, in any order.
        timeout_s: How long to try each one, in seconds.

    Raises:
        ClusterError: The cluster refuses one for good.
    """
    ordered = sorted(objects, key=lambda each: FIRST.index(each["kind"]) if each["kind"] in FIRST else len(FIRST))
    definitions = [each for each in ordered if each["kind"] == "CustomResourceDefinition"]
    for each in definitions:
        _apply(each, timeout_s)
    for each in definitions:
        wait(f"kind {each['spec']['names']['kind']}", partial(_is_established, each))
    for each in ordered[len(definitions) :]:
        _apply(each, timeout_s)


def _apply(each: Object, timeout_s: float) -> None:
    until = time.monotonic() + timeout_s
    while True:
        try:
            resource = api().resources.get(api_version=each["apiVersion"], kind=each["kind"])
            resource.server_side_apply(body=each, field_manager=OWNER, force_conflicts=True)
        except (ApiException, ResourceNotFoundError, HTTPError) as error:
            name = f"{each['kind']} {each['metadata']['name']}"
            if time.monotonic() > until or not _may_pass(error):
                raise ClusterError(f"{name} cannot be applied: {getattr(error, 'body', error)}") from error
            time.sleep(1)
        else:
            return


def _may_pass(error: Exception) -> bool:
    # A webhook that is not there yet is a 500 ("failed calling webhook"); a namespace just made may still be a 404.
    return not isinstance(error, ApiException) or error.status in {404, 409, 429, 500, 502, 503, 504}


def _is_established(definition: Object) -> bool:
    found = get("apiextensions.k8s.io/v1", "CustomResourceDefinition", definition["metadata"]["name"])
    return found is not None and condition(found, "Established") == "True"


def get(api_version: str, kind: str, name: str, namespace: str | None = None) -> Object | None:
    """Read an object; None when it, or its kind, is not there."""
    try:
        resource = api().resources.get(api_version=api_version, kind=kind)
        found: Object = resource.get(name=name, namespace=namespace).to_dict()
    except (ResourceNotFoundError, ApiException) as error:
        if isinstance(error, ApiException) and error.status != 404:
            raise
        return None
    return found


def items(api_version: str, kind: str, namespace: str, selector: str = "") -> list[Object]:
    """List the objects of a kind in a namespace."""
    resource = api().resources.get(api_version=api_version, kind=kind)
    found: list[Object] = resource.get(namespace=namespace, label_selector=selector).to_dict()["items"]
    return found


def condition(found: Mapping[str, Any], name: str) -> str | None:
    """Read the status of one condition: "True", "False", "Unknown", or None when it is not reported."""
    for each in found.get("status", {}).get("conditions") or []:
        if each["type"] == name:
            status: str = each["status"]
            return status
    return None


def wait(what: str, done: Callable[[], bool], *, timeout_s: float = 180.0, pause_s: float = 0.5) -> None:
    """Ask again and again until something is so.

    Raises:
        ClusterError: It was not so in time.
    """
    until = time.monotonic() + timeout_s
    while True:
        try:
            if done():
                return
            problem = ""
        except (ApiException, HTTPError) as error:
            problem = f" ({error})"
        if time.monotonic() > until:
            raise ClusterError(f"{what}: not so after {timeout_s:.0f} s{problem}")
        time.sleep(pause_s)


def wait_for_deployments(namespace: str, *, timeout_s: float = 240.0) -> None:
    """Wait until every Deployment of a namespace runs its newest pods, and no older ones."""
    wait(
        f"the deployments of {namespace}",
        lambda: all(is_rolled_out(each) for each in items("apps/v1", "Deployment", namespace)),
        timeout_s=timeout_s,
    )


def is_rolled_out(deployment: Object) -> bool:
    """Say whether a Deployment runs the pods it asks for, and no others."""
    wanted = deployment["spec"].get("replicas", 1)
    status = deployment.get("status", {})
    return status.get("observedGeneration", 0) >= deployment["metadata"]["generation"] and all(
        status.get(field, 0) == wanted for field in ("updatedReplicas", "readyReplicas", "replicas")
    )


def restart(name: str, namespace: str) -> None:
    """Let a Deployment replace its pods."""
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    annotations = {"kubectl.kubernetes.io/restartedAt": now}
    body = {"spec": {"template": {"metadata": {"annotations": annotations}}}}
    resource = api().resources.get(api_version="apps/v1", kind="Deployment")
    resource.patch(name=name, namespace=namespace, body=body, content_type="application/merge-patch+json")
