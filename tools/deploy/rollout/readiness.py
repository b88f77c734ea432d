"""Whether an InferenceService runs what it says: knows which of KServe's statuses can be trusted; changes nothing.

KServe 0.20 copies `status.observedGeneration` from another object, so it says nothing of the InferenceService's own
generation. What is compared instead is the container: the one that was asked for, and the one its newest child has.
"""

from collections.abc import Mapping
from typing import Any

from tools import objects
from tools.errors import ClusterError
from tools.objects import Object, condition, get, is_rolled_out, items

SERVING = "serving.kserve.io/v1beta1"
KNATIVE = "serving.knative.dev/v1"
MODE = "serving.kserve.io/deploymentMode"
CONTAINER = "kserve-container"


def service(name: str, namespace: str) -> Object:
    """Read an InferenceService.

    Raises:
        ClusterError: It is not there.
    """
    found = get(SERVING, "InferenceService", name, namespace)
    if found is None:
        raise ClusterError(f"there is no InferenceService {name} in the namespace {namespace}; `make deploy` makes one")
    return found


def mode(found: Object) -> str:
    """Say which mode an InferenceService is in: standard or knative."""
    value: str = found["metadata"]["annotations"][MODE]
    return "standard" if value in {"Standard", "RawDeployment"} else "knative"


def traffic(found: Object) -> list[Mapping[str, Any]]:
    """Read how Knative shares the requests out, as KServe reports it."""
    shared: list[Mapping[str, Any]] = (
        found.get("status", {}).get("components", {}).get("predictor", {}).get("traffic") or []
    )
    return shared


def is_ready(name: str, namespace: str) -> bool:
    """Say whether the newest container of an InferenceService answers requests, and its percentage is in force."""
    found = service(name, namespace)
    wanted = _essence(found["spec"]["predictor"]["containers"])
    if condition(found, "Ready") != "True":
        return False
    if mode(found) == "standard":
        child = get("apps/v1", "Deployment", f"{name}-predictor", namespace)
        return child is not None and is_rolled_out(child) and _has_replicas(child, found) and _runs(child, wanted)
    return _knative_is_ready(found, wanted)


def _has_replicas(deployment: Object, found: Object) -> bool:
    # KServe stays Ready between taking a new number of replicas and handing it on to the Deployment.
    predictor = found["spec"]["predictor"]
    replicas: int = deployment["spec"].get("replicas", 1)
    least: int = predictor.get("minReplicas", 1)
    most: int = predictor.get("maxReplicas") or replicas
    return least <= replicas <= most


def _knative_is_ready(found: Object, wanted: object) -> bool:
    name, namespace = found["metadata"]["name"], found["metadata"]["namespace"]
    predictor = found["spec"]["predictor"]
    child = get(KNATIVE, "Service", f"{name}-predictor", namespace)
    if child is None or not _runs(child, wanted) or _limit(child["spec"]["template"]["spec"]) != _limit(predictor):
        return False
    status = child.get("status", {})
    if status.get("observedGeneration") != child["metadata"]["generation"] or condition(child, "Ready") != "True":
        return False
    newest = status.get("latestCreatedRevisionName")
    if newest != status.get("latestReadyRevisionName"):
        return False
    asked = predictor.get("canaryTrafficPercent")
    shares = [each.get("percent") or 0 for each in traffic(found) if each.get("latestRevision")]
    # The very first revision has everything, whatever was asked for.
    is_first = len(items(KNATIVE, "Revision", namespace, f"serving.knative.dev/service={name}-predictor")) == 1
    return is_first or sum(shares) == (100 if asked is None else asked)


def _limit(spec: Mapping[str, Any]) -> int:
    return spec.get("containerConcurrency") or 0  # none, as Knative fills it in


def _runs(child: Object, wanted: object) -> bool:
    return _essence(child["spec"]["template"]["spec"]["containers"]) == wanted


def _essence(containers: list[Mapping[str, Any]]) -> object:
    # What we set ourselves; KServe and Knative fill in the rest.
    found = next(each for each in containers if each["name"] == CONTAINER)
    environment = {each["name"]: each.get("value") for each in found.get("env", [])}
    names = ("STORAGE_URI", "MODEL_VERSION", "MODEL_DIGEST")
    return found["image"], found.get("args"), {name: environment.get(name) for name in names}


def wait(name: str, namespace: str, *, timeout_s: float = 180.0) -> None:
    """Wait until an InferenceService runs what was asked for.

    Raises:
        ClusterError: It does not in time; the text says why, as its pods and conditions tell.
    """
    try:
        objects.wait(f"InferenceService {name}", lambda: is_ready(name, namespace), timeout_s=timeout_s)
    except ClusterError as error:
        raise ClusterError(f"{error}\n{reasons(name, namespace)}") from error


def reasons(name: str, namespace: str) -> str:
    """Say what keeps an InferenceService from being ready: conditions that are false, containers that wait or end."""
    lines = [
        f"  condition {each['type']}: {each.get('reason', '')} {each.get('message', '')}"
        for each in service(name, namespace).get("status", {}).get("conditions") or []
        if each["status"] != "True"
    ]
    for pod in items("v1", "Pod", namespace, f"serving.kserve.io/inferenceservice={name}"):
        for container in pod.get("status", {}).get("containerStatuses", []):
            lines += _trouble(pod["metadata"]["name"], container)
    return "\n".join(lines) or "  nothing there says why"


def _trouble(pod: str, container: Mapping[str, Any]) -> list[str]:
    found = []
    for state in (container.get("state", {}), container.get("lastState", {})):
        for kind in ("waiting", "terminated"):
            told = state.get(kind)
            if told:
                text = f"{told.get('reason', '')} {told.get('message', '')}".strip()
                found.append(f"  pod {pod}, {container['name']}: {kind}, {text}")
    return found
