"""A registry on the loopback address: knows the distribution API as far as Docker, Helm and our tools use it; no rules.

It takes whatever it is given, as real ones do: a tag that is pushed again is silently another image.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
import urllib.parse
import uuid
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

TOKEN = "a-token"  # noqa: S105 - of a registry that lives for one test


def digest_of(content: bytes) -> str:
    """Give the name of some bytes."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


@dataclass
class Store:
    """What a registry holds, and how it is disposed.

    Attributes:
        blobs: Bytes by repository and digest.
        uploads: Bytes of uploads that are not over.
        manifests: Bytes and media type by repository and tag or digest.
        asked: Method and path of every request.
        login: What a request for a token must bring, in HTTP's Basic scheme; None leaves the doors open.
        challenge: The header that a request without a token gets; by default one that leads to this registry.
        trouble: A status that every request for a manifest gets instead of an answer.
        lie: A digest that the registry claims for every manifest.
        refuse_writing: Whether manifests may only be read.
        scopes: The scopes that tokens were asked for.
    """

    blobs: dict[tuple[str, str], bytes] = field(default_factory=dict)
    uploads: dict[str, bytes] = field(default_factory=dict)
    manifests: dict[tuple[str, str], tuple[bytes, str]] = field(default_factory=dict)
    asked: list[tuple[str, str]] = field(default_factory=list)
    login: str | None = None
    challenge: str | None = None
    trouble: int | None = None
    lie: str | None = None
    refuse_writing: bool = False
    scopes: list[str] = field(default_factory=list)
    host: str = ""

    def tags(self) -> dict[str, str]:
        """Give the digest of every tag, by `repository:tag`."""
        return {f"{name}:{tag}": digest_of(body) for (name, tag), (body, _) in self.manifests.items() if ":" not in tag}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    store: Store

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def handle_any(self) -> None:
        """Answer one request."""
        body = self._body()
        path = urllib.parse.urlsplit(self.path)
        self.store.asked.append((self.command, path.path))
        query = dict(urllib.parse.parse_qsl(path.query))
        if path.path == "/token":
            self._token(query)
        elif self.store.login and self.headers.get("Authorization") != f"Bearer {TOKEN}":
            own = f'Bearer realm="http://{self.store.host}/token",service="test"'
            challenge = own if self.store.challenge is None else self.store.challenge
            self._answer(HTTPStatus.UNAUTHORIZED, headers={"WWW-Authenticate": challenge})
        elif found := re.fullmatch(r"/v2/(.+)/blobs/uploads/(\w*)", path.path):
            self._upload(found[1], found[2], query, body)
        elif found := re.fullmatch(r"/v2/(.+)/blobs/([^/]+)", path.path):
            self._blob(found[1], found[2])
        elif found := re.fullmatch(r"/v2/(.+)/manifests/([^/]+)", path.path):
            self._manifest(found[1], found[2], body)
        else:
            self._answer(HTTPStatus.OK if path.path == "/v2/" else HTTPStatus.NOT_FOUND)

    do_GET = do_HEAD = do_PUT = do_POST = do_PATCH = handle_any  # noqa: N815 - http.server's names

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = []
        while length := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(length))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _token(self, query: dict[str, str]) -> None:
        self.store.scopes.append(query["scope"])
        if self.headers.get("Authorization") != f"Basic {self.store.login}":
            self._answer(HTTPStatus.FORBIDDEN)
            return
        self._answer(HTTPStatus.OK, json.dumps({"token": TOKEN}).encode())

    def _upload(self, name: str, session: str, query: dict[str, str], body: bytes) -> None:
        # Helm sends a blob at once, Docker first its pieces (PATCH) and then the digest of all of them.
        session = session or uuid.uuid4().hex
        whole = self.store.uploads.pop(session, b"") + body
        if self.command == "PUT":
            assert digest_of(whole) == query["digest"]
            self.store.blobs[name, query["digest"]] = whole
            self._answer(HTTPStatus.CREATED, headers={"Location": f"/v2/{name}/blobs/{query['digest']}"})
            return
        self.store.uploads[session] = whole
        place = f"http://{self.store.host}/v2/{name}/blobs/uploads/{session}"
        ends = {"Range": f"0-{max(len(whole) - 1, 0)}", "Docker-Upload-UUID": session}
        self._answer(HTTPStatus.ACCEPTED, headers={"Location": place, **ends})

    def _blob(self, name: str, digest: str) -> None:
        found = self.store.blobs.get((name, digest))
        self._answer(HTTPStatus.NOT_FOUND if found is None else HTTPStatus.OK, found or b"")

    def _manifest(self, name: str, reference: str, body: bytes) -> None:
        if self.store.trouble:
            self._answer(self.store.trouble, headers={"Location": "/v2/"})
            return
        if self.command == "PUT" and self.store.refuse_writing:
            self._answer(HTTPStatus.FORBIDDEN)
            return
        if self.command == "PUT":
            kind = self.headers["Content-Type"]
            self.store.manifests[name, reference] = self.store.manifests[name, digest_of(body)] = (body, kind)
            self._answer(HTTPStatus.CREATED, headers={"Docker-Content-Digest": digest_of(body)})
            return
        found = self.store.manifests.get((name, reference))
        if found is None:
            self._answer(HTTPStatus.NOT_FOUND, b'{"errors":[{"code":"MANIFEST_UNKNOWN"}]}')
            return
        claimed = self.store.lie or digest_of(found[0])
        self._answer(HTTPStatus.OK, found[0], {"Content-Type": found[1], "Docker-Content-Digest": claimed})

    def _answer(self, status: int, body: bytes = b"", headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {**(headers or {}), "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


@contextmanager
def serve() -> Iterator[Store]:
    """Run a registry on a free port until the test is over."""
    store = Store()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"store": store}))
    store.host = f"127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield store
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
