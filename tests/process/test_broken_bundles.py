"""A bundle that cannot be served ends the process soon, with one clear line that names the fix."""

from __future__ import annotations

import socket
import time
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from tests.bundles import tampering
from tests.bundles.estimators import HELD_UNTIL
from tests.conformance.launch import bundle_of
from tests.conformance.target import command

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.conformance.target import Process

BOUND_S = 60.0


DAMAGE: dict[Callable[[Path], None], list[str]] = {
    tampering.remove_all: ["no bundle at", "python -m training run"],
    tampering.flip_a_byte: ["pipeline.joblib", "SHA-256", "train it again"],
    tampering.other_library: ["scikit-learn", "0.24.2", "library_mismatch"],
    tampering.wrong_golden_rows: ["golden"],
    tampering.rename_a_feature: ["renamed"],
    tampering.reorder_features: ["order"],
    tampering.vanished_code: ["no_such_module_anywhere", "install"],
}


def last_words(process: Process) -> str:
    """Wait for the end and give the one line that says why, after checking that it is an orderly end."""
    assert process.wait(timeout_s=BOUND_S) == 1
    said = process.said()
    assert "Traceback" not in said, said
    critical = [line for line in process.log() if line["level"] == "CRITICAL"]
    assert len(critical) == 1, said
    return str(critical[0]["message"])


@pytest.fixture(scope="module")
def endings(
    registry: Path, folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[Callable[[Path], None], Future[str]]]:
    """How the process ends for each damaged bundle; two at a time, because most of it is waiting for imports."""

    def end(break_it: Callable[[Path], None]) -> str:
        bundle = tampering.copy_of(bundle_of(registry, "churn"), tmp_path_factory.mktemp("damaged"))
        break_it(bundle)
        with command(folder, "--model_name", "churn", "--model_dir", str(bundle)) as process:
            return last_words(process)

    with ThreadPoolExecutor(2) as pool:
        yield {break_it: pool.submit(end, break_it) for break_it in DAMAGE}


@pytest.mark.parametrize("break_it", DAMAGE, ids=lambda break_it: break_it.__name__)
def test_a_broken_bundle_is_refused(
    endings: dict[Callable[[Path], None], Future[str]], break_it: Callable[[Path], None]
) -> None:
    """Missing, changed, unknown, made for other libraries, or not answering as training recorded."""
    message = endings[break_it].result()
    assert not [word for word in DAMAGE[break_it] if word not in message], message


@pytest.mark.parametrize(
    ("flags", "word"), [(["--model_version", "9.9.9"], "9.9.9"), (["--model_digest", "0" * 64], "digest")]
)
def test_another_bundle_than_pinned_is_refused(registry: Path, folder: Path, flags: list[str], word: str) -> None:
    """Version and digest pin what may be served."""
    directory = str(bundle_of(registry, "iris"))
    with command(folder, "--model_name", "iris", "--model_dir", directory, *flags) as process:
        assert word in last_words(process)


def test_a_registry_without_production_says_what_is_there(registry: Path, folder: Path, tmp_path: Path) -> None:
    """A version that nobody promoted is not served."""
    version = bundle_of(registry, "iris")
    tampering.copy_of(version, tmp_path).rename(tmp_path / version.name)
    (tmp_path / "registry" / "iris").mkdir(parents=True)
    (tmp_path / version.name).rename(tmp_path / "registry" / "iris" / version.name)
    with command(folder, "--model_name", "iris", "--model_dir", str(tmp_path / "registry")) as process:
        message = last_words(process)
    assert "production" in message
    assert "promote" in message


def test_loading_too_long_ends_the_process(slow_registry: Path, folder: Path, tmp_path: Path) -> None:
    """The limit counts, not the bundle, which would take forever."""
    flags = ["--model_name", "slow", "--model_dir", str(slow_registry), "--startup_timeout_s", "1"]
    with command(folder, *flags, environment={HELD_UNTIL: str(tmp_path / "never")}) as process:
        process.wait_for("/health")
        listening_s = time.monotonic()
        message = last_words(process)
        assert time.monotonic() - listening_s < 10
    assert "startup_timeout_s" in message


def test_a_taken_port_is_named(registry: Path, folder: Path) -> None:
    """Each of the two is named by its key."""
    for key in ("http_port", "grpc_port"):
        with socket.socket() as taken:
            taken.bind(("0.0.0.0", 0))  # noqa: S104 - as the server does
            taken.listen()
            flags = ["--model_name", "iris", "--model_dir", str(registry), f"--{key}", str(taken.getsockname()[1])]
            with command(folder, *flags) as process:
                assert key in last_words(process)
