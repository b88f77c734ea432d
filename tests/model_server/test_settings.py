"""Settings: where each comes from, which source wins, and what a bad one is answered with."""

from __future__ import annotations

import math
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import SecretStr, ValidationError

from model_server.errors import ConfigError
from model_server.settings import CONFIG_FILE, ENVIRONMENT, PREFIX, Settings, load

if TYPE_CHECKING:
    from pathlib import Path

SECRET = "s3cret-t0ken"  # noqa: S105 - of a test
KEYS = tuple(Settings.model_fields)

# For every key a value that is not its default, as text and as what the text means.
OTHER: dict[str, tuple[str, Any]] = {
    "model_name": ("churn", "churn"),
    "model_dir": ("/srv/models", "/srv/models"),
    "model_version": ("1.2.3", "1.2.3"),
    "model_digest": ("sha256:" + "0" * 64, "sha256:" + "0" * 64),
    "allow_unapproved": ("true", True),
    "library_mismatch": ("warn", "warn"),
    "require_model": ("false", False),
    "startup_timeout_s": ("7.5", 7.5),
    "http_host": ("127.0.0.1", "127.0.0.1"),
    "http_port": ("9080", 9080),
    "grpc_port": ("9081", 9081),
    "address_file": ("/run/address", "/run/address"),
    "enable_grpc": ("false", False),
    "enable_docs_url": ("false", False),
    "enable_latency_logging": ("false", False),
    "hot_path": ("false", False),
    "v1_output": ("label", "label"),
    "workers": ("2", 2),
    "max_body_bytes": ("1024", 1024),
    "max_rows": ("5", 5),
    "grpc_max_send_message_length": ("2048", 2048),
    "grpc_max_receive_message_length": ("4096", 4096),
    "predict_threads": ("3", 3),
    "predictor": ("onnx", "onnx"),
    "batch_rows": ("64", 64),
    "queue_rows": ("500", 500),
    "queue_timeout_s": ("2.5", 2.5),
    "timeout_keep_alive": ("75", 75),
    "event_loop": ("asyncio", "asyncio"),
    "shutdown_delay_s": ("0.5", 0.5),
    "shutdown_grace_s": ("12", 12.0),
    "app_env": ("local", "local"),
    "api_admin_token": (SECRET, SecretStr(SECRET)),
    "log_level": ("DEBUG", "DEBUG"),
}

# A third value where the default is none.
LOWER = {"model_name": "a", "model_version": "0.0.1", "model_digest": "1" * 64, "api_admin_token": "12345678"}

# A bad value for every key that can have one; two of them look like secrets, and one is.
BAD = [
    ("model_name", "Not-A-Name"),
    ("model_digest", "sha256:s3cret"),
    ("allow_unapproved", "perhaps-so"),
    ("library_mismatch", "ignore-it"),
    ("require_model", "perhaps-so"),
    ("startup_timeout_s", "0"),
    ("startup_timeout_s", "nan"),
    ("startup_timeout_s", "inf"),
    ("http_port", "65536"),
    ("http_port", "-1"),
    ("http_port", "80.5"),
    ("grpc_port", "tcp-port"),
    ("enable_grpc", "maybe"),
    ("v1_output", "fullest"),
    ("workers", "0"),
    ("max_body_bytes", "0"),
    ("max_rows", "1e4"),
    ("grpc_max_send_message_length", "3000000000"),
    ("grpc_max_receive_message_length", "0"),
    ("predict_threads", "1000"),
    ("predictor", "fastest"),
    ("batch_rows", "0"),
    ("queue_rows", "-1"),
    ("queue_timeout_s", "0"),
    ("event_loop", "trio"),
    ("shutdown_delay_s", "-0.5"),
    ("shutdown_delay_s", "inf"),
    ("shutdown_grace_s", "0"),
    ("app_env", "staging"),
    ("api_admin_token", "s3cret!"),
    ("log_level", "LOUD"),
]


def settings_file(folder: Path, text: str) -> str:
    """Write a settings file and give its name."""
    path = folder / "settings.yaml"
    path.write_text(text, encoding="utf-8")
    return str(path)


def refusal(argv: list[str], environ: dict[str, str] | None = None) -> str:
    """Give the text with which settings are refused."""
    with pytest.raises(ConfigError) as caught:
        load(argv, environ or {})
    return str(caught.value)


def test_the_tables_here_know_every_key() -> None:
    """A new setting is tested through every source."""
    assert set(OTHER) == set(KEYS)


@pytest.mark.parametrize("key", KEYS)
def test_every_setting_is_described(key: str) -> None:
    """Its description is its documentation, in --help and in docs/reference.md."""
    description = Settings.model_fields[key].description or ""

    assert description.endswith(".")
    assert len(description) > 20


def test_without_any_source_the_defaults_hold() -> None:
    """KServe's ports, and the folder where its storage initializer puts models."""
    settings = load([], {})

    assert (settings.http_port, settings.grpc_port, settings.model_dir) == (8080, 8081, "/mnt/models")
    assert {key: getattr(settings, key) for key in KEYS} == {
        key: field.default for key, field in Settings.model_fields.items()
    }


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize(
    "written", ["--{key}={value}", "--{key} {value}", "--{hyphens} {value}", "--{hyphens}={value}"]
)
def test_every_setting_is_a_flag(key: str, written: str) -> None:
    """Both spellings are taken, with the value after a space or an equals sign."""
    text, value = OTHER[key]
    argv = written.format(key=key, hyphens=key.replace("_", "-"), value=text).split(" ")

    assert getattr(load(argv, {}), key) == value


@pytest.mark.parametrize(
    ("key", "name"), [(key, name) for key in KEYS for name in (PREFIX + key.upper(), *ENVIRONMENT.get(key, ()))]
)
def test_every_setting_is_an_environment_variable(key: str, name: str) -> None:
    """By its long name, and by the short ones that platforms and the image use."""
    text, value = OTHER[key]

    assert getattr(load([], {name: text}), key) == value


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("quote", ["", '"'], ids=["plain", "quoted"])
def test_every_setting_is_a_key_of_the_file(key: str, quote: str, tmp_path: Path) -> None:
    """YAML's own types and plain strings mean the same."""
    text, value = OTHER[key]
    name = settings_file(tmp_path, f"{key}: {quote}{text}{quote}\n")

    assert getattr(load(["--config", name], {}), key) == value


@pytest.mark.parametrize("key", KEYS)
def test_flags_win_over_environment_over_file_over_default(key: str, tmp_path: Path) -> None:
    """The nearer to the command, the stronger."""
    text, value = OTHER[key]
    default = Settings.model_fields[key].default
    lower = LOWER.get(key, str(default))
    environ = {PREFIX + key.upper(): lower}
    in_file = settings_file(tmp_path, f"{key}: '{lower}'\n")
    other_file = tmp_path / "other.yaml"
    other_file.write_text(f"{key}: {text}\n", encoding="utf-8")

    assert getattr(load([f"--{key}={text}", f"--config={in_file}"], environ), key) == value
    assert getattr(load([f"--config={in_file}"], {PREFIX + key.upper(): text}), key) == value
    assert getattr(load([f"--config={other_file}"], {}), key) == value


def test_of_several_environment_names_the_first_that_is_set_counts() -> None:
    """The long name is ours alone, so it cannot be set by accident."""
    environ = {"PORT": "3", "HTTP_PORT": "2", "MODEL_SERVER_HTTP_PORT": "1"}

    assert load([], environ).http_port == 1
    assert load([], environ | {"MODEL_SERVER_HTTP_PORT": ""}).http_port == 2
    assert load([], {"PORT": "3"}).http_port == 3


def test_of_a_repeated_flag_the_last_counts() -> None:
    """A wrapper's arguments can be followed by one's own."""
    assert load(["--http_port", "1", "--http-port=2"], {}).http_port == 2


def test_an_empty_environment_variable_is_not_set() -> None:
    """Manifests often render an unset value as an empty string."""
    assert load([], {"MODEL_NAME": "", "HTTP_PORT": "", "MODEL_SERVER_WORKERS": "", CONFIG_FILE: ""}).http_port == 8080


def test_the_environment_may_name_the_file(tmp_path: Path) -> None:
    """A flag that names another file is stronger."""
    environ = {CONFIG_FILE: settings_file(tmp_path, "max_rows: 7\n")}
    other = tmp_path / "other.yaml"
    other.write_text("max_rows: 8\n", encoding="utf-8")

    assert load([], environ).max_rows == 7
    assert load([f"--config={other}"], environ).max_rows == 8


def test_an_empty_file_sets_nothing(tmp_path: Path) -> None:
    """A file in which all is commented out is a fine start."""
    assert load(["--config", settings_file(tmp_path, "# max_rows: 7\n")], {}) == load([], {})


def test_an_equals_sign_may_be_part_of_a_value() -> None:
    """Only the first one separates."""
    assert load(["--model_dir=/mnt/a=b"], {}).model_dir == "/mnt/a=b"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("GRPC_PORT", "tcp://10.0.0.7:8081"),
        ("HTTP_PORT", "tcp://10.0.0.7:80"),
        ("PORT", "udp://10.0.0.7:53"),
        ("MODEL_SERVER_PORT", "tcp://10.0.0.7:80"),
        ("MODEL_SERVER_HTTP_PORT", "tcp://10.0.0.7:80"),
        ("MODEL_SERVER_SERVICE_HOST", "10.0.0.7"),
        ("MODEL_SERVER_SERVICE_PORT", "80"),
        ("MODEL_SERVER_SERVICE_PORT_HTTP", "80"),
        ("MODEL_SERVER_PORT_80_TCP", "tcp://10.0.0.7:80"),
        ("MODEL_SERVER_PORT_80_TCP_PROTO", "tcp"),
        ("MODEL_SERVER_PORT_80_TCP_PORT", "80"),
        ("MODEL_SERVER_PORT_80_TCP_ADDR", "10.0.0.7"),
        ("MODEL_SERVER_CANARY_SERVICE_HOST", "10.0.0.7"),
    ],
)
def test_the_links_that_kubernetes_sets_are_no_settings(name: str, value: str) -> None:
    """A Service called grpc or model-server must not keep the pods of its namespace from starting."""
    assert load([], {name: value}) == load([], {})


@pytest.mark.parametrize(("key", "value"), BAD, ids=[f"{key}={value}" for key, value in BAD])
def test_a_bad_value_is_refused_with_its_key_and_origin_and_never_shown(key: str, value: str, tmp_path: Path) -> None:
    """Whoever reads the last line of the log knows where to look; a secret in it would stay there for good."""
    in_file = settings_file(tmp_path, f"{key}: '{value}'\n")
    texts = {
        f"flag --{key}": refusal([f"--{key}={value}"]),
        f"environment variable {PREFIX}{key.upper()}": refusal([], {PREFIX + key.upper(): value}),
        f"file {in_file}": refusal(["--config", in_file]),
    }

    for origin, text in texts.items():
        assert text.startswith(f"bad setting: {key}: ")
        assert text.endswith(f"({key} was set by {origin})")
        if len(value) > 5:
            assert value not in text


def test_several_bad_values_are_named_at_once() -> None:
    """Whoever mends them needs one restart, not three."""
    text = refusal(["--http_port=x"], {"WORKERS": "0", "MODEL_SERVER_WORKERS": "0"})

    assert "http_port: " in text
    assert "http_port was set by flag --http_port" in text
    assert "workers was set by environment variable MODEL_SERVER_WORKERS" in text


@pytest.mark.parametrize(
    ("argv", "text"),
    [
        (["--http-prot", "1"], "unknown setting 'http_prot' by flag --http-prot: did you mean http_port?"),
        (["--worker=2"], "unknown setting 'worker' by flag --worker: did you mean workers?"),
        (["--zzz"], "unknown setting 'zzz' by flag --zzz: --help lists all"),
        (["--http"], "unknown setting 'http' by flag --http: "),
        (["--http_port"], "flag --http_port needs a value"),
        (["--http_port", "--workers", "2"], "flag --http_port needs a value"),
        (["--config"], "flag --config needs a value"),
        (["--http_port", "1", SECRET], "the word that comes after flag --http_port is no flag: write --key value"),
        (["-p", "80"], "the word that comes first is no flag: write --key value or --key=value"),
    ],
    ids=lambda value: " ".join(value).replace(SECRET, "word") if isinstance(value, list) else "",
)
def test_an_unknown_flag_is_refused(argv: list[str], text: str) -> None:
    """It is not guessed from its first letters, nor taken in silence."""
    assert refusal(argv).startswith(text)


def test_an_unknown_flag_does_not_show_its_value() -> None:
    """One letter missing, and argparse would print the token."""
    text = refusal(["--api_admin_tokn", SECRET])

    assert text == "unknown setting 'api_admin_tokn' by flag --api_admin_tokn: did you mean api_admin_token?"


def test_an_unknown_variable_of_ours_is_refused() -> None:
    """A misspelled one would otherwise be a setting that silently does nothing."""
    text = refusal([], {"MODEL_SERVER_MAX_ROW": SECRET})

    expected = "unknown setting 'max_row' by environment variable MODEL_SERVER_MAX_ROW: did you mean max_rows?"
    assert text == expected


def test_variables_of_others_are_left_alone() -> None:
    """The environment of a pod is full of them."""
    environ = {"PATH": "/bin", "MODEL_SERVE": "1", "K_SERVICE": "churn", "_MODEL_SERVER_IS_WORKER": "1"}

    assert load([], environ) == load([], {})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("max_row: 7", "unknown setting 'max_row' by file {name}: did you mean max_rows?"),
        ("max-rows: 7", "unknown setting 'max-rows' by file {name}: did you mean max_rows?"),
        ("config: other.yaml", "unknown setting 'config' by file {name}: "),
        ("- max_rows", "settings file {name} must hold keys and values"),
        ("just words", "settings file {name} must hold keys and values"),
        ("8080: http_port", "settings file {name} must hold keys and values"),
        ("a: [", "settings file {name} cannot be read: ParserError"),
        ("model_version: 2024-99-99", "settings file {name} cannot be read: ValueError"),
        ("x: !!python/object/apply:os.getcwd []", "settings file {name} cannot be read: ConstructorError"),
        ("model_version:\n  - 1", "bad setting: model_version: "),
        ("model_version: 1.0", "bad setting: model_version: "),
        ("api_admin_token: {s3cret-t0ken: 1}", "bad setting: api_admin_token: "),
    ],
)
def test_a_bad_file_is_refused(text: str, expected: str, tmp_path: Path) -> None:
    """The text names the file and what is wrong with it."""
    name = settings_file(tmp_path, text)

    refused = refusal(["--config", name])

    assert refused.startswith(expected.format(name=name))
    assert SECRET not in refused


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    """It may be absent, a folder or not text: each is said in words."""
    binary = tmp_path / "binary.yaml"
    binary.write_bytes(b"\xff\xfe\xff")

    assert refusal(["--config", str(tmp_path / "none.yaml")]).endswith("cannot be read: FileNotFoundError")
    assert refusal(["--config", str(tmp_path)]).endswith("cannot be read: IsADirectoryError")
    assert refusal(["--config", str(binary)]).endswith("cannot be read: UnicodeDecodeError")


def test_settings_cannot_be_changed() -> None:
    """They are read once and passed down."""
    settings = load([], {})

    with pytest.raises(ValidationError, match="frozen"):
        settings.http_port = 1  # type: ignore[misc]


def test_the_token_does_not_show_when_settings_are_printed() -> None:
    """Somebody will log them one day."""
    settings = load([], {"API_ADMIN_TOKEN": SECRET})

    assert SECRET not in f"{settings} {settings!r} {settings.model_dump()} {settings.model_dump_json()}"


def test_the_token_does_not_show_in_a_traceback() -> None:
    """Pydantic quotes its input in the text of an error, which is the cause of ours."""
    with pytest.raises(ConfigError) as caught:
        load([], {"API_ADMIN_TOKEN": "s3cret!"})

    assert "s3cret!" not in f"{caught.value!r} {caught.value.__cause__}"


def test_times_are_finite() -> None:
    """The event loop cannot wait for an infinite time, and a server that cannot stop is found out too late."""
    settings = load(["--startup_timeout_s=86400", "--shutdown_grace_s=86400"], {})

    assert math.isfinite(settings.startup_timeout_s + settings.shutdown_grace_s)


def test_help_lists_every_setting_with_its_description() -> None:
    """It ends with exit code 0 and starts nothing."""
    done = subprocess.run(
        [sys.executable, "-m", "model_server", "--help"], capture_output=True, check=False, text=True, timeout=60
    )

    words = " ".join(done.stdout.split())
    assert (done.returncode, done.stderr) == (0, "")
    assert [key for key in KEYS if f"--{key} " not in words] == []
    assert "Whether predict, explain and infer are answered by the lean route" in words
    assert "--config" in words


@pytest.mark.parametrize(
    ("argv", "text"),
    [
        (["--http_port", "x"], "bad setting: http_port: "),
        (["--api_admin_tokn", SECRET], "unknown setting 'api_admin_tokn'"),
        (["--model_version=1", SECRET], "the word that comes after flag --model_version is no flag"),
    ],
    ids=["value", "flag", "word"],
)
def test_the_command_ends_with_one_line_that_names_the_setting(argv: list[str], text: str) -> None:
    """Exit code 2, nothing on standard error, and no secret anywhere."""
    done = subprocess.run(
        [sys.executable, "-m", "model_server", *argv], capture_output=True, check=False, text=True, timeout=60
    )

    assert (done.returncode, done.stderr) == (2, "")
    assert text in done.stdout
    assert len(done.stdout.splitlines()) == 1
    assert SECRET not in done.stdout
