"""Requests that flow while something else happens: knows how to send and count them, not what they mean."""

from __future__ import annotations

import http.client
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from tools.deploy.rollout.address import Address


@dataclass
class Load:
    """Clients that send one request after the other until they are told to stop.

    Each request is a connection of its own and is sent once: whatever a client would hide by a second try is counted.

    Attributes:
        address: Where to send.
        path: The route.
        body: What is sent each time.
        clients: How many send at the same time.
        pause_s: How long a client waits between two requests, in seconds.
        versions: How often each bundle's version answered with 200.
        failures: How often anything else happened, by what it was.
    """

    address: Address
    path: str
    body: bytes
    clients: int = 4
    pause_s: float = 0.05
    versions: Counter[str] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)
    _order: list[str] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def sent(self) -> int:
        """How many requests have an outcome."""
        return self.versions.total() + self.failures.total()

    def __enter__(self) -> Self:
        self._threads = [threading.Thread(target=self._send_on) for _ in range(self.clients)]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(timeout=60)

    def wait_for(self, count: int, timeout_s: float = 180.0) -> None:
        """Wait until so many requests have an outcome."""
        until = time.monotonic() + timeout_s
        while self.sent < count:
            assert time.monotonic() < until, f"only {self.sent} of {count} requests were answered in {timeout_s:.0f} s"
            time.sleep(0.05)

    def wait_for_next(self, count: int) -> None:
        """Wait until so many further requests have an outcome."""
        self.wait_for(self.sent + count)

    def forget(self) -> None:
        """Count from here."""
        with self._lock:
            self.versions.clear()
            self.failures.clear()

    def _send_on(self) -> None:
        while not self._stop.is_set():
            version, failure = self._send()
            with self._lock:
                if failure:
                    self.failures[failure] += 1
                else:
                    self.versions[version] += 1
            time.sleep(self.pause_s)

    def _send(self) -> tuple[str, str]:
        url = urlsplit(self.address.url)
        where = urlsplit(self.address.proxy or self.address.url).netloc
        connection = http.client.HTTPConnection(where, timeout=30)
        headers = {"Host": url.netloc, "Content-Type": "application/json", "Connection": "close"}
        try:
            connection.request("POST", self.path, self.body, headers)
            answer = connection.getresponse()
            answer.read()
        except (OSError, http.client.HTTPException) as error:
            return "", f"{type(error).__name__}: {error}"
        finally:
            connection.close()
        if answer.status != 200:
            return "", f"status {answer.status}"
        return answer.headers["x-model-version"], ""
