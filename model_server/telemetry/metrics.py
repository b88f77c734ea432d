"""The Prometheus metrics of the server: every one is declared here, and nowhere else.

Label values are bounded: routes are templates, models and versions are the served ones, features come from the
contract.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from prometheus_client import Metric

#: Upper bounds in seconds. A tabular model answers in well under the 5 ms where the usual buckets begin.
BUCKETS_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Metrics:
    """The Prometheus metrics of one process."""

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        """Register all metrics.

        Args:
            registry: Where they are collected; the default one is what ``/metrics`` shows.
        """
        request = ["protocol", "endpoint", "code", "model_version"]
        self.registry = registry
        self.before_scrape = _BeforeScrape()
        registry.register(self.before_scrape)  # first: collectors are asked in order
        self.requests = Counter(
            "model_server_requests_total",
            "Requests by protocol, route, status code and model version.",
            request,
            registry=registry,
        )
        self.request_seconds = Histogram(
            "model_server_request_seconds",
            "Time from the last byte of a request to its answer, in seconds.",
            ["protocol", "endpoint", "model_version"],
            buckets=BUCKETS_S,
            registry=registry,
        )
        self.inference_seconds = Histogram(
            "model_server_inference_seconds",
            "Time within the model, in seconds.",
            ["model_version"],
            buckets=BUCKETS_S,
            registry=registry,
        )
        self.rows = Counter(
            "model_server_rows_total", "Rows that the model answered.", ["model_version"], registry=registry
        )
        self.in_flight = Gauge("model_server_requests_in_flight", "Requests being answered.", registry=registry)
        self.violations = Counter(
            "model_server_contract_violations_total",
            "Values that broke the contract, by feature.",
            ["feature"],
            registry=registry,
        )
        self.out_of_bounds = Counter(
            "model_server_out_of_bounds_total",
            "Values outside bounds that only warn, by feature.",
            ["feature"],
            registry=registry,
        )
        self.loads = Counter(
            "model_server_model_loads_total", "Attempts to load a bundle, by result.", ["result"], registry=registry
        )
        self.load_seconds = Gauge(
            "model_server_model_load_seconds",
            "Time that the served bundle took to load, in seconds.",
            registry=registry,
        )
        self.workers = Gauge(
            "model_server_workers",
            "Serving processes behind this port. Above 1, each scrape is answered by one of them, for itself alone.",
            registry=registry,
        )
        self.info = Gauge(
            "model_server_model_info",
            "1 for the served bundle.",
            ["name", "version", "digest", "run_id"],
            registry=registry,
        )


class _BeforeScrape(Collector):
    """Calls whoever has something to add before the metrics are read; a collector without metrics of its own."""

    def __init__(self) -> None:
        self.calls: list[Callable[[], None]] = []

    def describe(self) -> Iterable[Metric]:
        """Name none."""
        return ()

    def collect(self) -> Iterable[Metric]:
        """Call them."""
        for call in self.calls:
            call()
        return ()
