"""Counters of all worker processes, in Prometheus' format.

Each process counts in a file of its own in ``PROMETHEUS_MULTIPROC_DIR``, which ``process.run`` sets before any
worker starts; whichever worker is asked adds them all up. Labels take few values: no names, no digests.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest, values
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from entrepot.metadata.statistics import Statistics

_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"})


@dataclass(frozen=True, slots=True)
class _Series:
    requests: Counter
    seconds: Histogram
    bytes_in: Counter
    bytes_out: Counter


class Metrics:
    """All that is counted. One of these per process."""

    def __init__(self) -> None:
        # The library decides when it is imported how it counts; by then the folder may not have been named yet.
        values.ValueClass = values.get_value_class()  # type: ignore[no-untyped-call]
        self._registry = CollectorRegistry()
        labels = ("route", "method", "status")
        registry = self._registry
        self._requests = Counter("entrepot_requests", "Requests answered.", labels, registry=registry)
        self._seconds = Histogram(
            "entrepot_request_seconds",
            "Time from the request's head to the end of its answer.",
            ("route", "method"),
            buckets=_SECONDS,
            registry=registry,
        )
        self._bytes_in = Counter("entrepot_received_bytes", "Bytes of request bodies.", ("route",), registry=registry)
        self._bytes_out = Counter("entrepot_sent_bytes", "Bytes of response bodies.", ("route",), registry=registry)
        self._jobs = Counter("entrepot_job_runs", "Runs of background jobs.", ("job", "outcome"), registry=registry)
        self._job_seconds = Counter(
            "entrepot_job_seconds", "Time spent in background jobs.", ("job",), registry=registry
        )
        self._series: dict[tuple[str, str, int], _Series] = {}

    def observe(self, route: str, method: str, status: int, seconds: float, bytes_in: int, bytes_out: int) -> None:
        """Count one request."""
        key = (route, method if method in _METHODS else "other", status)
        series = self._series.get(key) or self._make_series(key)
        series.requests.inc()
        series.seconds.observe(seconds)
        if bytes_in:
            series.bytes_in.inc(bytes_in)
        if bytes_out:
            series.bytes_out.inc(bytes_out)

    def _make_series(self, key: tuple[str, str, int]) -> _Series:
        route, method, status = key
        series = _Series(
            self._requests.labels(route, method, str(status)),
            self._seconds.labels(route, method),
            self._bytes_in.labels(route),
            self._bytes_out.labels(route),
        )
        self._series[key] = series
        return series

    def observe_job(self, job: str, outcome: str, seconds: float) -> None:
        """Count one run of a background job; ``outcome`` is ``done`` or ``failed``."""
        self._jobs.labels(job, outcome).inc()
        self._job_seconds.labels(job).inc(seconds)

    def render(self, statistics: Statistics) -> tuple[str, bytes]:
        """Content type and body of a scrape."""
        counted = self._registry
        if values.ValueClass.__name__ == "MmapedValue":
            counted = CollectorRegistry()
            MultiProcessCollector(counted)  # type: ignore[no-untyped-call]  # the library has no types
        held = CollectorRegistry()
        held.register(_Held(statistics))
        return CONTENT_TYPE_LATEST, generate_latest(counted) + generate_latest(held)


@dataclass(frozen=True, slots=True)
class _Held(Collector):
    statistics: Statistics

    def collect(self) -> Iterator[Metric]:
        held = self.statistics
        yield GaugeMetricFamily("entrepot_store_bytes", "Bytes of blobs, each counted once.", held.blob_bytes)
        yield GaugeMetricFamily("entrepot_blobs", "Blobs.", held.blobs)
        yield GaugeMetricFamily("entrepot_manifests", "Manifests.", held.manifests)
        yield GaugeMetricFamily("entrepot_repositories", "Repositories.", held.repositories)
        yield GaugeMetricFamily("entrepot_uploads_open", "Uploads begun and not ended.", held.uploads)
