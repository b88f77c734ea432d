"""What the tests in Standard mode share: a release for each file."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.e2e.conftest import OLD, served
from tools.deploy.release import Release

if TYPE_CHECKING:
    from collections.abc import Iterator

#: One replica would do; two show that both are used.
TWO = {"scaling": {"minReplicas": 2}}


@pytest.fixture(scope="module")
def release(namespace: str, image: str) -> Iterator[Release]:
    """The release of this file, serving the old version from the claim."""
    found = Release("iris", namespace, "iris", "standard", image)
    served(found, OLD)
    yield found
    found.uninstall()
