"""The result for people (two tables) and for programs (JSON with every sample)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench.content import MIB
from bench.goals import Medians
from bench.measure import Unit
from bench.programs import PROGRAMS
from bench.runner import Result, Sample
from bench.site import DEFAULT, DISK, NGINX, SPARSE, TUNED

ABSENT = "-"
VERDICTS = {True: "yes", False: "NO", None: ABSENT}
_COLUMNS = ("measure", "unit", "entrepot", "distribution", "GOGC=800", "nginx", "other")
_RATIOS = ("x distr.", "x tuned", "x nginx", "x other", "must reach", "reached")
_CLIENTS = tuple(PROGRAMS)
_USAGE = ("measure", "contender", "median", "min to max", "p50 ms", "p99 ms", "CPU s/1000 req", "CPU s/GB")
_MEMORY = ("RSS MiB", "peak MiB")


def summary(results: Iterable[Result]) -> str:
    """One row per measure: medians, ratios (above 1 entrepot is faster), the goal and whether it was reached."""
    return table((*_COLUMNS, *_RATIOS), [_summary_row(result) for result in results])


def clients(results: Iterable[Result]) -> str:
    """One row per measure of the client, beside other clients; ratios as in ``summary``."""
    header = ("measure", "unit", *_CLIENTS, *(f"x {name}" for name in _CLIENTS[1:]), "must reach", "reached")
    return table(header, [_client_row(result) for result in results])


def _client_row(result: Result) -> list[str]:
    measure, medians = result.measure, result.medians()
    found = [medians.get(name) for name in _CLIENTS]
    return [
        measure.title,
        measure.unit.name,
        *(value(measure.unit, each) for each in found),
        *(ratio(measure.unit, found[0], other) for other in found[1:]),
        measure.goal.text or ABSENT,
        VERDICTS[result.reached()],
    ]


def details(results: Iterable[Result]) -> str:
    """One row per measure and contender: spread, latency, processor time, memory of the largest process."""
    rows = [_detail_row(result, name) for result in results for name in result.medians()]
    return table((*_USAGE, *_MEMORY), rows)


def notes(results: Iterable[Result]) -> str:
    """Who did not take part, and why."""
    return "\n".join(
        f"- {result.measure.name}: without {name}: {reason}"
        for result in results
        for name, reason in result.missing.items()
    )


def write_json(target: Path, environment: Mapping[str, Any], results: Iterable[Result]) -> None:
    """Everything, each sample included."""
    document = {**environment, "measures": [_as_data(result) for result in results]}
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(document, indent=1) + "\n")


def _summary_row(result: Result) -> list[str]:
    measure, medians = result.measure, result.medians()
    own = medians.get(measure.subject)
    compared = [medians.get(DEFAULT), medians.get(TUNED), medians.get(NGINX), _other(medians)]
    return [
        measure.title,
        measure.unit.name,
        *(value(measure.unit, found) for found in (own, *compared)),
        *(ratio(measure.unit, own, found) for found in compared),
        measure.goal.text or ABSENT,
        VERDICTS[result.reached()],
    ]


def _other(medians: Mapping[str, Medians]) -> Medians | None:
    """The yardstick that is no server of others: the disk, or entrepot with little stored."""
    return medians.get(DISK) or medians.get(SPARSE)


def _detail_row(result: Result, name: str) -> list[str]:
    unit, found = result.measure.unit, result.medians()[name]
    values = [sample.value for sample in result.samples[name]]
    return [
        result.measure.name,
        name,
        f"{value(unit, found)} {unit.name}",
        f"{min(values):,.{unit.digits}f} to {max(values):,.{unit.digits}f}",
        *(number(value, 2) for value in (found.p50_ms, found.p99_ms)),
        *(number(value, 3) for value in (found.cpu_per_1000_requests, found.cpu_per_gb)),
        *(number(None if value is None else value / MIB, 0) for value in (found.rss, found.peak_rss)),
    ]


def value(unit: Unit, found: Medians | None) -> str:
    return ABSENT if found is None else f"{found.value:,.{unit.digits}f}"


def ratio(unit: Unit, own: Medians | None, other: Medians | None) -> str:
    if own is None or other is None:
        return ABSENT
    return f"{own.value / other.value if unit.more_is_better else other.value / own.value:.2f}"


def number(value: float | None, digits: int) -> str:
    return ABSENT if value is None else f"{value:,.{digits}f}"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table with aligned columns."""
    widths = [max(len(row[place]) for row in (header, *rows)) for place in range(len(header))]
    rule = ["-" * width for width in widths]
    lines = (zip(row, widths, strict=True) for row in (header, rule, *rows))
    return "\n".join("| " + " | ".join(cell.ljust(width) for cell, width in line) + " |" for line in lines)


def _as_data(result: Result) -> dict[str, Any]:
    measure, medians = result.measure, result.medians()
    return {
        "name": measure.name,
        "title": measure.title,
        "unit": measure.unit.name,
        "subject": measure.subject,
        "goal": measure.goal.text,
        "reached": result.reached(),
        "missing": result.missing,
        "contenders": {
            name: {"medians": asdict(medians[name]), "samples": [_sample_data(sample) for sample in samples]}
            for name, samples in result.samples.items()
            if samples
        },
    }


def _sample_data(sample: Sample) -> dict[str, Any]:
    return asdict(sample)
