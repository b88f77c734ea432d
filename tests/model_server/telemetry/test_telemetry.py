"""Metrics and log lines: their names, their labels, and what never stands in them."""

from __future__ import annotations

import dataclasses
import logging
import subprocess
import threading
import warnings
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson
import pytest
from prometheus_client import CollectorRegistry, generate_latest

from model_server import telemetry
from model_server.errors import BugError, ContractError, Violation
from model_server.telemetry import (
    BUCKETS_S,
    REQUEST_KEYS,
    JsonFormatter,
    Metrics,
    RequestRecord,
    Stopwatch,
    Telemetry,
    configure_logging,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Lines = Callable[[], list[dict[str, Any]]]

ROOT = Path(__file__).resolve().parents[3]
FULL = RequestRecord("v1", "POST", "/x", 200, 0.0123456, "7", "linear", "1.0.0", 3, "")


@pytest.fixture
def lines(capsys: pytest.CaptureFixture[str]) -> Iterator[Lines]:
    """Give a function that reads the lines so far, each of which must be an object; logging is put back afterwards."""
    names = (None, "uvicorn", "uvicorn.error", "uvicorn.access", "kserve", "kserve.trace", "asyncio")
    before = [(one, one.handlers[:], one.level, one.propagate) for one in map(logging.getLogger, names)]
    yield lambda: [orjson.loads(line) for line in capsys.readouterr().out.splitlines()]
    logging.captureWarnings(capture=False)
    for one, handlers, level, propagate in before:
        one.handlers[:], one.propagate = handlers, propagate
        one.setLevel(level)


def test_metric_names_end_in_their_unit() -> None:
    """As Prometheus asks; gauges of the present moment aside."""
    names = {metric.name: metric.type for metric in Metrics(CollectorRegistry()).registry.collect()}

    assert {name for name in names if not name.startswith("model_server_")} == set()
    assert {name for name, kind in names.items() if kind == "histogram" and not name.endswith("_seconds")} == set()
    assert {name for name, kind in names.items() if kind == "gauge"} == {
        "model_server_requests_in_flight",
        "model_server_model_load_seconds",
        "model_server_model_info",
    }


def test_every_metric_has_a_help_text() -> None:
    """It is all that a dashboard's author sees."""
    metrics = Metrics(CollectorRegistry())

    assert [metric.name for metric in metrics.registry.collect() if not metric.documentation.endswith(".")] == []


def test_buckets_begin_where_a_tabular_model_answers() -> None:
    """The usual ones start at 5 ms, above nearly all answers."""
    assert list(BUCKETS_S) == sorted(BUCKETS_S)
    assert BUCKETS_S[0] == 0.0005


def test_a_finished_request_is_counted_and_timed() -> None:
    """Under its protocol, route, status and version."""
    metrics = Metrics(CollectorRegistry())
    Telemetry(metrics, log_requests=False).finished(FULL)

    labels = {"protocol": "v1", "endpoint": "/x", "model_version": "1.0.0"}
    assert metrics.registry.get_sample_value("model_server_requests_total", {**labels, "code": "200"}) == 1
    assert metrics.registry.get_sample_value("model_server_request_seconds_sum", labels) == FULL.latency_s


def test_requests_are_counted_from_many_threads() -> None:
    """None is lost, although children are made while others are counted."""
    metrics = Metrics(CollectorRegistry())
    counting = Telemetry(metrics, log_requests=False)

    def count(number: int) -> None:
        for turn in range(500):
            counting.finished(RequestRecord("v1", "POST", f"/{turn % 7}", 200 + number % 2, 0.001, "7"))

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


def test_metrics_of_two_servers_do_not_mix() -> None:
    """Each has a registry of its own; the same one twice is an error, not a sum."""
    registry = CollectorRegistry()
    Metrics(registry)
    Metrics(CollectorRegistry())

    with pytest.raises(ValueError, match="Duplicated timeseries"):
        Metrics(registry)
    assert b"model_server_requests_in_flight 0.0" in generate_latest(registry)


def test_a_request_line_holds_what_is_known_in_order(lines: Lines) -> None:
    """Milliseconds with three decimals; what is empty is left out."""
    configure_logging("INFO")
    counting = Telemetry(Metrics(CollectorRegistry()), log_requests=True)
    counting.finished(FULL)
    counting.finished(RequestRecord("http", "GET", "unmatched", 0, 0.0, "8", error_type="cancelled"))

    first, second = lines()
    assert list(first) == ["timestamp", "level", "logger", "message", *(k for k in REQUEST_KEYS if k != "error_type")]
    assert (first["latency_ms"], first["rows"], first["status"]) == (12.346, 3, 200)
    assert second["latency_ms"] == second["status"] == 0
    assert {"rows", "model_name", "model_version"}.isdisjoint(second)


def test_request_lines_can_be_left_out(lines: Lines) -> None:
    """Counting goes on."""
    configure_logging("INFO")
    Telemetry(Metrics(CollectorRegistry()), log_requests=False).finished(FULL)

    assert lines() == []


def test_a_line_has_a_time_with_its_zone(lines: Lines) -> None:
    """In UTC, to the millisecond."""
    configure_logging("INFO")
    telemetry.logger.warning("line\nbreak and %s", "words")

    (line,) = lines()
    assert datetime.fromisoformat(line["timestamp"]).utcoffset() is not None
    assert (line["level"], line["logger"], line["message"]) == ("WARNING", "model_server", "line\nbreak and words")


def test_of_a_foreign_exception_only_type_and_places_are_kept(lines: Lines) -> None:
    """Its text may quote a value: numpy's and pandas' do."""
    configure_logging("INFO")
    try:
        np.array(["987654.321s3cret"]).astype(float)
    except ValueError:
        telemetry.logger.exception("request failed")

    (line,) = lines()
    assert line["error_type"] == "ValueError"
    assert any("test_telemetry.py" in place for place in line["stack"])
    assert "987654" not in str(line)
    assert "error" not in line


@pytest.mark.parametrize("error", [BugError("broken"), ContractError([Violation("broken")])])
def test_an_error_of_ours_keeps_its_text(error: Exception, lines: Lines) -> None:
    """It names features, rows and rules, never a value."""
    configure_logging("INFO")
    telemetry.logger.error("request failed", exc_info=error)

    (line,) = lines()
    assert (line["error"], line["error_type"]) == ("broken", type(error).__name__)


def test_a_field_that_is_no_json_becomes_text() -> None:
    """A line must not be lost for it."""
    record = logging.LogRecord("x", logging.INFO, "here", 1, "said", None, None)
    record.fields = {"path": Path("/a")}

    assert orjson.loads(JsonFormatter().format(record))["path"] == "/a"


def test_warnings_and_other_loggers_come_as_lines_too(lines: Lines) -> None:
    """One format for whoever reads; what chatters at INFO is quiet."""
    configure_logging("INFO")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("old thing", stacklevel=1)
    logging.getLogger("uvicorn.error").info("chatter")
    logging.getLogger("kserve").error("serious")

    assert [(line["logger"], line["level"]) for line in lines()] == [("py.warnings", "WARNING"), ("kserve", "ERROR")]


@pytest.mark.parametrize(("level", "count"), [("DEBUG", 4), ("INFO", 3), ("WARNING", 2), ("ERROR", 1)])
def test_the_level_is_the_least_that_is_written(level: str, count: int, lines: Lines) -> None:
    """From the settings."""
    configure_logging(level)
    for number in (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR):
        telemetry.logger.log(number, "x")

    assert len(lines()) == count


def test_a_stopwatch_runs_forward() -> None:
    """On a clock that nobody sets."""
    watch = Stopwatch()
    first = watch.elapsed_s

    assert 0 <= first <= watch.elapsed_s < 10


def test_nothing_is_declared_elsewhere() -> None:
    """Metrics have one home, so that all of them can be listed."""
    done = subprocess.run(
        ["grep", "-rlE", r"\b(Counter|Gauge|Histogram|Summary)\(", str(ROOT / "model_server"), "--include=*.py"],
        capture_output=True,
        check=True,
        text=True,
        timeout=30,
    )

    assert [Path(name).name for name in done.stdout.split()] == ["telemetry.py"]


def test_request_lines_wait_for_their_moment(lines: Lines) -> None:
    """All of one turn of an event loop are written at once, in their place among other lines."""
    configure_logging("INFO")
    moments: list[Callable[[], None]] = []
    telemetry.write_later(moments.append)
    counting = Telemetry(Metrics(CollectorRegistry()), log_requests=True)
    for request_id in "abc":
        counting.finished(dataclasses.replace(FULL, request_id=request_id))
    assert lines() == []
    assert len(moments) == 1
    moments.pop()()
    assert [line["request_id"] for line in lines()] == ["a", "b", "c"]

    counting.finished(dataclasses.replace(FULL, request_id="d"))
    telemetry.logger.warning("other")
    assert [line.get("request_id") for line in lines()] == ["d", None]

    counting.finished(dataclasses.replace(FULL, request_id="e"))
    telemetry.write_later(None)
    counting.finished(dataclasses.replace(FULL, request_id="f"))
    assert [line["request_id"] for line in lines()] == ["e", "f"]


@pytest.mark.parametrize(
    "record",
    [
        FULL,
        RequestRecord("http", "GET", "unmatched", 0, 0.0, "8", error_type="cancelled"),
        RequestRecord("grpc", "RPC", "ModelInfer", "OK", 1.5, "a:b/c", "m", "1.0.0", 9),
        RequestRecord("v1", "POST", "/100%s", 400, 0.1, "x", "per%cent", "1", 0, "bad"),
    ],
    ids=["full", "empty", "grpc", "percent"],
)
def test_a_prepared_line_says_what_a_record_would(
    record: RequestRecord, lines: Lines, caplog: pytest.LogCaptureFixture
) -> None:
    """The line from the template, and the record for whoever listens to the logger."""
    configure_logging("INFO")
    counting = Telemetry(Metrics(CollectorRegistry()), log_requests=True)
    counting.finished(record)
    (prepared,) = lines()
    logging.getLogger().addHandler(caplog.handler)
    counting.finished(record)
    recorded = orjson.loads(JsonFormatter().format(caplog.records[-1]))

    assert list(prepared) == list(recorded)
    assert {**prepared, "timestamp": ""} == {**recorded, "timestamp": ""}


@pytest.mark.parametrize("level", ["WARNING", "ERROR"])
def test_request_lines_have_a_level_too(level: str, lines: Lines) -> None:
    """INFO: a higher one leaves them out."""
    configure_logging(level)
    Telemetry(Metrics(CollectorRegistry()), log_requests=True).finished(FULL)

    assert lines() == []


@pytest.mark.parametrize("now_s", [0.0, 1_767_225_599.9996, 1_700_000_000.001, 951_782_400.25])
def test_a_timestamp_is_a_time_to_the_millisecond(now_s: float) -> None:
    """In UTC; never more than it is."""
    read = datetime.fromisoformat(telemetry.timestamp(now_s))

    assert read.utcoffset() == timedelta(0)
    assert 0 <= now_s - read.timestamp() < 0.0011


def test_requests_being_answered_are_a_gauge() -> None:
    """Of the process that answers them."""
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
            counting.finished(dataclasses.replace(FULL, latency_s=float(latency_s)))
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
