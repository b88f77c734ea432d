"""What the tests in Standard mode share: a release for each file, its address, and requests that flow through."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.e2e.load import Load
from tests.e2e.releases import BODY, PREDICT, installed
from tools import objects
from tools.cluster import kind
from tools.deploy.rollout.address import Address

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tools.deploy.rollout.release import Release


@pytest.fixture(scope="module")
def release(namespace: str, image: str) -> Iterator[Release]:
    """The release of this file, serving the old version from the claim."""
    with installed("iris", namespace, "standard", image) as found:
        yield found


@pytest.fixture(scope="module")
def address(release: Release, request: pytest.FixtureRequest) -> Address:
    """The Service, from outside: a second one in front of the same pods, with the node's ports that the file names."""
    rest, grpc = request.module.NODE_PORTS
    selector = objects.get("v1", "Service", "iris-predictor", release.namespace)
    assert selector is not None
    ports = [
        {"name": "http", "port": 80, "targetPort": 8080, "nodePort": rest},
        {"name": "grpc", "port": 81, "targetPort": 8081, "nodePort": grpc},
    ]
    spec = {"type": "NodePort", "selector": selector["spec"]["selector"], "ports": ports}
    metadata = {"name": "outside", "namespace": release.namespace}
    objects.apply([{"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec}])
    node = kind.address()
    objects.wait("the node's port", lambda: kind.is_open(node, rest), pause_s=0.1)
    return Address(f"http://{node}:{rest}", grpc=f"{node}:{grpc}")


@pytest.fixture
def load(address: Address) -> Iterator[Load]:
    """Requests to the Service, from before the test's first step to after its last."""
    with Load(address, PREDICT, BODY) as flowing:
        flowing.wait_for(50)
        assert not flowing.failures
        yield flowing
