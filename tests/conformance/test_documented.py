"""docs/conformance.md says what this suite proves: its routes are the server's, and the files it names are there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb

if TYPE_CHECKING:
    from tests.conformance.target import Target

HERE = Path(__file__).resolve().parent
PAGE = (HERE.parent.parent / "docs" / "conformance.md").read_text("utf-8")
VERSIONED = "/v2/models/{model_name}/versions/{model_version}"


def test_every_route_of_the_server_is_on_the_page(target: Target) -> None:
    """With its method; the routes below a version are named by their ends."""
    page = target.client.get("/openapi.json").json()
    below = {f"{VERSIONED}/ready", f"{VERSIONED}/infer"}
    routes = {f"`{m.upper()} {path}`" for path, methods in page["paths"].items() if path not in below for m in methods}
    assert not [route for route in routes if route not in PAGE]


def test_every_grpc_method_is_on_the_page() -> None:
    """The methods are read from the protocol's own service, so a new one cannot be forgotten."""
    methods = [method.name for method in pb.DESCRIPTOR.services_by_name["GRPCInferenceService"].methods]
    assert methods
    assert not [name for name in methods if f"`{name}`" not in PAGE]


def test_every_file_that_the_page_names_is_there() -> None:
    """Files of this suite by name, others by path."""
    for name in set(re.findall(r"`([\w/]+\.py)`", PAGE)):
        places = (HERE.parent.parent / name, HERE / name, HERE / "hostile" / name, HERE.parent / "fuzz" / name)
        assert any(place.is_file() for place in places), name
