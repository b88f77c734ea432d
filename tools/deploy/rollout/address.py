"""Ways to a server in the cluster from here: knows how to reach one in each mode; knows nothing of what it answers."""

import re
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tools.clients import kubectl
from tools.deploy.rollout import readiness
from tools.errors import ClusterError


@dataclass(frozen=True)
class Address:
    """Where to ask.

    Attributes:
        url: The server's address, as it is called.
        proxy: The ingress, taken as an HTTP proxy: the name in the URL needs no resolver then. None: ask directly.
        grpc: host:port of gRPC; None where it is not served.
    """

    url: str
    proxy: str | None = None
    grpc: str | None = None


@contextmanager
def reachable(name: str, namespace: str, ingress: Callable[[], str]) -> Iterator[Address]:
    """Reach an InferenceService: in Standard mode a port of its Service is forwarded, in Knative mode by the ingress.

    Args:
        name: The InferenceService.
        namespace: Where it is.
        ingress: Gives the address of the cluster's ingress; asked in Knative mode alone.

    Yields:
        The way in.

    Raises:
        ClusterError: It is not there, or kubectl forwards nothing.
    """
    found = readiness.service(name, namespace)
    if readiness.mode(found) == "knative":
        url: str = found.get("status", {}).get("url", "")
        if not url:
            raise ClusterError(f"InferenceService {name} has no URL yet; it is not ready")
        yield Address(url, proxy=ingress())
        return
    with _forwarded(f"deployment/{name}-predictor", namespace, (8080, 8081)) as (http, grpc):
        yield Address(f"http://127.0.0.1:{http}", grpc=f"127.0.0.1:{grpc}")


@contextmanager
def _forwarded(target: str, namespace: str, ports: tuple[int, ...]) -> Iterator[list[int]]:
    words = ["port-forward", "--address", "127.0.0.1", "-n", namespace, target, *(f":{port}" for port in ports)]
    with subprocess.Popen([kubectl(), *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield [_local_port(process) for _ in ports]
        finally:
            process.terminate()


def _local_port(process: subprocess.Popen[str]) -> int:
    if process.stdout is None or process.stderr is None:
        raise ClusterError("kubectl was started without pipes")
    # "Forwarding from 127.0.0.1:40123 -> 8080"; at the end of the output kubectl has given up.
    found = re.search(r":(\d+) ->", process.stdout.readline())
    if not found:
        raise ClusterError(f"kubectl forwards no port: {process.stderr.read().strip()}")
    return int(found[1])
