"""The top level of the repository: what must stand there."""

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.parametrize(
    "name",
    [
        "model_server",
        "training",
        "charts/model-server",
        "manifests",
        "tests",
        ".github",
        "Dockerfile",
        "Makefile",
        "README.md",
    ],
)
def test_the_top_level_holds_its_parts(name: str) -> None:
    """Whoever knows one project of this kind finds each part where it is expected."""
    assert ROOT.joinpath(name).exists()


@pytest.mark.parametrize("package", ["model_server", "training"])
def test_packages_ship_their_types(package: str) -> None:
    """Code that uses the packages gets checked against our annotations."""
    assert ROOT.joinpath(package, "py.typed").is_file()
