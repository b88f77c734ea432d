"""What the small ingress controller tells Envoy: hosts, weights, headers; the rest of it runs on the cluster."""

from __future__ import annotations

from typing import Any

from tools.cluster.files.ingress import controller


def split(name: str, percent: int) -> dict[str, Any]:
    """A split as Knative writes it."""
    return {
        "serviceName": name,
        "serviceNamespace": "models",
        "servicePort": 80,
        "percent": percent,
        "appendHeaders": {"Knative-Serving-Revision": name},
    }


def ingress(*paths: dict[str, Any]) -> dict[str, Any]:
    """An ingress with one rule."""
    rule = {"hosts": ["iris.models.example.com", "iris.models"], "http": {"paths": list(paths)}}
    return {"metadata": {"name": "iris", "namespace": "models"}, "spec": {"rules": [rule]}}


def test_shares_become_weights() -> None:
    """Each split is a cluster with its percentage, and tells the pod its revision."""
    made = controller.route({"splits": [split("iris-2", 20), split("iris-1", 80)]})
    clusters = made["route"]["weighted_clusters"]["clusters"]

    assert [(each["name"], each["weight"]) for each in clusters] == [("models/iris-2:80", 20), ("models/iris-1:80", 80)]
    assert clusters[0]["request_headers_to_add"][0]["header"] == {"key": "Knative-Serving-Revision", "value": "iris-2"}
    assert made["match"] == {"prefix": "/"}


def test_a_host_is_known_with_and_without_a_port() -> None:
    """Clients may send either in the Host header."""
    (host,) = controller.virtual_hosts([ingress({"splits": [split("iris-1", 100)]})])

    assert host["domains"] == [
        "iris.models.example.com",
        "iris.models.example.com:*",
        "iris.models",
        "iris.models:*",
    ]


def test_paths_that_match_a_header_come_first() -> None:
    """Envoy takes the first route that fits, and the plain one always fits."""
    plain = {"splits": [split("iris-1", 100)]}
    tagged = {"splits": [split("iris-2", 100)], "headers": {"Knative-Serving-Tag": {"exact": "latest"}}}
    (host,) = controller.virtual_hosts([ingress(plain, tagged)])

    assert ["headers" in route["match"] for route in host["routes"]] == [True, False]


def test_a_rewritten_host_reaches_the_next_ingress() -> None:
    """Knative's domain mappings need it."""
    made = controller.route({"splits": [split("iris-1", 100)], "rewriteHost": "other.models"})

    assert made["route"]["host_rewrite_literal"] == "other.models"


def test_clusters_of_before_stay_until_no_route_names_them() -> None:
    """A route to a cluster that Envoy does not have is a 503."""
    old, new = {"name": "a", "type": "old"}, {"name": "a", "type": "new"}
    gone = {"name": "b", "type": "old"}

    assert controller.together([old, gone], [new]) == [new, gone]


def test_a_service_is_reached_by_its_own_address() -> None:
    """kube-proxy shares out over the pods; Envoy needs none of them."""
    made = controller.cluster(split("iris-1", 100), {"models/iris-1": "10.96.1.2"})
    endpoint = made["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]

    assert endpoint["address"]["socket_address"] == {"address": "10.96.1.2", "port_value": 80}
