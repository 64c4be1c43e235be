"""The tables of many replicas' setup: figures beside distribution's, the scaling curve, operations per request."""

from __future__ import annotations

import statistics
from collections.abc import Iterable

from bench.content import MIB
from bench.load import ENOUGH_FOR_PERCENTILES
from bench.operations import Cost
from bench.replicas import (
    BARE_S3,
    DISTRIBUTION_REDIRECT,
    DISTRIBUTION_S3,
    ENTREPOT_REDIRECT,
    TUNED_S3,
)
from bench.report import ABSENT, VERDICTS, number, ratio, table, value
from bench.runner import Result, Sample
from bench.site import ENTREPOT

_FIGURES = ("measure", "unit", "entrepot", "distribution", "GOGC=800", "S3 alone", "embedded")
_VERDICT = ("x distr.", "x tuned", "must reach", "reached")
_USAGE = ("measure", "contender", "median", "min to max", "p50 ms", "p99 ms")
_PROCESSOR = ("CPU s per", "server", "PostgreSQL", "S3", "peak MiB")
_CURVE = ("measure", "setup", "req/s", "p99 ms", "CPU s/1000 req: server", "PostgreSQL", "S3")
_COSTS = ("request", "SQL statements", "round trips", "S3 requests", "which", "distribution: S3 requests", "which")


def summary(results: Iterable[Result]) -> str:
    """One row per measure; ratios above 1 mean that entrepot is faster."""
    return table((*_FIGURES, *_VERDICT), [_summary_row(result) for result in results])


def details(results: Iterable[Result]) -> str:
    """One row per measure and contender: spread, latency, processor time of all that take part, memory."""
    rows = [_detail_row(result, name) for result in results for name in result.medians()]
    return table((*_USAGE, *_PROCESSOR), rows)


def curve(results: Iterable[Result]) -> str:
    """One row per measure and setup."""
    return table(_CURVE, [_curve_row(result, name) for result in results for name in result.medians()])


def costs(found: Iterable[Cost]) -> str:
    """One row per kind of request."""
    return table(_COSTS, [_cost_row(cost) for cost in found])


def _summary_row(result: Result) -> list[str]:
    measure, medians = result.measure, result.medians()
    own, unit = medians.get(measure.subject), measure.unit
    peer = medians.get(DISTRIBUTION_REDIRECT if measure.subject == ENTREPOT_REDIRECT else DISTRIBUTION_S3)
    tuned = medians.get(TUNED_S3)
    others = (peer, tuned, medians.get(BARE_S3), medians.get(ENTREPOT))
    return [
        measure.title,
        unit.name,
        *(value(unit, found) for found in (own, *others)),
        *(ratio(unit, own, found) for found in (peer, tuned)),
        measure.goal.text or ABSENT,
        VERDICTS[result.reached()],
    ]


def _detail_row(result: Result, name: str) -> list[str]:
    unit, found, samples = result.measure.unit, result.medians()[name], result.samples[name]
    values = [sample.value for sample in samples]
    per, factors = _per(samples)
    return [
        result.measure.title,
        name,
        f"{value(unit, found)} {unit.name}",
        f"{min(values):,.{unit.digits}f} to {max(values):,.{unit.digits}f}",
        *(number(each, 2) for each in (found.p50_ms, found.p99_ms)),
        per,
        *_processor(samples, factors),
        number(None if found.peak_rss is None else found.peak_rss / MIB, 0),
    ]


def _curve_row(result: Result, name: str) -> list[str]:
    found, samples = result.medians()[name], result.samples[name]
    factors = [1000 / sample.load.requests for sample in samples]
    return [
        result.measure.title,
        name,
        value(result.measure.unit, found),
        number(found.p99_ms, 1),
        *_processor(samples, factors),
    ]


def _per(samples: list[Sample]) -> tuple[str, list[float]]:
    """Requests where they are many, bytes where they are large."""
    loads = [sample.load for sample in samples]
    if any(load.size > load.requests * MIB / 2 for load in loads):
        return "GB", [1e9 / load.size for load in loads]
    if all(load.requests >= ENOUGH_FOR_PERCENTILES for load in loads):
        return "1000 req", [1000 / load.requests for load in loads]
    return "sample", [1.0] * len(loads)


def _processor(samples: list[Sample], factors: list[float]) -> list[str]:
    """Of the server, PostgreSQL and S3: medians."""
    columns = [
        [sample.cpu_seconds for sample in samples],
        *([sample.load.extra.get(key) for sample in samples] for key in ("postgresql_seconds", "s3_seconds")),
    ]
    return [number(_median(column, factors), 3) for column in columns]


def _median(column: list[float | None], factors: list[float]) -> float | None:
    known = [seconds * factor for seconds, factor in zip(column, factors, strict=True) if seconds is not None]
    return statistics.median(known) if known else None


def _cost_row(cost: Cost) -> list[str]:
    return [
        cost.request,
        number(cost.statements, 0),
        number(cost.round_trips, 0),
        number(cost.s3_requests, 0),
        cost.s3_operations or ABSENT,
        number(cost.peer_s3_requests, 0),
        cost.peer_s3_operations or ABSENT,
    ]
