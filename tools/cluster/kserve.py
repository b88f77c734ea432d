"""KServe on the cluster: knows which of its objects are needed and how they must be set; knows nothing of our chart."""

import json
from typing import Any

import yaml

from tools import gotools, objects
from tools.cluster import certificates, sources
from tools.objects import Object

NAMESPACE = "kserve"
HOST = f"kserve-webhook-server-service.{NAMESPACE}.svc"
SOURCES = gotools.MODULES / "sources.sum"
#: Other controllers of the same release, which nothing here needs.
OTHERS = ("llm", "localmodel", "inferencepool", "inferenceobjective", "inferencemodelrewrite")


def install(*, built: bool) -> None:
    """Install KServe's controller and wait until it answers.

    Args:
        built: With the image that is made here, else with the published one.
    """
    pair = certificates.make(HOST)
    found = [_adapted(each, pair, built=built) for each in manifests()]
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "kubernetes.io/tls",
        "metadata": {"name": "kserve-webhook-server-cert", "namespace": NAMESPACE},
        "data": {"tls.key": pair.key, "tls.crt": pair.certificate},
    }
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
    late = [each for each in found if each["kind"] == "ClusterStorageContainer"]
    objects.apply([namespace, secret, scaled_object(), *(each for each in found if each not in late)])
    objects.wait_for_deployments(NAMESPACE)
    objects.apply(late)


def manifests() -> list[Object]:
    """Read from KServe's module the objects of its release that the tests need."""
    number = gotools.version("kserve")
    text = gotools.source("github.com/kserve/kserve", SOURCES).joinpath(f"install/{number}/kserve.yaml").read_text()
    loaded = [each for each in yaml.load_all(text, yaml.CSafeLoader) if each]
    return [each for each in loaded if _is_needed(each)]


def scaled_object() -> Object:
    """Read KEDA's one kind that KServe writes; its controller looks once, at its start, whether the cluster has it."""
    folder = gotools.source("github.com/kedacore/keda/v2", SOURCES) / "config" / "crd" / "bases"
    found: Object = yaml.load(folder.joinpath("keda.sh_scaledobjects.yaml").read_text("utf-8"), yaml.CSafeLoader)
    return found


def _is_needed(each: Object) -> bool:
    name: str = each["metadata"]["name"].removeprefix("kserve-")
    # cert-manager is not installed: one certificate for one webhook needs no issuer.
    return not name.startswith(OTHERS) and not each["apiVersion"].startswith("cert-manager.io")


def _adapted(each: Object, pair: certificates.Pair, *, built: bool) -> Object:
    if each["kind"] == "Deployment":
        _adapt_deployment(each["spec"]["template"]["spec"], built=built)
    elif each["kind"] == "ConfigMap":
        _configure(each["data"])
    else:
        _trust(each, pair.certificate)
    return each


def _adapt_deployment(pod: dict[str, Any], *, built: bool) -> None:
    # kube-rbac-proxy only guards the controller's own metrics.
    manager = next(each for each in pod["containers"] if each["name"] == "manager")
    pod["containers"] = [manager]
    manager["imagePullPolicy"] = "IfNotPresent"
    # Its limit of a tenth of a core makes each reconciliation take seconds, and webhooks time out.
    manager["resources"] = {"requests": {"cpu": "50m", "memory": "100Mi"}, "limits": {"memory": "600Mi"}}
    manager["readinessProbe"] |= {"initialDelaySeconds": 1, "periodSeconds": 1}
    if built:
        manager["image"] = sources.kserve()[0].reference
        del manager["command"]


def _configure(data: dict[str, str]) -> None:
    changes: dict[str, dict[str, object]] = {
        # The chart always says its mode; one that did not would get the plainer one.
        "deploy": {"defaultDeploymentMode": "Standard"},
        # Standard: a plain Ingress of a class nobody serves counts as ready. Knative: no Istio here.
        "ingress": {"disableIstioVirtualHost": True, "ingressClassName": "none"},
    }
    for key, values in changes.items():
        data[key] = json.dumps(json.loads(data[key]) | values)


def _trust(each: Object, certificate: str) -> None:
    if each["kind"].endswith("WebhookConfiguration"):
        for webhook in each["webhooks"]:
            webhook["clientConfig"]["caBundle"] = certificate
    conversion = each.get("spec", {}).get("conversion", {}).get("webhook") if "Definition" in each["kind"] else None
    if conversion:
        conversion["clientConfig"]["caBundle"] = certificate
    annotations = each["metadata"].get("annotations", {})
    annotations.pop("cert-manager.io/inject-ca-from", None)
