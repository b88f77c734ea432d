"""Bundles: written once and whole, verified byte by byte, opened only after that."""

from __future__ import annotations

import io
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import joblib
import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import LinearRegression

from model_server.bundle import (
    GOLDEN,
    MANIFEST,
    PIPELINE,
    REQUIRED,
    RUN,
    open_bundle,
    read_run,
    verify,
    write,
)
from model_server.contract import Contract
from model_server.errors import BugError, BundleExists, BundleIncompatible, BundleNotFound, BundleTampered
from model_server.manifest import canonical_json, digest_of, installed_libraries
from tests.bundles import contracts, writing
from tests.model_server.drawing import few

if TYPE_CHECKING:
    from model_server.bundle import Verified

CONTRACT = Contract(features=contracts.numbers(2), output=contracts.VALUE)
X = np.array([[0.0, 1.0], [2.0, 3.0], [4.0, 6.0]])
MODEL = LinearRegression().fit(X, [1.0, 2.0, 4.0])
GOLDEN_ROWS: dict[str, Any] = {"rows": X.tolist(), "outputs": {"value": MODEL.predict(X).tolist()}}
FILES = writing.files(MODEL, GOLDEN_ROWS)


def made(directory: Path, **changes: Any) -> Verified:
    """Write the bundle of these tests."""
    return write(directory, contracts.manifest(CONTRACT, **changes), FILES, {"host": "here"})


@pytest.fixture(name="directory")
def _directory(tmp_path: Path) -> Path:
    """Give a bundle that a test may spoil."""
    directory = tmp_path / "small" / "1.0.0"
    made(directory)
    return directory


@pytest.fixture(scope="module", name="shared")
def _shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a bundle that a property spoils and mends again and again."""
    directory = tmp_path_factory.mktemp("shared") / "1.0.0"
    made(directory)
    return directory


def content(directory: Path) -> dict[str, bytes]:
    """Read everything below a folder."""
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def overwrite(path: Path, data: bytes) -> None:
    """Write to a file although it is read-only."""
    path.chmod(0o644)
    path.write_bytes(data)


def test_what_was_written_is_what_is_opened(directory: Path) -> None:
    """Pipeline, golden rows and manifest come back."""
    bundle = open_bundle(verify(directory))

    assert bundle.pipeline.predict(X).tolist() == MODEL.predict(X).tolist()
    assert bundle.golden.rows == tuple(X.tolist())
    assert bundle.manifest.contract == CONTRACT
    assert content(directory).keys() == {*REQUIRED, MANIFEST, RUN}
    assert read_run(directory) == {"host": "here"}


def test_the_answer_of_writing_is_that_of_verifying(tmp_path: Path) -> None:
    """The digest that is printed after training is the one that pins the bundle."""
    written = made(tmp_path / "1.0.0")

    assert written == verify(tmp_path / "1.0.0")
    assert written.digest == digest_of((tmp_path / "1.0.0" / MANIFEST).read_bytes())
    assert verify(tmp_path / "1.0.0", expected_digest=written.digest) == written
    assert verify(tmp_path / "1.0.0", expected_digest=f"sha256:{written.digest}") == written


def test_the_same_inputs_give_the_same_bytes(tmp_path: Path) -> None:
    """Whatever differs between two runs stands in run.json alone."""
    write(tmp_path / "a", contracts.manifest(CONTRACT), FILES, {"host": "one"})
    write(tmp_path / "b", contracts.manifest(CONTRACT), dict(reversed(FILES.items())), {"host": "two"})

    one, two = content(tmp_path / "a"), content(tmp_path / "b")

    assert {name for name in one if one[name] != two[name]} == {RUN}


@few
@given(data=st.data())
def test_one_flipped_bit_anywhere_is_refused(shared: Path, data: st.DataObject) -> None:
    """No byte of a bundle is unwatched; run.json alone is not part of it."""
    path = shared / data.draw(st.sampled_from(REQUIRED))
    before = path.read_bytes()
    at = data.draw(st.integers(0, len(before) - 1))
    flipped = bytearray(before)
    flipped[at] ^= 1 << data.draw(st.integers(0, 7))
    overwrite(path, bytes(flipped))
    try:
        with pytest.raises(BundleTampered, match=path.name):
            verify(shared)
    finally:
        overwrite(path, before)
    verify(shared)


@few
@given(data=st.data())
def test_one_flipped_bit_of_the_manifest_breaks_its_digest(shared: Path, data: st.DataObject) -> None:
    """Who pins the digest pins everything."""
    path = shared / MANIFEST
    before = path.read_bytes()
    digest = digest_of(before)
    flipped = bytearray(before)
    flipped[data.draw(st.integers(0, len(before) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    overwrite(path, bytes(flipped))
    try:
        with pytest.raises(BundleTampered, match=r"but .* was asked for"):
            verify(shared, expected_digest=digest)
    finally:
        overwrite(path, before)


@pytest.mark.parametrize("name", REQUIRED)
def test_a_cut_file_is_refused_by_its_size(directory: Path, name: str) -> None:
    """A copy that broke off is told from one that was changed."""
    overwrite(directory / name, (directory / name).read_bytes()[:-1])

    with pytest.raises(BundleTampered, match=rf"{name} has \d+ bytes, its manifest says \d+"):
        verify(directory)


@pytest.mark.parametrize("name", REQUIRED)
def test_a_missing_file_is_refused(directory: Path, name: str) -> None:
    """It is named, so that somebody can look for it where the bundle was made."""
    (directory / name).unlink()

    with pytest.raises(BundleTampered, match=rf"{name} cannot be read \(No such file"):
        verify(directory)


@pytest.mark.parametrize("name", ["extra.py", "sub/extra.json", ".hidden"])
def test_an_unlisted_file_is_refused(directory: Path, name: str) -> None:
    """Nothing rides along with what was signed."""
    (directory / name).parent.mkdir(exist_ok=True)
    (directory / name).write_bytes(b"")

    with pytest.raises(BundleTampered, match=f"does not list: {name}"):
        verify(directory)


def test_a_link_to_other_content_is_refused(directory: Path, tmp_path: Path) -> None:
    """A link is what it leads to."""
    (tmp_path / "other").write_bytes(bytes(len(FILES[PIPELINE])))
    (directory / PIPELINE).unlink()
    (directory / PIPELINE).symlink_to(tmp_path / "other")

    with pytest.raises(BundleTampered, match=r"pipeline\.joblib has SHA-256"):
        verify(directory)


def test_an_extra_link_is_refused(directory: Path) -> None:
    """A link is a file that the manifest does not list."""
    (directory / "extra").symlink_to(directory / PIPELINE)

    with pytest.raises(BundleTampered, match="does not list: extra"):
        verify(directory)


def test_a_link_to_nowhere_is_refused(directory: Path) -> None:
    """It has no content that a hash could be compared with."""
    (directory / PIPELINE).unlink()
    (directory / PIPELINE).symlink_to(directory / "gone")

    with pytest.raises(BundleTampered, match="cannot be read"):
        verify(directory)


def test_a_pipe_is_not_waited_for(directory: Path) -> None:
    """Reading it would never end."""
    (directory / GOLDEN).unlink()
    os.mkfifo(directory / GOLDEN)

    with pytest.raises(BundleTampered, match="is no regular file"):
        verify(directory)


def test_a_folder_as_kubernetes_mounts_it_is_taken(directory: Path, tmp_path: Path) -> None:
    """ConfigMaps and Secrets appear as links into a hidden, dated folder."""
    mounted = tmp_path / "mounted"
    mounted.mkdir()
    shutil.copytree(directory, mounted / "..2026_01_01")
    (mounted / "..data").symlink_to("..2026_01_01")
    for path in directory.iterdir():
        (mounted / path.name).symlink_to(Path("..data") / path.name)

    assert verify(mounted).digest == verify(directory).digest
    assert open_bundle(verify(mounted)).pipeline.predict(X).tolist() == MODEL.predict(X).tolist()


@pytest.mark.parametrize("place", ["nowhere", "."])
def test_no_bundle_says_how_to_make_one(tmp_path: Path, place: str) -> None:
    """The next step stands in the text."""
    with pytest.raises(BundleNotFound, match="python -m training run CONFIG"):
        verify(tmp_path / place)


@pytest.mark.parametrize("name", REQUIRED)
def test_a_manifest_must_list_what_every_bundle_has(directory: Path, name: str) -> None:
    """Leaving a file out of the list does not make it optional."""
    writing.rewrite_manifest(directory, lambda manifest: manifest["files"].pop(name))

    with pytest.raises(BundleTampered, match=f"does not list {name}"):
        verify(directory)


def test_run_facts_may_change_or_be_absent(directory: Path) -> None:
    """They are about the run, not about the model."""
    digest = verify(directory).digest
    overwrite(directory / RUN, b"[not json")

    assert verify(directory).digest == digest
    assert read_run(directory) == {}
    (directory / RUN).unlink()
    assert verify(directory).digest == digest
    assert read_run(directory) == {}


def test_run_facts_that_are_no_object_are_none(directory: Path) -> None:
    """A hand may have written anything there, and the bundle serves all the same."""
    overwrite(directory / RUN, b"[1]")

    assert read_run(directory) == {}


def test_a_bundle_is_never_written_over(directory: Path) -> None:
    """The second attempt fails, the first one's bytes stay, nothing is left behind."""
    before = content(directory)

    with pytest.raises(BundleExists, match="choose a new version"):
        write(directory, contracts.manifest(CONTRACT, description="other"), FILES, {})

    assert content(directory) == before
    assert [path.name for path in directory.parent.iterdir()] == ["1.0.0"]


def test_a_file_in_the_way_is_not_replaced(tmp_path: Path) -> None:
    """Whatever it is, it is somebody's."""
    (tmp_path / "1.0.0").write_text("mine")

    with pytest.raises(BundleExists):
        made(tmp_path / "1.0.0")

    assert (tmp_path / "1.0.0").read_text() == "mine"


def test_a_place_that_is_taken_in_between_is_not_replaced(tmp_path: Path) -> None:
    """A link to nowhere looks free until the folder is moved there, like one that another writer makes meanwhile."""
    (tmp_path / "1.0.0").symlink_to(tmp_path / "gone")

    with pytest.raises(BundleExists, match="appeared while it was being written"):
        made(tmp_path / "1.0.0")

    assert [path.name for path in tmp_path.iterdir()] == ["1.0.0"]


def test_of_many_writers_exactly_one_wins(tmp_path: Path) -> None:
    """Two trainings that chose the same version cannot mix their files."""
    directory = tmp_path / "small" / "1.0.0"

    def attempt(number: int) -> bool:
        try:
            made(directory, description=f"writer {number}")
        except BundleExists:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(attempt, range(8)))

    assert sum(won) == 1
    assert verify(directory).manifest.description == f"writer {won.index(True)}"
    assert [path.name for path in directory.parent.iterdir()] == ["1.0.0"]


@pytest.mark.parametrize("name", REQUIRED)
def test_a_bundle_that_lacks_a_file_is_not_written(tmp_path: Path, name: str) -> None:
    """All or nothing: not even a folder is left."""
    lacking = {key: value for key, value in FILES.items() if key != name}

    with pytest.raises(BundleTampered, match=name):
        write(tmp_path / "1.0.0", contracts.manifest(CONTRACT), lacking, {})

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", [MANIFEST, RUN])
def test_manifest_and_run_facts_cannot_be_given_as_files(tmp_path: Path, name: str) -> None:
    """They are made from the other arguments."""
    with pytest.raises(BugError, match="cannot be given"):
        write(tmp_path / "1.0.0", contracts.manifest(CONTRACT), {**FILES, name: b"{}"}, {})


def test_evidence_may_lie_in_a_folder(tmp_path: Path) -> None:
    """Plots and tables, one level deep, hashed like all else."""
    write(tmp_path / "1.0.0", contracts.manifest(CONTRACT), {**FILES, "plots/roc.svg": b"<svg/>"}, {})

    assert verify(tmp_path / "1.0.0").read("plots/roc.svg") == b"<svg/>"


def test_files_are_read_only(directory: Path) -> None:
    """Who changes a bundle has to mean it."""
    assert {path.stat().st_mode & 0o222 for path in directory.iterdir()} == {0}


def scikit_learn(major: int = 0, minor: int = 0, patch: int = 0) -> str:
    """Give a version that is so much later than the installed one."""
    here = [int(part) for part in installed_libraries()["scikit-learn"].split(".")[:3]]
    return ".".join(str(part + more) for part, more in zip(here, (major, minor, patch), strict=True))


@pytest.mark.parametrize(
    "recorded",
    [{"scikit-learn": scikit_learn(minor=1)}, {"scikit-learn": scikit_learn(major=1)}, {}],
    ids=["another minor", "another major", "not recorded"],
)
def test_another_scikit_learn_is_refused(tmp_path: Path, recorded: dict[str, str]) -> None:
    """Pickles are made for one minor version; who accepts the risk is warned."""
    made(tmp_path / "1.0.0", libraries=recorded)

    with pytest.raises(BundleIncompatible, match=r"scikit-learn is .* here, .* in training: .*--library_mismatch warn"):
        verify(tmp_path / "1.0.0")

    assert len(verify(tmp_path / "1.0.0", libraries="warn").warnings) == len(recorded)


def test_other_versions_only_warn(tmp_path: Path) -> None:
    """A patch of scikit-learn, other libraries: the golden rows decide whether they matter."""
    libraries = {"left-pad": "1.0", "numpy": "0.1", "scikit-learn": scikit_learn(patch=1)}
    made(tmp_path / "1.0.0", libraries=libraries)

    assert verify(tmp_path / "1.0.0").warnings == (
        "left-pad is absent here, 1.0 in training",
        f"numpy is {installed_libraries()['numpy']} here, 0.1 in training",
        f"scikit-learn is {scikit_learn()} here, {scikit_learn(patch=1)} in training",
    )


def test_the_versions_of_training_need_no_warning(tmp_path: Path) -> None:
    """Nothing to say is said with nothing."""
    assert made(tmp_path / "1.0.0").warnings == ()


def test_nothing_is_unpickled_before_it_was_verified(tmp_path: Path) -> None:
    """Unpickling runs code: a changed pipeline must not get that far."""
    trap = tmp_path / "sprung"
    stream = io.BytesIO()
    joblib.dump(Trap(trap), stream)
    made(tmp_path / "1.0.0")
    overwrite(tmp_path / "1.0.0" / PIPELINE, stream.getvalue())

    with pytest.raises(BundleTampered):
        open_bundle(verify(tmp_path / "1.0.0"))
    assert not trap.exists()


class Trap:
    """Touches a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        """Keep the path."""
        self.path = path

    def __reduce__(self) -> Any:
        """Leave a mark on loading."""
        return Path.touch, (self.path,)


@pytest.mark.parametrize("name", [PIPELINE, GOLDEN])
def test_a_file_that_changes_after_it_was_verified_is_not_used(directory: Path, name: str) -> None:
    """What is used is what was verified, even if the folder changes in between."""
    verified = verify(directory)
    overwrite(directory / name, FILES[name] + b" ")

    with pytest.raises(BundleTampered, match=name):
        open_bundle(verified)


def test_a_file_that_vanishes_after_it_was_verified_is_named(directory: Path) -> None:
    """A volume may be unmounted at any time."""
    verified = verify(directory)
    (directory / PIPELINE).unlink()

    with pytest.raises(BundleTampered, match=r"pipeline\.joblib cannot be read"):
        open_bundle(verified)


def test_only_listed_files_are_read(directory: Path) -> None:
    """A name is looked up in the manifest first, so no path leads out of the folder."""
    with pytest.raises(BundleTampered, match="is not listed"):
        verify(directory).read("../secret")


@pytest.mark.parametrize(
    "golden",
    [
        {"rows": [], "outputs": {"value": []}},
        {"rows": [[1, 2]], "outputs": {}},
        {"rows": [[1, 2]], "outputs": {"value": [1.0, 2.0]}},
        {"rows": [[1, 2]], "outputs": {"score": [1.0]}},
        {"rows": [[1, 2]], "outputs": {"value": [1.0]}, "tolerance": -1},
        {"rows": [[1, 2]]},
    ],
    ids=["no rows", "no outputs", "uneven", "unknown output", "negative tolerance", "outputs missing"],
)
def test_faulty_golden_rows_are_refused(tmp_path: Path, golden: dict[str, Any]) -> None:
    """Without them nobody knows whether the pipeline still answers as it did."""
    write(tmp_path / "1.0.0", contracts.manifest(CONTRACT), {**FILES, GOLDEN: canonical_json(golden)}, {})

    with pytest.raises(BundleTampered, match=r"golden\.json is not valid: "):
        open_bundle(verify(tmp_path / "1.0.0"))


def test_a_pipeline_of_unknown_code_says_what_is_missing(tmp_path: Path) -> None:
    """The class may live in a package that is not installed here."""
    pickle = FILES[PIPELINE].replace(b"sklearn.linear_model", b"sklearn.linear_nodel")
    assert pickle != FILES[PIPELINE]
    write(tmp_path / "1.0.0", contracts.manifest(CONTRACT), {**FILES, PIPELINE: pickle}, {})

    with pytest.raises(BundleIncompatible, match=r"linear_nodel.*install the package"):
        open_bundle(verify(tmp_path / "1.0.0"))


def test_the_manifest_lists_true_sizes(directory: Path) -> None:
    """A downloader may use them."""
    listed = orjson.loads((directory / MANIFEST).read_bytes())["files"]

    assert {name: record["size"] for name, record in listed.items()} == {
        name: (directory / name).stat().st_size for name in REQUIRED
    }
