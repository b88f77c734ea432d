"""Requests: counted, timed and written, each once."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson
import pytest
from prometheus_client import CollectorRegistry

from model_server.telemetry.logs import JsonFormatter, configure_logging, logger, write_later
from model_server.telemetry.metrics import BUCKETS_S, Metrics
from model_server.telemetry.requests import REQUEST_KEYS, Kind, Telemetry

if TYPE_CHECKING:
    from collections.abc import Callable

    Lines = Callable[[], list[dict[str, Any]]]

KIND = Kind("v1", "POST", "/x", 200, "linear", "1.0.0", "")
LATENCY_S = 0.0123456
#: Arguments of ``count``: kind, latency, identifier, rows.
FULL = KIND, LATENCY_S, "7", 3
CANCELLED = Kind("http", "GET", "unmatched", 0, "", "", "cancelled"), 0.0, "8", 0


def test_a_finished_request_is_counted_and_timed() -> None:
    """Its series is that of its protocol, route, status and version."""
    metrics = Metrics(CollectorRegistry())
    Telemetry(metrics, log_requests=False).count(*FULL)

    labels = {"protocol": "v1", "endpoint": "/x", "model_version": "1.0.0"}
    assert metrics.registry.get_sample_value("model_server_requests_total", {**labels, "code": "200"}) == 1
    assert metrics.registry.get_sample_value("model_server_request_seconds_sum", labels) == LATENCY_S


def test_requests_are_counted_from_many_threads() -> None:
    """None is lost, although children are made while others are counted."""
    metrics = Metrics(CollectorRegistry())
    counting = Telemetry(metrics, log_requests=False)

    def count(number: int) -> None:
        for turn in range(500):
            kind = Kind("v1", "POST", f"/{turn % 7}", 200 + number % 2, "", "", "")
            counting.count(kind, 0.001, "7", 0)

    threads = [threading.Thread(target=count, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    samples = [
        sample.value
        for metric in metrics.registry.collect()
        for sample in metric.samples
        if sample.name == "model_server_requests_total"
    ]
    assert (len(samples), sum(samples)) == (14, 4000)


def test_a_request_line_holds_what_is_known_in_order(lines: Lines) -> None:
    """Milliseconds with three decimals; what is empty is left out."""
    configure_logging("INFO")
    counting = Telemetry(Metrics(CollectorRegistry()), log_requests=True)
    counting.count(*FULL)
    counting.count(*CANCELLED)

    first, second = lines()
    assert list(first) == ["timestamp", "level", "logger", "message", *(k for k in REQUEST_KEYS if k != "error_type")]
    assert (first["latency_ms"], first["rows"], first["status"]) == (12.346, 3, 200)
    assert second["latency_ms"] == second["status"] == 0
    assert {"rows", "model_name", "model_version"}.isdisjoint(second)


def test_request_lines_can_be_left_out(lines: Lines) -> None:
    """Requests are counted all the same."""
    configure_logging("INFO")
    Telemetry(Metrics(CollectorRegistry()), log_requests=False).count(*FULL)

    assert lines() == []


def test_request_lines_wait_for_their_moment(lines: Lines) -> None:
    """All of one turn of an event loop are written at once, in their place among other lines."""
    configure_logging("INFO")
    moments: list[Callable[[], None]] = []
    write_later(moments.append)
    counting = Telemetry(Metrics(CollectorRegistry()), log_requests=True)
    for request_id in "abc":
        counting.count(KIND, LATENCY_S, request_id, 3)
    assert lines() == []
    assert len(moments) == 1
    moments.pop()()
    assert [line["request_id"] for line in lines()] == ["a", "b", "c"]

    counting.count(KIND, LATENCY_S, "d", 3)
    logger.warning("other")
    assert [line.get("request_id") for line in lines()] == ["d", None]

    counting.count(KIND, LATENCY_S, "e", 3)
    write_later(None)
    counting.count(KIND, LATENCY_S, "f", 3)
    assert [line["request_id"] for line in lines()] == ["e", "f"]


@pytest.mark.parametrize(
    "finished",
    [
        FULL,
        CANCELLED,
        (Kind("grpc", "RPC", "ModelInfer", "OK", "m", "1.0.0", ""), 1.5, "a:b/c", 9),
        (Kind("v1", "POST", "/100%s", 400, "per%cent", "1", "bad"), 0.1, "x", 0),
    ],
    ids=["full", "empty", "grpc", "percent"],
)
def test_a_prepared_line_says_what_a_record_would(
    finished: tuple[Kind, float, str, int], lines: Lines, caplog: pytest.LogCaptureFixture
) -> None:
    """The line from the template, and the record for whoever listens to the logger."""
    configure_logging("INFO")
    counting = Telemetry(Metrics(CollectorRegistry()), log_requests=True)
    counting.count(*finished)
    (prepared,) = lines()
    logging.getLogger().addHandler(caplog.handler)
    counting.count(*finished)
    recorded = orjson.loads(JsonFormatter().format(caplog.records[-1]))

    assert list(prepared) == list(recorded)
    assert {**prepared, "timestamp": ""} == {**recorded, "timestamp": ""}


@pytest.mark.parametrize("level", ["WARNING", "ERROR"])
def test_request_lines_have_a_level_too(level: str, lines: Lines) -> None:
    """INFO: a higher one leaves them out."""
    configure_logging(level)
    Telemetry(Metrics(CollectorRegistry()), log_requests=True).count(*FULL)

    assert lines() == []


def test_requests_being_answered_are_a_gauge() -> None:
    """It tells how busy this process is at the moment of the scrape."""
    metrics = Metrics(CollectorRegistry())
    counting = Telemetry(metrics, log_requests=False)
    counting.in_flight += 2

    assert metrics.registry.get_sample_value("model_server_requests_in_flight") == 2


def test_latencies_that_wait_are_added_up_as_if_each_had_been_observed() -> None:
    """Bucket by bucket, also on the bounds themselves and beyond the last; and again after a scrape."""
    metrics, direct = Metrics(CollectorRegistry()), Metrics(CollectorRegistry())
    counting = Telemetry(metrics, log_requests=False)
    latencies = [*BUCKETS_S, *(bound + 1e-9 for bound in BUCKETS_S), 0.0, 99.0, *np.random.default_rng(1).random(3000)]
    for turn in range(2):
        for latency_s in latencies:
            counting.count(KIND, float(latency_s), "7", 3)
            direct.request_seconds.labels("v1", "/x", "1.0.0").observe(float(latency_s))
        found, expected = (_samples(one.registry, "model_server_request_seconds") for one in (metrics, direct))
        assert found == pytest.approx(expected)
        assert found[("model_server_request_seconds_count", "")] == len(latencies) * (turn + 1)


def _samples(registry: CollectorRegistry, name: str) -> dict[tuple[str, str], float]:
    return {
        (sample.name, sample.labels.get("le", "")): sample.value
        for metric in registry.collect()
        if metric.name == name
        for sample in metric.samples
        if not sample.name.endswith("_created")
    }
