"""A measure as data: what is run, on whom, and what must come out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from bench.goals import Goal
from bench.load import Load
from bench.site import DISK, ENTREPOT, Site

Run = Callable[[Site, str], Load]
Prepare = Callable[[Site, str], object]
Value = Callable[[Load], float]


@dataclass(frozen=True)
class Unit:
    """How the value of a sample is computed from its load, and printed."""

    name: str
    value: Value
    digits: int
    more_is_better: bool = True


RATE = Unit("req/s", lambda load: load.requests / load.seconds, 0)
GIGABYTES = Unit("GB/s", lambda load: load.size / load.seconds / 1e9, 2)
MEGABYTES = Unit("MB/s", lambda load: load.size / load.seconds / 1e6, 0)
SECONDS = Unit("s", lambda load: load.seconds, 3, more_is_better=False)


def start(site: Site, name: str) -> None:
    """All that many measures need: the server runs."""
    if name != DISK:
        site.server(name)


@dataclass(frozen=True)
class Measure:
    """One row of the table.

    ``prepare`` puts in place what ``run`` needs and is not timed; ``run`` takes one sample of one contender.
    ``subject`` is judged by ``goal``. ``writes`` has the disk settled before each sample, so that nobody waits for
    what another left unwritten. ``observed`` is off where the server is started anew inside the sample.
    """

    name: str
    title: str
    unit: Unit
    contenders: tuple[str, ...]
    run: Run
    goal: Goal
    prepare: Prepare = start
    subject: str = ENTREPOT
    writes: bool = False
    observed: bool = True
    in_quick: bool = True
