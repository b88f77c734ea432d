"""Sources: which folder a URI means, and what is told when it means none."""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson
import pytest

from model_server.errors import BundleNotFound, ConfigError
from model_server.sources.local import models, precedence, read_pointer, versions
from model_server.sources.uri import from_uri

if TYPE_CHECKING:
    from pathlib import Path


def _bundle(folder: Path, version: str) -> Path:
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_bytes(orjson.dumps({"version": version}))
    return folder


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A registry: `shop` with three versions, 1.9.0 in production, and `empty` with one and no pointer."""
    registry = tmp_path / "artifacts"
    for version in ("1.10.0", "1.9.0", "1.10.0-rc.1"):
        _bundle(registry / "shop" / version, version)
    (registry / "shop" / "production").write_text("1.9.0\n", encoding="utf-8")
    _bundle(registry / "empty" / "0.1.0", "0.1.0")
    (registry / "empty" / ".0.2.0-x").mkdir()
    (registry / "notes.txt").write_text("", encoding="utf-8")
    return registry


def test_a_bundle_s_own_folder_is_taken_as_it_is(root: Path) -> None:
    """This is what a storage initializer leaves in /mnt/models; the name is checked against the manifest later."""
    folder = root / "shop" / "1.10.0"
    assert from_uri(str(folder), "whatever") == folder
    assert from_uri(str(folder), "whatever", "1.10.0") == folder


@pytest.mark.parametrize("place", ["{root}", "{root}/shop", "file://{root}", "file://localhost{root}/shop"])
def test_a_registry_or_a_model_s_folder_gives_what_is_in_production(root: Path, place: str) -> None:
    """The pointer decides, not the highest number."""
    assert from_uri(place.format(root=root), "shop") == root / "shop" / "1.9.0"


def test_a_file_uri_may_hold_escaped_characters(tmp_path: Path) -> None:
    """A space in a path is written %20 in a URI."""
    folder = _bundle(tmp_path / "my models", "1.0.0")
    assert from_uri(folder.as_uri(), "shop") == folder


def test_a_version_that_is_asked_for_wins_over_production(root: Path) -> None:
    """A canary pins its version."""
    assert from_uri(str(root), "shop", "1.10.0-rc.1") == root / "shop" / "1.10.0-rc.1"


@pytest.mark.parametrize(
    ("name", "version", "words"),
    [
        pytest.param(
            "empty",
            None,
            ["no version of empty is in production", "found versions 0.1.0", "no production pointer",
             "python -m training promote empty 0.1.0 --registry "],
            id="nothing in production",
        ),
        pytest.param(
            "shop",
            "2.0.0",
            ["'2.0.0', which was asked for", "found versions 1.9.0, 1.10.0-rc.1, 1.10.0", "production is 1.9.0"],
            id="absent version",
        ),
        pytest.param("shop", "../empty/0.1.0", ["no bundle of version '../empty/0.1.0'"], id="path for a version"),
        pytest.param("shoe", None, ["no model 'shoe'", "found empty, shop"], id="absent model"),
    ],
)  # fmt: skip
def test_what_is_not_there_is_told_with_what_is_and_what_helps(
    root: Path, name: str, version: str | None, words: list[str]
) -> None:
    """Whoever deploys sees the registry through the error."""
    with pytest.raises(BundleNotFound) as caught:
        from_uri(str(root), name, version)
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_a_registry_of_several_models_needs_a_name(root: Path) -> None:
    """Serving the first one by the alphabet would be a guess."""
    with pytest.raises(BundleNotFound, match="holds several models: choose one of empty, shop"):
        from_uri(str(root), None)


@pytest.mark.parametrize("pointer", ["3.0.0\n", "../empty/0.1.0\n"])
def test_a_pointer_to_nothing_is_refused(root: Path, pointer: str) -> None:
    """Also one that would lead out of the model's folder."""
    (root / "shop" / "production").write_text(pointer, encoding="utf-8")
    with pytest.raises(BundleNotFound, match="is named by its production pointer"):
        from_uri(str(root), "shop")


def test_a_pointer_without_any_version_is_told(root: Path) -> None:
    """The bundles were removed, the pointer stayed."""
    (root / "lone").mkdir()
    (root / "lone" / "production").write_text("1.0.0", encoding="utf-8")
    with pytest.raises(BundleNotFound, match=r"found versions none; production is 1\.0\.0"):
        from_uri(str(root), "lone")


def test_a_bundle_of_another_version_than_asked_for_is_refused(root: Path) -> None:
    """The artifact is the truth; a setting that contradicts it stops the start."""
    with pytest.raises(BundleNotFound, match=r"is version 1\.10\.0, but version 1\.0\.0 was asked for"):
        from_uri(str(root / "shop" / "1.10.0"), "shop", "1.0.0")


@pytest.mark.parametrize("content", [b"not JSON", b"[]", b"{}"])
def test_a_damaged_manifest_is_left_to_verification(tmp_path: Path, content: bytes) -> None:
    """Its error says more than ours could."""
    folder = _bundle(tmp_path / "b", "1.0.0")
    (folder / "manifest.json").write_bytes(content)
    assert from_uri(str(folder), "shop", "2.0.0") == folder


@pytest.mark.parametrize(
    ("create", "words"),
    [
        pytest.param(False, ["there is no such folder", "python -m training run CONFIG"], id="absent"),
        pytest.param(True, ["neither manifest.json nor a folder shop/VERSION/"], id="empty"),
    ],
)
def test_a_folder_without_any_bundle_says_how_to_make_one(tmp_path: Path, create: bool, words: list[str]) -> None:  # noqa: FBT001
    """It is what a newcomer meets at the first start."""
    folder = tmp_path / "artifacts"
    if create:
        folder.mkdir()
    with pytest.raises(BundleNotFound) as caught:
        from_uri(str(folder), "shop")
    assert all(word in str(caught.value) for word in words), str(caught.value)


@pytest.mark.parametrize("scheme", ["s3", "gs", "https", "oci", "pvc", "S3"])
def test_remote_locations_are_left_to_the_storage_initializer(scheme: str) -> None:
    """KServe fetches them before the server starts; the text says how."""
    with pytest.raises(ConfigError, match=rf"a {scheme.lower()}:// location .*STORAGE_URI.*/mnt/models"):
        from_uri(f"{scheme}://bucket/model", "shop")


@pytest.mark.parametrize("uri", ["", "  "])
def test_an_empty_location_is_a_mistake_in_the_settings(uri: str) -> None:
    """An environment variable that is set to nothing must not mean the working directory."""
    with pytest.raises(ConfigError, match="is empty"):
        from_uri(uri, "shop")


def test_a_file_uri_with_a_relative_path_is_refused() -> None:
    """file://artifacts names a host called artifacts."""
    with pytest.raises(ConfigError, match="needs an absolute path"):
        from_uri("file://artifacts/shop", "shop")


def test_listings_ignore_what_is_no_bundle(root: Path) -> None:
    """Stray files, half-written folders and absent folders are none."""
    assert models(root) == ["empty", "shop"]
    assert versions(root / "shop") == ["1.9.0", "1.10.0-rc.1", "1.10.0"]
    assert versions(root / "absent") == []
    assert models(root / "absent") == []


def test_an_unreadable_or_empty_pointer_is_none(root: Path) -> None:
    """Half of nothing is nothing."""
    assert read_pointer(root / "empty", "production") is None
    (root / "empty" / "production").write_bytes(b"\xff\xfe")
    assert read_pointer(root / "empty", "production") is None
    (root / "empty" / "production").write_bytes(b"\n")
    assert read_pointer(root / "empty", "production") is None


def test_versions_are_ordered_as_semantic_versioning_says() -> None:
    """The order of the specification's own example."""
    ordered = ["1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-alpha.beta", "1.0.0-beta", "1.0.0-beta.2", "1.0.0-beta.11",
               "1.0.0-rc.1", "1.0.0", "2.0.0", "10.0.0"]  # fmt: skip
    mixed = [*ordered[1::2], *ordered[::2]]
    assert sorted(mixed, key=precedence) == ordered
