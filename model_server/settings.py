"""Settings: read once, frozen, from flags > environment > file > default; a bad or unknown one stops the process.

Knows keys, types and where a value came from; does not know what the values are used for. Names that KServe's own
server has (``--http_port``, ``--model_name`` …) mean the same here, and as a flag either spelling works:
``--event_loop`` and ``--event-loop``.
"""

from __future__ import annotations

import difflib
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import yaml
from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import (
    BaseSettings,
    CliSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from model_server.errors import ConfigError, describe

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

#: Environment names beside ``MODEL_SERVER_<KEY>``, which every key has; of several, the first that is set counts.
ENVIRONMENT: dict[str, tuple[str, ...]] = {
    "app_env": ("APP_ENV",),
    "log_level": ("LOG_LEVEL",),
    "model_name": ("MODEL_NAME",),
    "model_dir": ("MODEL_DIR", "MODEL_URI", "MODEL_PATH"),
    "model_version": ("MODEL_VERSION",),
    "model_digest": ("MODEL_DIGEST",),
    "http_port": ("HTTP_PORT", "PORT"),
    "grpc_port": ("GRPC_PORT",),
    "api_admin_token": ("API_ADMIN_TOKEN",),
}
PREFIX = "MODEL_SERVER_"
CONFIG_FILE = PREFIX + "CONFIG"
_DAY_S = 86_400

# Kubernetes puts the address of every Service of the namespace into the environment: one that is called grpc sets
# GRPC_PORT=tcp://…, one that is called model-server sets MODEL_SERVER_SERVICE_HOST. Those are not settings.
_SERVICE_LINK = re.compile(r"^(tcp|udp|sctp)://")
_SERVICE_LINK_NAME = re.compile(r"_(SERVICE_(HOST|PORT\w*)|PORT_\d+_(TCP|UDP|SCTP)_(PROTO|PORT|ADDR))$")


class Settings(BaseSettings):
    """Everything that can be set, by flag, by environment (MODEL_SERVER_<KEY>) or in the YAML file of --config."""

    model_config = SettingsConfigDict(
        frozen=True,
        extra="forbid",
        hide_input_in_errors=True,
        cli_prog_name="python -m model_server",
        cli_hide_none_type=True,
        cli_avoid_json=True,
        use_attribute_docstrings=True,
        protected_namespaces=(),
    )

    model_name: str | None = Field(None, max_length=63, pattern=r"^[a-z]([-a-z0-9]*[a-z0-9])?$")
    """Name on the routes; default: the name in the bundle's manifest."""
    model_dir: str = "/mnt/models"
    """A bundle folder, or a registry folder whose production version of model_name is served."""
    model_version: str | None = None
    """Version that the bundle must have; in a registry, the approved version to serve instead of production."""
    model_digest: str | None = Field(None, pattern=r"^(sha256:)?[0-9a-f]{64}$")
    """SHA-256 that the bundle's manifest.json must have; another bundle is not loaded."""
    allow_unapproved: bool = False
    """Whether a version is served that is not in production, or whose gates failed."""
    library_mismatch: Literal["refuse", "warn"] = "refuse"
    """What to do when scikit-learn is of another minor version than in training."""
    require_model: bool = True
    """Whether the process ends when no bundle can be loaded; if not, it stays up and not ready."""
    startup_timeout_s: float = Field(120.0, gt=0, le=_DAY_S)
    """Longest time to load a bundle, in seconds."""
    http_host: str = "0.0.0.0"  # noqa: S104 - a pod is reached from outside
    """Address that HTTP and gRPC listen on."""
    http_port: int = Field(8080, ge=0, le=65535)
    """HTTP port; 0 picks a free one."""
    grpc_port: int = Field(8081, ge=0, le=65535)
    """gRPC port; 0 picks a free one."""
    address_file: str | None = None
    """File to write the address of the HTTP port to, once it is open; the image's HEALTHCHECK reads it."""
    enable_grpc: bool = True
    """Whether to serve gRPC."""
    enable_docs_url: bool = True
    """Whether to serve /docs, /redoc and /openapi.json."""
    enable_latency_logging: bool = True
    """Whether to write one log line a request."""
    hot_path: bool = True
    """Whether predict, explain and infer are answered by the lean route; if not, by KServe's own."""
    v1_output: Literal["full", "label"] = "full"
    """v1 predictions: one object a row, or bare labels as KServe's sklearnserver gives."""
    workers: int = Field(1, ge=1, le=64)
    """Serving processes that share the ports; replicas are the better way to scale."""
    max_body_bytes: int = Field(16 * 1024 * 1024, ge=1)
    """Largest HTTP request body, in bytes; a larger one is answered 413."""
    max_rows: int = Field(10_000, ge=1)
    """Most rows of one request."""
    grpc_max_send_message_length: int = Field(16 * 1024 * 1024, ge=1, lt=2**31)
    """Largest gRPC answer, in bytes."""
    grpc_max_receive_message_length: int = Field(16 * 1024 * 1024, ge=1, lt=2**31)
    """Largest gRPC request, in bytes."""
    predict_threads: int = Field(1, ge=1, le=64)
    """Threads that run the model, apart from the event loop."""
    predictor: Literal["compiled", "onnx", "scikit-learn"] = "compiled"
    """What answers, where the bundle's record allows it; else, onnx gives way to compiled, and that to scikit-learn."""
    batch_rows: int = Field(256, ge=1, le=100_000)
    """Most rows of one model call: requests that arrive together share one, a larger request runs in slices."""
    queue_rows: int = Field(100_000, ge=1)
    """Most rows that may wait for the model; what comes beyond them is answered 503 with Retry-After."""
    queue_timeout_s: float = Field(30.0, gt=0, le=_DAY_S)
    """Longest time a request may wait for the model before its turn, in seconds; then it is answered 503."""
    timeout_keep_alive: int = Field(65, ge=1, le=_DAY_S)
    """Seconds an idle HTTP connection stays open; longer than the proxy's, or it answers 503 now and then."""
    event_loop: Literal["auto", "asyncio", "uvloop"] = "auto"
    """Event loop; auto takes uvloop."""
    shutdown_delay_s: float = Field(0.0, ge=0, le=_DAY_S)
    """Seconds between turning not ready and closing the ports, where no preStop hook waits."""
    shutdown_grace_s: float = Field(30.0, gt=0, le=_DAY_S)
    """Seconds that requests in flight may take to finish after the ports closed."""
    app_env: Literal["production", "local"] = "production"
    """In production the admin routes need a token; local leaves them open when none is set."""
    api_admin_token: SecretStr | None = Field(None, min_length=8)
    """Token that the admin routes expect in X-Admin-Token; set it by the environment."""
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    """Least level that is logged."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - the library's signature, as below
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Take values from the arguments alone: ``load`` hands in every layer by itself, so nothing is read twice."""
        return (init_settings,)


def load(argv: Sequence[str], environ: Mapping[str, str] = os.environ) -> Settings:
    """Read the settings of a process.

    Args:
        argv: Command line arguments without the program's name; of a repeated flag the last counts.
        environ: Environment variables.

    Returns:
        The frozen settings.

    Raises:
        ConfigError: A key is unknown or a value is bad; the text names the key and where it was set, never the value.
        SystemExit: From ``--help``.
    """
    flags = _flags(argv)
    config = flags.pop("config", None)
    file_name = config.value if config else environ.get(CONFIG_FILE)
    found = _file(file_name) | _environment(environ) | flags
    try:
        return Settings(**{key: item.value for key, item in found.items()})
    except ValidationError as error:
        places = sorted({str(flaw["loc"][0]) for flaw in error.errors(include_input=False)})
        origin = ", ".join(f"{key} was set by {found[key].origin}" for key in places)
        raise ConfigError(f"bad setting: {describe(error)} ({origin})") from error


@dataclass(frozen=True, slots=True)
class _Given:
    value: Any = field(repr=False)
    origin: str


def _unknown(key: str, origin: str) -> ConfigError:
    near = difflib.get_close_matches(key, Settings.model_fields, n=1)
    hint = f"did you mean {near[0]}?" if near else "--help lists all"
    return ConfigError(f"unknown setting {key!r} by {origin}: {hint}")


def _flags(argv: Sequence[str]) -> dict[str, _Given]:
    # Read by hand: argparse quotes words that it does not understand, and one of them may be a token.
    if not {"-h", "--help"}.isdisjoint(argv):
        CliSettingsSource(Settings, cli_parse_args=["--help"])
    found: dict[str, _Given] = {}
    words = iter(argv)
    for word in words:
        name, equals, value = word.partition("=")
        if not name.startswith("--"):
            place = f"after {list(found.values())[-1].origin}" if found else "first"
            raise ConfigError(f"the word that comes {place} is no flag: write --key value or --key=value")
        key = name.removeprefix("--").replace("-", "_")
        if key not in Settings.model_fields and key != "config":
            raise _unknown(key, f"flag {name}")
        value = value if equals else next(words, "--")
        if value.startswith("--") and not equals:
            raise ConfigError(f"flag {name} needs a value")
        found[key] = _Given(value, f"flag {name}")
    return found


def _environment(environ: Mapping[str, str]) -> dict[str, _Given]:
    environ = {name: value for name, value in environ.items() if not _is_service_link(name, value)}
    for name in sorted(environ):
        if name.startswith(PREFIX) and name != CONFIG_FILE and _key(name) not in Settings.model_fields:
            raise _unknown(_key(name), f"environment variable {name}")
    found = {}
    for key in Settings.model_fields:
        names = (PREFIX + key.upper(), *ENVIRONMENT.get(key, ()))
        for name in [name for name in names if environ.get(name)][:1]:
            found[key] = _Given(environ[name], f"environment variable {name}")
    return found


def _key(name: str) -> str:
    return name.removeprefix(PREFIX).lower()


def _is_service_link(name: str, value: str) -> bool:
    return _SERVICE_LINK.match(value) is not None or _SERVICE_LINK_NAME.search(name) is not None


def _file(name: str | None) -> dict[str, _Given]:
    if not name:
        return {}
    try:
        content = yaml.safe_load(Path(name).read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:  # ValueError: not UTF-8, or a date that is none
        raise ConfigError(f"settings file {name} cannot be read: {type(error).__name__}") from error
    if not isinstance(content, dict | None) or not all(isinstance(key, str) for key in content or ()):
        raise ConfigError(f"settings file {name} must hold keys and values")
    for key in content or ():
        if key not in Settings.model_fields:
            raise _unknown(key, f"file {name}")
    return {key: _Given(value, f"file {name}") for key, value in (content or {}).items()}
