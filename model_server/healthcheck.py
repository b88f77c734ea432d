"""Healthcheck: asks the server of this container whether it lives, at the address that the server itself wrote down.

The port may come from a flag, three variables or a file, or be picked by the system: only the server knows it. It is
asked every few seconds, so nothing but the standard library is imported here.
"""

from __future__ import annotations

import http.client
import os
import sys
import tempfile
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping

#: The setting ``address_file`` in the environment: the image sets it for the server and for the check alike.
VARIABLE = "MODEL_SERVER_ADDRESS_FILE"
_LOOPBACK = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - what listens on all addresses is asked on this one
_TIMEOUT_S = 4.0


def announce(path: Path, host: str, port: int) -> None:
    """Write down where the server listens, whole or not at all.

    Args:
        path: The file.
        host: Numeric address that the socket is bound to.
        port: Its port.

    Raises:
        OSError: It cannot be written.
    """
    address = _LOOPBACK.get(host, host)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    with os.fdopen(handle, "w", encoding="ascii") as file:
        file.write(f"http://{f'[{address}]' if ':' in address else address}:{port}\n")
    Path(name).replace(path)


def check(environ: Mapping[str, str]) -> str:
    """Ask the server.

    Returns:
        What is wrong; empty when it lives.
    """
    path = environ.get(VARIABLE)
    if not path:
        return f"{VARIABLE} is not set: the image sets it, so leave it"
    try:
        address = urlsplit(Path(path).read_text(encoding="ascii").strip())
    except OSError as error:
        return f"{path} cannot be read ({error.strerror}): the server does not listen yet, or could not write there"
    try:
        return _asked(address.hostname or "", address.port or 0)
    except (OSError, http.client.HTTPException) as error:
        return f"{address.netloc} does not answer ({type(error).__name__})"


def _asked(host: str, port: int) -> str:
    # Not urllib.request: it would ask by way of the proxy that the environment names.
    connection = http.client.HTTPConnection(host, port, timeout=_TIMEOUT_S)
    connection.request("GET", "/health")
    status = connection.getresponse().status
    connection.close()
    return "" if status == HTTPStatus.OK else f"/health answers {status}"


def main() -> int:
    """Check, and say what is wrong.

    Returns:
        Exit code, as Docker's HEALTHCHECK wants it: 0 alive, 1 not.
    """
    wrong = check(os.environ)
    print(wrong or "alive")  # noqa: T201 - docker inspect shows it
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
