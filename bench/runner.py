"""Takes the samples: round by round, one contender after the other, so that a noisy minute hits all alike."""

from __future__ import annotations

import http.client
import math
import os
import statistics
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import aiohttp

from bench import procstat
from bench.client import UnexpectedAnswer
from bench.goals import Medians
from bench.load import ENOUGH_FOR_PERCENTILES, Load, LoadFailed
from bench.measure import Measure
from bench.pushes import NotEnoughDisk
from bench.servers import ServerFailed
from bench.site import Site

# What leaves one contender out, and not more.
FAILURES = (
    *(LoadFailed, UnexpectedAnswer, ServerFailed, NotEnoughDisk),
    *(OSError, http.client.HTTPException, aiohttp.ClientError, subprocess.SubprocessError, TimeoutError),
)

Say = Callable[[str], None]


@dataclass(frozen=True)
class Sample:
    """One contender, once: its load, its value in the measure's unit, and what its processes used."""

    value: float
    load: Load
    cpu_seconds: float | None = None
    rss: int | None = None
    peak_rss: int | None = None

    @property
    def cpu_per_1000_requests(self) -> float | None:
        """Of requests that are many and small."""
        if self.cpu_seconds is None or self.load.requests < ENOUGH_FOR_PERCENTILES:
            return None
        return 1000 * self.cpu_seconds / self.load.requests

    @property
    def cpu_per_gb(self) -> float | None:
        return None if self.cpu_seconds is None or not self.load.size else 1e9 * self.cpu_seconds / self.load.size


@dataclass
class Result:
    """All samples of a measure by contender; ``missing`` says who did not take part, and why."""

    measure: Measure
    samples: dict[str, list[Sample]] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)

    def medians(self) -> dict[str, Medians]:
        return {name: _medians(samples) for name, samples in self.samples.items() if samples}

    def reached(self) -> bool | None:
        """None if the subject or its yardstick is missing."""
        medians = self.medians()
        return self.measure.goal.reached(medians, self.measure.subject) if self.measure.subject in medians else None


def run_measure(site: Site, measure: Measure, say: Say, *, within: float = math.inf) -> Result:
    """Prepare every contender, then go round. Who fails is left out, with the reason.

    After ``within`` seconds no further round is begun, but for the first.
    """
    result, deadline = Result(measure), time.monotonic() + within
    for name in measure.contenders:
        with _left_out_on_failure(result, name, say):
            _prepare(site, measure, name)
            result.samples[name] = []
    for number in range(site.settings.rounds):
        if number and time.monotonic() > deadline:
            break
        for name in list(result.samples):
            with _left_out_on_failure(result, name, say):
                result.samples[name].append(take_sample(site, measure, name))
        say(f"{measure.name}: round {number + 1} of {site.settings.rounds}, {_latest(result)}")
    return result


def take_sample(site: Site, measure: Measure, name: str) -> Sample:
    """One sample, with the processor time and memory of the contender's processes around it."""
    if measure.writes:
        os.sync()  # or one waits for what another left unwritten
    server = site.running(name) if measure.observed else None
    if server is None:
        load = measure.run(site, name)
        peak = load.extra.get("peak_rss")
        return Sample(
            measure.unit.value(load), load, load.extra.get("cpu_seconds"), peak_rss=None if peak is None else int(peak)
        )
    procstat.reset_peak(server.pid)
    before = procstat.cpu_seconds(server.pid)
    load = measure.run(site, name)
    used = procstat.cpu_seconds(server.pid) - before
    memory = procstat.memory(server.pid)
    return Sample(measure.unit.value(load), load, used, memory.rss, memory.peak)


def _prepare(site: Site, measure: Measure, name: str) -> None:
    if not site.has(name):
        raise ServerFailed(f"{name} is not installed")
    measure.prepare(site, name)


@contextmanager
def _left_out_on_failure(result: Result, name: str, say: Say) -> Iterator[None]:
    try:
        yield
    except FAILURES as error:
        result.samples.pop(name, None)
        result.missing[name] = str(error) or type(error).__name__
        say(f"{result.measure.name}: {name} left out: {result.missing[name]}")


def _latest(result: Result) -> str:
    unit = result.measure.unit
    values = ((name, samples[-1].value) for name, samples in result.samples.items() if samples)
    return ", ".join(f"{name} {value:,.{unit.digits}f}" for name, value in values) + f" {unit.name}"


def _medians(samples: list[Sample]) -> Medians:
    return Medians(
        value=statistics.median(sample.value for sample in samples),
        p50_ms=_median(sample.load.p50_ms for sample in samples),
        p99_ms=_median(sample.load.p99_ms for sample in samples),
        cpu_per_1000_requests=_median(sample.cpu_per_1000_requests for sample in samples),
        cpu_per_gb=_median(sample.cpu_per_gb for sample in samples),
        rss=_median(sample.rss for sample in samples),
        peak_rss=max((sample.peak_rss for sample in samples if sample.peak_rss), default=None),
    )


def _median(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None
