"""What docs/operations.md quotes under "Troubleshooting" is what the code says in that trouble."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest
from prometheus_client import CollectorRegistry

from model_server import bundle, settings
from model_server.contract import Contract
from model_server.edge.embedded import RunningServer
from model_server.errors import ModelServerError
from model_server.sources import uri
from model_server.telemetry.metrics import Metrics
from tests.bundles import contracts, writing
from tests.docs.pages import ROOT, page
from training.__main__ import main as train

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

QUOTED = {block.section: block.text.strip() for block in page("docs/operations.md").blocks if block.language == "text"}


def no_production(folder: Path) -> str:
    """Ask for a model of which no version was promoted."""
    folder.joinpath("artifacts", "wine", "1.0.0").mkdir(parents=True)
    folder.joinpath("artifacts", "wine", "1.0.0", "manifest.json").write_text("{}")
    return said_by(lambda: uri.from_uri(str(folder / "artifacts"), "wine"))


def no_registry(folder: Path) -> str:
    """Point at a folder that is not there."""
    return said_by(lambda: uri.from_uri(str(folder / "artifacts"), "wine"))


def port_in_use(folder: Path) -> str:
    """Start on a port that is taken."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = str(other.getsockname()[1])
        chosen = settings.load(
            ["--model_dir", str(folder), "--http_host", "127.0.0.1", "--http_port", port, "--grpc_port", "0"], {}
        )
        return said_by(lambda: RunningServer(chosen, Metrics(CollectorRegistry()))).replace(port, "8080")


def other_scikit_learn(folder: Path) -> str:
    """Verify a bundle that another minor version wrote."""
    from sklearn.linear_model import LinearRegression

    contract = Contract(features=contracts.numbers(1), output=contracts.VALUE)
    golden = contract.frame([[1.0], [2.0]])
    model, described = LinearRegression().fit([[1.0], [2.0]], [1.0, 2.0]), contracts.manifest(contract)
    verified = writing.bundle(folder / "small", model, described, golden)
    here = verified.manifest.libraries["scikit-learn"]
    writing.rewrite_manifest(
        verified.directory, lambda manifest: manifest["libraries"].update({"scikit-learn": "1.5.2"})
    )
    return said_by(lambda: bundle.verify(verified.directory)).replace(here, "1.9.1")


TROUBLES: dict[str, Callable[[Path], str]] = {
    "No production model": no_production,
    "Registry empty or not mounted": no_registry,
    "Port in use": port_in_use,
    "Wrong scikit-learn version": other_scikit_learn,
}


def said_by(action: Callable[[], object]) -> str:
    """Give the text of the error that an action ends in."""
    with pytest.raises(ModelServerError) as caught:
        action()
    return str(caught.value)


@pytest.mark.parametrize("trouble", TROUBLES)
def test_the_quoted_message_is_the_real_one(tmp_path: Path, trouble: str) -> None:
    """Whoever searches for a message finds the section about it."""
    assert QUOTED[trouble] == TROUBLES[trouble](tmp_path).replace(f"{tmp_path}/", "")


def test_a_taken_version_is_told_as_quoted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The same version of another training is refused, with the way out."""
    folder = tmp_path / "artifacts" / "iris" / "1.0.0"
    from sklearn.linear_model import LinearRegression

    contract = Contract(features=contracts.numbers(1), output=contracts.VALUE)
    golden = contract.frame([[1.0], [2.0]])
    model, described = LinearRegression().fit([[1.0], [2.0]], [1.0, 2.0]), contracts.manifest(contract)
    writing.bundle(folder, model, described, golden)
    config = str(ROOT / "training" / "configs" / "iris.yaml")

    assert train(["run", config, "--registry", str(tmp_path / "artifacts")]) == 1
    assert capsys.readouterr().err.strip() == QUOTED["The version is taken"]
