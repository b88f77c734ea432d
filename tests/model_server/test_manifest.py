"""Manifests: read back as written, refused with the name of what is wrong."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from model_server.contract import Contract
from model_server.errors import BundleIncompatible, BundleTampered
from model_server.manifest import (
    FORMAT,
    LIBRARIES,
    FileRecord,
    Manifest,
    canonical_json,
    digest_of,
    installed_libraries,
)
from tests.bundles import contracts
from tests.model_server import drawing
from tests.model_server.drawing import few
from tests.model_server.published import published, schema

SMALL = Contract(features=contracts.numbers(2), output=contracts.VALUE)


@few
@given(contract=drawing.contracts(), content=st.binary(max_size=50), words=st.text(max_size=20))
def test_a_manifest_survives_its_bytes(contract: Contract, content: bytes, words: str) -> None:
    """What a server reads is what training wrote, and equal manifests have one digest."""
    manifest = contracts.manifest(contract, description=words, files={"a/b.json": FileRecord.of(content)})

    back = Manifest.from_bytes(manifest.to_bytes())

    assert back == manifest
    assert back.to_bytes() == manifest.to_bytes()


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@few
@given(st.dictionaries(st.text(max_size=3), json_values, max_size=4))
def test_equal_values_have_equal_bytes(value: dict[str, Any]) -> None:
    """The order in which keys were put in does not reach the digest."""
    turned = dict(reversed(value.items()))

    assert canonical_json(value) == canonical_json(turned)
    assert digest_of(canonical_json(value)) == digest_of(canonical_json(turned))


def changed(**fields: Any) -> bytes:
    """Give a manifest's bytes with some fields replaced."""
    return canonical_json(orjson.loads(contracts.manifest(SMALL).to_bytes()) | fields)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"not json", "is not JSON"),
        (b"\xff\xfe", "is not JSON"),
        (b"[]", "document: "),
        (b"{}", "name: Field required; version: Field required; contract: "),
        (changed(extra=1), "extra: "),
        (changed(name="Small Model"), "name: "),
        (changed(version="1.0"), "version: "),
        (changed(version="01.0.0"), "version: "),
        (changed(files={"../x": {"sha256": "0" * 64, "size": 1}}), "files"),
        (changed(files={"/x": {"sha256": "0" * 64, "size": 1}}), "files"),
        (changed(files={"a/../x": {"sha256": "0" * 64, "size": 1}}), "files"),
        (changed(files={"x": {"sha256": "short", "size": 1}}), "files.x.sha256: "),
        (changed(files={"x": {"sha256": "0" * 64, "size": -1}}), "files.x.size: "),
        (changed(contract={"features": [], "output": {}}), "contract.features: "),
    ],
    ids=lambda case: case if isinstance(case, str) else "",
)
def test_a_faulty_manifest_is_refused_by_field(content: bytes, text: str) -> None:
    """One line for the log that says where to look."""
    with pytest.raises(BundleTampered, match=r"manifest\.json is not") as error:
        Manifest.from_bytes(content)

    assert text in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("found", [0, FORMAT + 1, 99])
def test_a_format_of_another_time_says_so(found: int) -> None:
    """It is said before all its other differences are listed as faults."""
    with pytest.raises(BundleIncompatible, match=f"bundle format is {found}, this server knows {FORMAT}: train"):
        Manifest.from_bytes(canonical_json({"format": found, "unheard": "of"}))


@pytest.mark.parametrize("version", ["0.0.0", "1.0.0", "10.20.30", "1.0.0-rc.1", "1.0.0-0a"])
def test_semantic_versions_are_versions(version: str) -> None:
    """Pre-releases are versions too."""
    assert contracts.manifest(SMALL, version=version).version == version


@pytest.mark.parametrize("version", ["1", "v1.0.0", "1.0.0+build", "1.0.0-", "1.0.0/..", "latest", "", " 1.0.0"])
def test_other_words_are_no_versions(version: str) -> None:
    """A version is the name of a folder, too."""
    with pytest.raises(ValidationError):
        contracts.manifest(SMALL, version=version)


@pytest.mark.parametrize("name", ["a", "breast-cancer", "m2", "a" * 63])
def test_model_names_fit_kubernetes(name: str) -> None:
    """They become names of services and labels."""
    assert contracts.manifest(SMALL, name=name).name == name


@pytest.mark.parametrize("name", ["", "A", "2m", "a-", "a_b", "a.b", "a/b", "a" * 64, "a\n"])
def test_other_names_do_not(name: str) -> None:
    """Found when a model is trained, not when it is deployed."""
    with pytest.raises(ValidationError):
        contracts.manifest(SMALL, name=name)


def test_a_manifest_cannot_be_changed() -> None:
    """Whoever holds one may rely on it."""
    with pytest.raises(ValidationError):
        contracts.manifest(SMALL).name = "other"


def test_the_libraries_that_decide_are_recorded() -> None:
    """Python, and whatever a pipeline's answers depend on."""
    assert installed_libraries().keys() == {"python", *LIBRARIES}
    assert all(version[0].isdigit() for version in installed_libraries().values())


def test_the_schema_is_the_published_one() -> None:
    """Bundles written today are read by servers of tomorrow, so a changed schema is a decision.

    After it was taken, ``python -m tests.model_server.published`` writes the new schema.
    """
    assert schema("manifest") == published("manifest")
