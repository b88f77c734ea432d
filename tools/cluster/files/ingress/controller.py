"""A small ingress controller for Knative: knows how to turn Knative's ingresses into Envoy's files; for tests only.

Runs in a pod beside Envoy, with Python alone. Twice a second it lists the ingresses; when they have changed it writes
two files (clusters, routes), waits until Envoy reports their version, and only then says in each ingress's status that
it is ready. No TLS, and HTTP/1 to the pods.
"""

import hashlib
import json
import os
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

Json = dict[str, Any]
#: What Envoy is to run: clusters, then tables of routes.
Wanted = tuple[list[Json], list[Json]]

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
FILES = Path("/envoy")
ENVOY = "http://127.0.0.1:9901"
CLASS = "networking.knative.dev/ingress.class"
GROUP = "/apis/networking.internal.knative.dev/v1alpha1"
MINE = os.environ.get("INGRESS_CLASS", "")
#: The Service in front of Envoy, by which other pods come.
INGRESS_HOST = os.environ.get("INGRESS_HOST", "")


def call(path: str, body: Json | None = None) -> Json:
    """Ask the API server; a body is a merge patch."""
    host, port = os.environ["KUBERNETES_SERVICE_HOST"], os.environ["KUBERNETES_SERVICE_PORT"]
    headers = {"Authorization": f"Bearer {(ACCOUNT / 'token').read_text()}"}
    if body is not None:
        headers["Content-Type"] = "application/merge-patch+json"
    data = None if body is None else json.dumps(body).encode()
    method = "GET" if body is None else "PATCH"
    request = urllib.request.Request(f"https://{host}:{port}{path}", data, headers, method=method)
    trust = ssl.create_default_context(cafile=str(ACCOUNT / "ca.crt"))
    with urllib.request.urlopen(request, timeout=10, context=trust) as answer:  # noqa: S310 - the API server
        found: Json = json.load(answer)
        return found


def place(found: Json) -> str:
    """Name an object by its namespace and name."""
    return f"{found['metadata']['namespace']}/{found['metadata']['name']}"


def splits(ingress: Json) -> Iterator[Json]:
    """Go through every split of an ingress."""
    for rule in ingress["spec"].get("rules", []):
        for path in rule["http"]["paths"]:
            yield from path["splits"]


def cluster_name(split: Json) -> str:
    """Name the Envoy cluster of a split: its Service and port."""
    return f"{split['serviceNamespace']}/{split['serviceName']}:{split['servicePort']}"


def cluster(split: Json, addresses: Mapping[str, str]) -> Json:
    """Describe the Service of a split as an Envoy cluster with one endpoint, the Service's own address."""
    service = f"{split['serviceNamespace']}/{split['serviceName']}"
    where = {"socket_address": {"address": addresses[service], "port_value": int(split["servicePort"])}}
    return {
        "@type": "type.googleapis.com/envoy.config.cluster.v3.Cluster",
        "name": cluster_name(split),
        "type": "STATIC",
        "connect_timeout": "2s",
        "load_assignment": {
            "cluster_name": cluster_name(split),
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": where}}]}],
        },
    }


def added(headers: Mapping[str, str] | None) -> list[Json]:
    """Write headers as Envoy adds them to a request."""
    return [
        {"header": {"key": key, "value": value}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}
        for key, value in sorted((headers or {}).items())
    ]


def route(path: Json) -> Json:
    """Describe one path of a rule: what it matches, and how requests are shared out."""
    match = {"prefix": path.get("path") or "/"}
    if path.get("headers"):
        match["headers"] = [
            {"name": name, "string_match": {"exact": wanted["exact"]}}
            for name, wanted in sorted(path["headers"].items())
        ]
    weighted = [
        {
            "name": cluster_name(split),
            "weight": split.get("percent", 100),
            "request_headers_to_add": added(split.get("appendHeaders")),
        }
        for split in path["splits"]
    ]
    action = {
        "weighted_clusters": {"clusters": weighted},
        "timeout": "0s",
        "retry_policy": {"retry_on": "connect-failure,refused-stream,reset-before-request", "num_retries": 3},
    }
    if path.get("rewriteHost"):
        action["host_rewrite_literal"] = path["rewriteHost"]
    return {"match": match, "route": action, "request_headers_to_add": added(path.get("appendHeaders"))}


def virtual_hosts(ingresses: Iterable[Json]) -> Iterator[Json]:
    """Describe every rule as a virtual host; the paths that match headers come first."""
    for ingress in ingresses:
        for number, rule in enumerate(ingress["spec"].get("rules", [])):
            paths = sorted(rule["http"]["paths"], key=lambda path: not path.get("headers"))
            yield {
                "name": f"{place(ingress)}/{number}",
                "domains": [domain for host in rule["hosts"] for domain in (host, f"{host}:*")],
                "routes": [route(path) for path in paths],
            }


def publish(name: str, resources: list[Json]) -> str:
    """Put a file of resources in Envoy's way, in one step; give its version."""
    version = hashlib.sha256(json.dumps(resources, sort_keys=True).encode()).hexdigest()[:16]
    draft = FILES / f"{name}.draft"
    draft.write_text(json.dumps({"version_info": version, "resources": resources}))
    draft.rename(FILES / f"{name}.json")
    return version


def wait_for_envoy(version: str) -> None:
    """Wait until Envoy runs what was published."""
    for _ in range(100):
        try:
            with urllib.request.urlopen(f"{ENVOY}/config_dump", timeout=5) as answer:  # noqa: S310 - this pod
                dump = answer.read().decode()
        except OSError:
            dump = ""
        if f'"{version}"' in dump:
            return
        time.sleep(0.1)
    print(f"Envoy does not show {version}", flush=True)


def routes(ingresses: Iterable[Json]) -> list[Json]:
    """Describe all ingresses as one table of routes."""
    hosts = list(virtual_hosts(ingresses))
    table = "type.googleapis.com/envoy.config.route.v3.RouteConfiguration"
    return [{"@type": table, "name": "ingress", "virtual_hosts": hosts}]


def together(before: list[Json], wanted: list[Json]) -> list[Json]:
    """Join the clusters of before with those that are wanted, which win."""
    found = {each["name"]: each for each in (*before, *wanted)}
    return [found[name] for name in sorted(found)]


def say_ready(ingress: Json) -> None:
    """Write into an ingress's status that it is served; nothing when it says so already."""
    generation = ingress["metadata"]["generation"]
    status = ingress.get("status", {})
    is_said = any(each["type"] == "Ready" and each["status"] == "True" for each in status.get("conditions", []))
    if status.get("observedGeneration") == generation and is_said:
        return
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    conditions = [
        {"type": name, "status": "True", "lastTransitionTime": now}
        for name in ("LoadBalancerReady", "NetworkConfigured", "Ready")
    ]
    balancer = {"ingress": [{"domainInternal": INGRESS_HOST}]}
    changed = {
        "observedGeneration": generation,
        "conditions": conditions,
        "publicLoadBalancer": balancer,
        "privateLoadBalancer": balancer,
    }
    meta = ingress["metadata"]
    call(f"{GROUP}/namespaces/{meta['namespace']}/ingresses/{meta['name']}/status", {"status": changed})


def step(before: Wanted) -> Wanted:
    """Bring Envoy and the statuses up to what the cluster says now; give what was published."""
    addresses = {place(each): each["spec"].get("clusterIP", "") for each in call("/api/v1/services")["items"]}
    ready = [
        each
        for each in call(f"{GROUP}/ingresses")["items"]
        if each["metadata"].get("annotations", {}).get(CLASS) == MINE
        and all(addresses.get(f"{split['serviceNamespace']}/{split['serviceName']}") for split in splits(each))
    ]
    clusters = {cluster_name(split): cluster(split, addresses) for each in ready for split in splits(each)}
    wanted = ([clusters[name] for name in sorted(clusters)], routes(ready))
    if wanted != before:
        # No route may ever name a cluster that is not there: the old ones go last.
        wait_for_envoy(publish("clusters", together(before[0], wanted[0])))
        wait_for_envoy(publish("routes", wanted[1]))
        wait_for_envoy(publish("clusters", wanted[0]))
        print(f"published {len(ready)} ingresses, {len(clusters)} services", flush=True)
    for each in ready:
        say_ready(each)
    return wanted


def main() -> None:
    """Follow the cluster for ever."""
    FILES.mkdir(exist_ok=True)
    before: Wanted = ([], routes([]))
    publish("clusters", before[0])
    publish("routes", before[1])
    while True:
        try:
            before = step(before)
        except (OSError, ValueError) as error:
            print(f"not now: {error}", flush=True)
        time.sleep(0.5)


if __name__ == "__main__":
    main()
