"""A wrong setting stops the process at once and names its key, wherever it was set."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.conformance.target import command

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("flags", "environment", "words"),
    [
        (["--no_such_flag", "1"], {}, ["no_such_flag"]),
        (["--http_port", "many"], {}, ["http_port"]),
        (["--max_rows", "0"], {}, ["max_rows"]),
        (["--hot_path", "perhaps"], {}, ["hot_path"]),
        (["--model_name", "Not A Name"], {}, ["model_name"]),
        ([], {"LOG_LEVEL": "LOUD"}, ["log_level", "LOG_LEVEL"]),
        ([], {"MODEL_SERVER_PREDICT_THREADS": "-1"}, ["predict_threads"]),
        ([], {"APP_ENV": "staging"}, ["app_env", "APP_ENV"]),
        ([], {"API_ADMIN_TOKEN": "short"}, ["api_admin_token"]),
        ([], {"MODEL_SERVER_MAX_BODY_BYTES": "1.5"}, ["max_body_bytes"]),
        ([], {"MODEL_SERVER_NO_SUCH_KEY": "1"}, ["NO_SUCH_KEY"]),
    ],
    ids=lambda value: "" if isinstance(value, dict) and not value else None,
)
def test_a_wrong_setting_is_named(
    folder: Path, flags: list[str], environment: dict[str, str], words: list[str]
) -> None:
    """Exit code 2 within seconds, no traceback, and no secret in the text."""
    with command(folder, *flags, environment=environment) as process:
        assert process.wait(timeout_s=60) == 2
        said = process.said()
    assert "Traceback" not in said
    assert any(word in said for word in words), said
    assert "short" not in said


def test_an_unknown_key_of_the_file_is_named(folder: Path, tmp_path: Path) -> None:
    """The file is validated like flags are."""
    (tmp_path / "settings.yaml").write_text("max_rows: 5\nmax_row: 6\n", "utf-8")
    with command(folder, "--config", str(tmp_path / "settings.yaml")) as process:
        assert process.wait(timeout_s=60) == 2
        said = process.said()
    assert "'max_row'" in said or "max_row:" in said, said


def test_flags_win_over_environment_over_file(registry: Path, folder: Path, tmp_path: Path) -> None:
    """The ports come from flags, the row limit from the environment, the v1 form and the silence from the file."""
    (tmp_path / "settings.yaml").write_text(
        "max_rows: 7\nv1_output: label\nenable_latency_logging: false\nhttp_port: 1\n", "utf-8"
    )
    flags = ["--model_dir", str(registry), "--model_name", "iris", "--config", str(tmp_path / "settings.yaml")]
    row = [5.1, 3.5, 1.4, 0.2]
    with command(folder, *flags, environment={"MODEL_SERVER_MAX_ROWS": "2", "HTTP_PORT": "2"}) as process:
        process.wait_for("/ready")
        with httpx.Client(base_url=process.base_url, trust_env=False) as client:
            path = "/v1/models/iris:predict"
            assert client.post(path, json={"instances": [row] * 2}).json()["predictions"] == ["setosa", "setosa"]
            assert client.post(path, json={"instances": [row] * 3}).status_code == 400
        process.handle.send_signal(signal.SIGINT)
        assert process.wait(timeout_s=60) == 0, "Ctrl-C is an orderly stop too"
        assert not [line for line in process.log() if line["message"] == "request"]


@pytest.mark.parametrize(
    ("flags", "predictor"),
    [([], "compiled"), (["--predictor", "scikit-learn"], "scikit-learn"), (["--predictor", "onnx"], "compiled")],
    ids=["default", "scikit-learn", "not converted"],
)
def test_the_log_says_which_predictor_answers(registry: Path, folder: Path, flags: list[str], predictor: str) -> None:
    """Compiled kernels where the bundle's record allows them, unless another is asked for and can be had."""
    with command(folder, "--model_dir", str(registry), "--model_name", "iris", *flags) as process:
        process.wait_for("/ready")
        loaded = next(line for line in process.log() if line["message"] == "model loaded")
    assert loaded["predictor"] == predictor
