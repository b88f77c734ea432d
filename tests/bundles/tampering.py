"""Ways to break a bundle on disk; knows its files, not how a server notices."""

from __future__ import annotations

import hashlib
import shutil
from typing import TYPE_CHECKING, Any

import orjson

if TYPE_CHECKING:
    from pathlib import Path


def copy_of(bundle: Path, folder: Path) -> Path:
    """Copy a bundle so that it may be changed."""
    target = folder / "bundle"
    shutil.copytree(bundle, target)
    for path in target.iterdir():
        path.chmod(0o644)
    return target


def _edit_manifest(bundle: Path, **changes: Any) -> None:
    manifest = orjson.loads((bundle / "manifest.json").read_bytes())
    manifest.update(changes)
    (bundle / "manifest.json").write_bytes(orjson.dumps(manifest))


def _manifest(bundle: Path) -> dict[str, Any]:
    found: dict[str, Any] = orjson.loads((bundle / "manifest.json").read_bytes())
    return found


def _replace_file(bundle: Path, name: str, content: bytes) -> None:
    """Replace a file and its record, as somebody would who tampers with both."""
    (bundle / name).write_bytes(content)
    files = _manifest(bundle)["files"]
    files[name] = {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}
    _edit_manifest(bundle, files=files)


def remove_all(bundle: Path) -> None:
    """There is nothing at that place."""
    shutil.rmtree(bundle)


def flip_a_byte(bundle: Path) -> None:
    """One bit of the pipeline is another."""
    content = bytearray((bundle / "pipeline.joblib").read_bytes())
    content[len(content) // 2] ^= 1
    (bundle / "pipeline.joblib").write_bytes(bytes(content))


def other_library(bundle: Path) -> None:
    """It was made with another scikit-learn."""
    _edit_manifest(bundle, libraries=_manifest(bundle)["libraries"] | {"scikit-learn": "0.24.2"})


def wrong_golden_rows(bundle: Path) -> None:
    """The pipeline answers other numbers than training recorded."""
    golden = orjson.loads((bundle / "golden.json").read_bytes())
    golden["outputs"]["probabilities"] = [row[::-1] for row in golden["outputs"]["probabilities"]]
    _replace_file(bundle, "golden.json", orjson.dumps(golden))


def rename_a_feature(bundle: Path) -> None:
    """The contract calls a feature otherwise than the pipeline does."""
    contract = _manifest(bundle)["contract"]
    contract["features"][0]["name"] = "renamed"
    _edit_manifest(bundle, contract=contract)


def reorder_features(bundle: Path) -> None:
    """The contract has the features in another order than the pipeline."""
    contract = _manifest(bundle)["contract"]
    contract["features"][0], contract["features"][1] = contract["features"][1], contract["features"][0]
    _edit_manifest(bundle, contract=contract)


def vanished_code(bundle: Path) -> None:
    """The pipeline needs a module that is not installed here."""
    _replace_file(bundle, "pipeline.joblib", b"cno_such_module_anywhere\nEstimator\n.")
