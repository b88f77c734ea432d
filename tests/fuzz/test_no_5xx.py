"""Ten thousand requests over every route, and by gRPC: no 5xx, no leak, and the server answers right afterwards."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING, Any

import grpc
import httpx
import orjson
import pytest

from tests.conformance.errors import assert_error, assert_no_leak
from tests.conformance.protocols import v2_json
from tests.fuzz.generator import Generator, GrpcCall, noted

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from tests.conformance.launch import Served
    from tests.conformance.wire import Request

CONNECTIONS = 8

#: Codes that say that the server, not the caller, is at fault.
OUR_FAULT = {grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN, grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DATA_LOSS}


async def each(n_workers: int, total: int, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Do some work many times, some at once."""
    left = iter(range(total))

    async def worker() -> None:
        for _ in left:
            await work()

    await asyncio.gather(*(worker() for _ in range(n_workers)))


def check_http(request: Request, response: httpx.Response) -> None:
    """Check one answer; the text of a failure holds the whole request."""
    shown = f"{request.method} {request.path} {request.headers} {request.content[:2000]!r} -> {response.status_code}"
    assert response.status_code < 500, f"{shown}: {response.text[:500]}"
    if response.status_code >= 400 and request.method != "HEAD":
        with noted(shown):
            assert_error(response, response.status_code)


@pytest.mark.fuzz
def test_no_http_request_finds_a_5xx(served: Served, fuzz_seed: int, fuzz_requests: int) -> None:
    """v1, v2 JSON, v2 binary, facade, every other route and made-up ones; every refusal has the error body."""
    generator = Generator(served.facts, fuzz_seed)
    statuses: Counter[int] = Counter()

    async def run() -> None:
        limits = httpx.Limits(max_connections=CONNECTIONS)
        async with httpx.AsyncClient(
            base_url=served.target.base_url, limits=limits, timeout=30, trust_env=False
        ) as client:

            async def one() -> None:
                request = generator.http()
                headers = {name: value.encode() for name, value in request.headers.items()}
                url = httpx.URL(served.target.base_url + "/").copy_with(raw_path=request.path.encode())
                response = await client.request(
                    request.method,
                    url,
                    content=request.content,
                    headers=headers,  # type: ignore[arg-type]
                )
                statuses[response.status_code] += 1
                check_http(request, response)

            await each(CONNECTIONS, fuzz_requests, one)

    before = v2_json(served.target, served.facts, served.facts.take(3))
    asyncio.run(run())
    print(f"\nfuzz seed {fuzz_seed}: {sorted(statuses.items())}")  # noqa: T201 - the seed is what a reader needs
    assert statuses[200] > fuzz_requests / 20, "hardly any request was good: the generator is broken"
    assert v2_json(served.target, served.facts, served.facts.take(3)) == before


@pytest.mark.fuzz
def test_no_grpc_call_is_our_fault(served: Served, fuzz_seed: int, fuzz_requests: int) -> None:
    """Damaged messages are the caller's fault; bytes that are no message are refused by the library."""
    generator = Generator(served.facts, fuzz_seed + 1)
    codes: Counter[str] = Counter()

    async def run() -> None:
        async with grpc.aio.insecure_channel(str(served.target.grpc_address)) as channel:

            async def one() -> None:
                call = generator.grpc()
                codes[await outcome(channel, call)] += 1

            await each(CONNECTIONS, fuzz_requests // 4, one)

    asyncio.run(run())
    print(f"\nfuzz seed {fuzz_seed + 1}: {sorted(codes.items())}")  # noqa: T201 - the seed is what a reader needs
    assert codes["OK"] > fuzz_requests / 80, "hardly any call was good: the generator is broken"


async def outcome(channel: Any, call: GrpcCall) -> str:
    """Make one call and check how it ends; gives the name of its code."""
    method = channel.unary_unary(f"/inference.GRPCInferenceService/{call.method}")
    try:
        await method(call.content, timeout=30)
    except grpc.aio.AioRpcError as error:
        shown = f"{call.method} {call.content[:2000]!r} -> {error.code()}: {error.details()}"
        if error.code() in OUR_FAULT and call.is_message():
            pytest.fail(shown)
        assert_no_leak(error.details() or "")
        return str(error.code().name)
    return "OK"


def test_the_same_seed_draws_the_same_requests(served: Served) -> None:
    """A printed seed is enough to repeat a run."""
    first, second = Generator(served.facts, 7), Generator(served.facts, 7)
    assert [first.http() for _ in range(50)] == [second.http() for _ in range(50)]
    assert orjson.loads(Generator(served.facts, 7).prediction().content or b"null") is not None
