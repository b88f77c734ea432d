"""The lean route and KServe's own answer alike: the same generated requests, good and bad, to both."""

from __future__ import annotations

import contextlib
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from tests.conformance import launch
from tests.conformance.wire import HEADER_LENGTH, v2_outputs
from tests.fuzz.generator import Generator, noted

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import httpx

    from tests.conformance.launch import Served
    from tests.conformance.wire import Request


@pytest.fixture(scope="session", params=["breast-cancer", "churn", "iris"])
def routes(
    request: pytest.FixtureRequest, registry: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Served, Served]]:
    """The same bundle behind the lean route, and behind KServe's own."""
    folder = tmp_path_factory.mktemp("routes")
    with contextlib.ExitStack() as stack:
        lean, own = (
            stack.enter_context(launch.as_command(registry, request.param, folder, "--hot_path", choice))
            for choice in ("true", "false")
        )
        yield lean, own


@pytest.mark.fuzz
def test_both_routes_answer_alike(routes: tuple[Served, Served], fuzz_seed: int, fuzz_requests: int) -> None:
    """The same status and the same numbers, or the same refusal."""
    lean, own = routes
    generator = Generator(lean.facts, fuzz_seed + 2)
    statuses: Counter[int] = Counter()
    with ThreadPoolExecutor(1) as pool:
        for _ in range(fuzz_requests // 4):
            request = generator.prediction()
            behind = pool.submit(own.target.send, request)
            first, second = lean.target.send(request), behind.result()
            with noted(shown(request, first, second)):
                assert meaning(first) == meaning(second)
            statuses[first.status_code] += 1
    print(f"\nfuzz seed {fuzz_seed + 2}: {sorted(statuses.items())}")  # noqa: T201 - the seed is what a reader needs
    assert statuses[200] > fuzz_requests / 80, "hardly any request was good: the generator is broken"


def shown(request: Request, *responses: httpx.Response) -> str:
    """Describe a request and its answers."""
    answers = [f"{response.status_code} {response.content[:600]!r}" for response in responses]
    return f"{request.path} {request.headers} {request.content[:1500]!r}\n" + "\n".join(answers)


def meaning(response: httpx.Response) -> tuple[int, Any]:
    """Reduce an answer to what both routes must agree on: a refusal's code and flaws, or the numbers, names and id."""
    if response.status_code != 200:
        body = response.json()
        return response.status_code, (body["code"], body.get("violations"))
    length = response.headers.get(HEADER_LENGTH)
    if length is None and "predictions" in response.json():
        answer = {key: value for key, value in response.json().items() if key != "processing_time_ms"}
        return 200, answer
    if length is None and "outputs" not in response.json():
        return 200, response.json()
    return 200, (list(v2_outputs(response.content, length).items()), length is None)
