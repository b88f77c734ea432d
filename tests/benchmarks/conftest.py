"""The bundles of the edge's tests, for real servers to be measured."""

from tests.model_server.conftest import written

__all__ = ["written"]
