"""Keys of webhooks: knows how to make a certificate that is its own authority; knows nothing of who uses it."""

import base64
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tools.programs import run


@dataclass(frozen=True)
class Pair:
    """A key and its certificate, each as PEM text in base64, as Secrets and webhooks want them."""

    key: str
    certificate: str


def make(host: str) -> Pair:
    """Make a key and a certificate for a host, valid for a year.

    Args:
        host: The name that the certificate is for, such as `service.namespace.svc`.

    Returns:
        The pair.
    """
    with tempfile.TemporaryDirectory() as scratch:
        key, certificate = Path(scratch, "key"), Path(scratch, "certificate")
        words = ["-x509", "-newkey", "rsa:2048", "-nodes", "-days", "365", "-subj", f"/CN={host}"]
        run(["openssl", "req", *words, "-addext", f"subjectAltName=DNS:{host}", "-keyout", key, "-out", certificate])
        return Pair(*(base64.b64encode(path.read_bytes()).decode() for path in (key, certificate)))
