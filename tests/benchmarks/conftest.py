"""The bundles of the edge's tests, for real servers to be measured."""

from tests.bundles.fixtures import written

__all__ = ["written"]
