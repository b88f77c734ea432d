"""Metrics: their names, their help, and that all of them are declared in one place."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from model_server.telemetry.metrics import BUCKETS_S, Metrics

ROOT = Path(__file__).resolve().parents[3]


def test_metric_names_end_in_their_unit() -> None:
    """As Prometheus asks; gauges of the present moment aside."""
    names = {metric.name: metric.type for metric in Metrics(CollectorRegistry()).registry.collect()}

    assert {name for name in names if not name.startswith("model_server_")} == set()
    assert {name for name, kind in names.items() if kind == "histogram" and not name.endswith("_seconds")} == set()
    assert {name for name, kind in names.items() if kind == "gauge"} == {
        "model_server_requests_in_flight",
        "model_server_model_load_seconds",
        "model_server_model_info",
        "model_server_workers",
    }


def test_every_metric_has_a_help_text() -> None:
    """It is all that a dashboard's author sees."""
    metrics = Metrics(CollectorRegistry())

    assert [metric.name for metric in metrics.registry.collect() if not metric.documentation.endswith(".")] == []


def test_buckets_begin_where_a_tabular_model_answers() -> None:
    """The usual ones start at 5 ms, above nearly all answers."""
    assert list(BUCKETS_S) == sorted(BUCKETS_S)
    assert BUCKETS_S[0] == 0.0005


def test_metrics_of_two_servers_do_not_mix() -> None:
    """Each has a registry of its own; the same one twice is an error, not a sum."""
    registry = CollectorRegistry()
    Metrics(registry)
    Metrics(CollectorRegistry())

    with pytest.raises(ValueError, match="Duplicated timeseries"):
        Metrics(registry)
    assert b"model_server_requests_in_flight 0.0" in generate_latest(registry)


def test_nothing_is_declared_elsewhere() -> None:
    """Metrics have one home, so that all of them can be listed."""
    done = subprocess.run(
        ["grep", "-rlE", r"\b(Counter|Gauge|Histogram|Summary)\(", str(ROOT / "model_server"), "--include=*.py"],
        capture_output=True,
        check=True,
        text=True,
        timeout=30,
    )

    assert [Path(name).name for name in done.stdout.split()] == ["metrics.py"]
