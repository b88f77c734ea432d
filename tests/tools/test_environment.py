"""How .venv is made: what can be shown without making one."""

from __future__ import annotations

import subprocess
import sys
import venv
from pathlib import Path

import pytest

from tools import environment

SCRIPT = environment.ROOT / "tools" / "environment.py"


def stand_in(folder: Path, program: str, script: str) -> Path:
    """Write a program of another name into a folder and give the folder."""
    folder.mkdir()
    folder.joinpath(program).write_text(f"#!/bin/sh\n{script}\n", "utf-8")
    folder.joinpath(program).chmod(0o755)
    return folder


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ("", {}),
        ("global.index-url='mirror/simple'", {"UV_DEFAULT_INDEX": "mirror/simple"}),
        (":env:.index-url='mirror/simple'", {"UV_DEFAULT_INDEX": "mirror/simple"}),
        ("install.trusted-host='mirror'", {"UV_INSECURE_HOST": "mirror"}),
        ("global.extra-index-url='\\none\\ntwo'", {"UV_INDEX": "one two"}),
        ("global.disable-pip-version-check='1'\nglobal.cert='/ca.pem'", {"SSL_CERT_FILE": "/ca.pem"}),
    ],
    ids=["nothing", "file", "environment", "command's own", "several", "other keys"],
)
def test_pips_configuration_reaches_uv(config: str, expected: dict[str, str]) -> None:
    """A machine behind a mirror is configured once, for pip."""
    assert environment.uv_variables(config, {}) == expected


def test_what_is_set_for_uv_wins() -> None:
    """Who configures uv itself means it."""
    variables = {"UV_DEFAULT_INDEX": "mine"}

    assert environment.uv_variables("global.index-url='mirror/simple'", variables) == {}


def test_an_up_to_date_environment_is_left_alone(tmp_path: Path) -> None:
    """A second `make setup` installs nothing and says nothing."""
    tmp_path.joinpath("stamp").write_text(environment.stamp_text(), "utf-8")
    answer = subprocess.run([sys.executable, SCRIPT, tmp_path], capture_output=True, text=True, check=True)

    assert (answer.stdout, answer.stderr) == ("", "")
    assert [path.name for path in tmp_path.iterdir()] == ["stamp"]


def test_a_command_that_fails_is_named() -> None:
    """The last line says which step failed, without a traceback."""
    with pytest.raises(environment.SetupError, match=r"failed \(exit 3\); its own words are above"):
        environment.run(sys.executable, "-c", "raise SystemExit(3)")


def test_a_python_without_pip_is_told_what_to_install_and_installs_nothing(tmp_path: Path) -> None:
    """As Debian's is; packages of the machine are for the person at it to install, root or not."""
    bare = tmp_path / "bare"
    venv.create(bare, with_pip=False, symlinks=True)
    packages = next(bare.glob("lib/python3.*/site-packages"))
    packages.joinpath("without_ensurepip.pth").write_text("import sys; sys.modules['ensurepip'] = None\n", "utf-8")
    asked = tmp_path / "asked"
    programs = stand_in(tmp_path / "bin", "apt-get", f'echo "$@" >> {asked}')
    command = [bare / "bin" / "python", SCRIPT, tmp_path / "made"]
    variables = {"PATH": str(programs)}
    answer = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=60, check=False)

    assert answer.returncode == 1
    assert answer.stderr.endswith(f"on Debian as root: apt-get install python3.{sys.version_info.minor}-venv\n")
    assert [path.exists() for path in (asked, tmp_path / "made")] == [False, False]


def test_the_machine_without_python_is_told_what_to_install(tmp_path: Path) -> None:
    """Make alone cannot go on, and says so in one line."""
    tmp_path.joinpath("bin").mkdir()
    for tool in ("make", "sh"):
        tmp_path.joinpath("bin", tool).symlink_to(Path("/usr/bin", tool))
    command = ["make", f"VENV={tmp_path}/venv", "setup"]
    variables = {"PATH": str(tmp_path / "bin")}
    answer = subprocess.run(command, cwd=environment.ROOT, env=variables, capture_output=True, text=True, check=False)

    assert answer.returncode != 0
    assert "no Python 3.11, 3.12 or 3.13 found; install one" in answer.stderr
