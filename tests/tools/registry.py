"""Registries on the loopback address: crane's own, which takes what it is given, and one that answers what it is told.

A tag that is pushed again is silently another image in crane's, as in most registries.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import tempfile
import threading
import time
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import IO, TYPE_CHECKING

from tools import clients

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
#: The registry starts in some hundredths of a second; a machine may be busy.
START_S = 60
#: Loopback addresses are behind no proxy, whatever the environment says.
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def digest_of(content: bytes) -> str:
    """Give the name of some bytes."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


@dataclass
class Store:
    """What crane's registry holds, asked past crane.

    Attributes:
        host: Its address.
        log: What it writes down, a line for every request, before it answers.
    """

    host: str
    log: IO[bytes]

    def asked(self) -> list[str]:
        """Give the method and the path of every request until now."""
        return re.findall(r"([A-Z]+ /v2/\S*)", read_whole(self.log))

    def read(self, path: str) -> bytes:
        """Read what is under a path of its API."""
        with OPENER.open(f"http://{self.host}/v2/{path}", timeout=10) as answer:
            content: bytes = answer.read()
        return content

    def put(self, name: str, tag: str, content: bytes) -> None:
        """Give a repository a manifest, as whoever pushes past all rules."""
        url = f"http://{self.host}/v2/{name}/manifests/{tag}"
        OPENER.open(urllib.request.Request(url, content, {"Content-Type": MANIFEST}, method="PUT"), timeout=10).close()

    def manifest(self, name: str, tag: str) -> bytes:
        """Read what a tag stands for."""
        return self.read(f"{name}/manifests/{tag}")

    def tags(self) -> dict[str, str]:
        """Give the digest of every tag, by `repository:tag`."""
        names = json.loads(self.read("_catalog"))["repositories"] or []
        tags = [(name, tag) for name in names for tag in json.loads(self.read(f"{name}/tags/list"))["tags"]]
        return {f"{name}:{tag}": digest_of(self.manifest(name, tag)) for name, tag in tags}


@contextmanager
def serve() -> Iterator[Store]:
    """Run crane's registry on a free port until the test is over."""
    words = [clients.crane(), "registry", "serve", "--address", "127.0.0.1:0"]
    with tempfile.TemporaryFile() as log, subprocess.Popen(words, stderr=log) as process:
        try:
            yield Store(f"127.0.0.1:{_port(log, process)}", log)
        finally:
            process.terminate()


def _port(log: IO[bytes], process: subprocess.Popen[bytes]) -> str:
    until = time.monotonic() + START_S
    while not (found := re.search(r"serving on port (\d+)", read_whole(log))):
        assert process.poll() is None, read_whole(log)
        assert time.monotonic() < until, "the registry does not start"
        time.sleep(0.01)
    return found[1]


def read_whole(log: IO[bytes]) -> str:
    """Read a file that a process goes on writing; the two share one position, which only the process may move."""
    return os.pread(log.fileno(), 1 << 20, 0).decode()


@dataclass(frozen=True)
class Answer:
    """What a registry says: a status, headers and a body."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


def refusal(status: int, code: str) -> Answer:
    """Make an answer with an error of the registries' protocol."""
    return Answer(status, {"Content-Type": "application/json"}, json.dumps({"errors": [{"code": code}]}).encode())


@contextmanager
def answering(answer: Callable[[str, str, Mapping[str, str]], Answer]) -> Iterator[str]:
    """Run a registry that says what a function makes of method, path and headers, and give its address."""

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Say nothing."""

        def handle_any(self) -> None:
            """Answer one request."""
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            found = answer(self.command, self.path, dict(self.headers.items()))
            self.send_response(found.status)
            for name, value in {**found.headers, "Content-Length": str(len(found.body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(found.body if self.command != "HEAD" else b"")

        do_GET = do_HEAD = do_PUT = handle_any  # noqa: N815 - http.server's names

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
