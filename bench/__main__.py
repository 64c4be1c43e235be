"""``python -m bench``: run the benchmark; ``--help`` lists the options."""

from __future__ import annotations

import argparse
import math
import os
import platform
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench import report, scaled_report
from bench.curve import CURVE
from bench.measure import Measure
from bench.measures import OPERATIONS, matches, select
from bench.operations import Cost, count_operations
from bench.replicas import DISTRIBUTION_S3, ENTREPOT_S3, DistributionOnS3, Replica
from bench.runner import FAILURES, Result, run_measure
from bench.scaled_out import SCALED_OUT
from bench.seed import Seeds
from bench.servers import Distribution, Entrepot, Nginx, Server, version_of
from bench.site import DEFAULT, ENTREPOT, FULL, NGINX, SPARSE, Settings, Site
from bench.transfers import TRANSFERS

ROUNDS, SCALED_ROUNDS, QUICK_ROUNDS = 5, 3, 1
SECONDS, QUICK_SECONDS = 2, 1
SCALED_MINUTES = 11
_FULL = Seeds(repositories=100_000, manifests=1_000_000, tags=10_000)
_QUICK_FULL = Seeds(repositories=10_000, manifests=20_000, tags=10_000)
_SPARSE = Seeds(repositories=200, manifests=200, tags=200)
_RESULTS = Path(__file__).with_name("results")
_KINDS: dict[str, type[Server]] = {ENTREPOT: Entrepot, DEFAULT: Distribution, NGINX: Nginx}
_KINDS |= {ENTREPOT_S3: Replica, DISTRIBUTION_S3: DistributionOnS3}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what was asked for and print it; a missed goal is said in the table, not by the exit code."""
    options = _parser().parse_args(arguments)
    measures = select(options.only, quick=options.quick, scaled=options.scale)
    if options.list:
        print("\n".join(f"{measure.name:20} {measure.title}" for measure in measures))
        return 0
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))  # so that the servers are stopped
    settings = _settings(options)
    environment = _environment(settings)
    begun = time.monotonic()
    deadline = begun + 60 * (options.minutes or (SCALED_MINUTES if options.scale else math.inf))
    results, costs = _run(settings, measures, deadline, operations=matches(OPERATIONS, options.only))
    environment["took_seconds"] = round(time.monotonic() - begun)
    report.write_json(options.json, {**environment, OPERATIONS: [asdict(cost) for cost in costs]}, results)
    _print(environment, results, costs)
    print(f"\nEvery sample: {options.json}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bench", description="entrepot beside docker-registry and nginx, on this machine."
    )
    parser.add_argument("--only", action="append", default=[], metavar="PATTERN", help="measures to run; repeatable")
    parser.add_argument("--scale", action="store_true", help="only what is about PostgreSQL and S3")
    parser.add_argument("--list", action="store_true", help="print the measures and end")
    parser.add_argument("--quick", action="store_true", help="one short round, little stored, no 10 GiB upload")
    parser.add_argument("--rounds", type=_positive, help=f"default {ROUNDS}, with --scale {SCALED_ROUNDS}")
    parser.add_argument(
        "--minutes", type=_positive, help=f"fewer rounds if need be; with --scale {SCALED_MINUTES}, else no limit"
    )
    parser.add_argument("--seconds", type=_positive, help=f"per sample; default {SECONDS}, with --quick 1")
    parser.add_argument("--json", type=Path, default=_default_json(), metavar="FILE", help="default %(default)s")
    parser.add_argument(
        "--dir", type=Path, default=Path("/var/tmp"), help="where all is stored: a real disk; default %(default)s"
    )
    return parser


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"expected at least 1, got {text}")
    return number


def _default_json() -> Path:
    return _RESULTS / f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}.json"


def _settings(options: argparse.Namespace) -> Settings:
    quick = options.quick
    return Settings(
        rounds=options.rounds or (QUICK_ROUNDS if quick else SCALED_ROUNDS if options.scale else ROUNDS),
        seconds=options.seconds or (QUICK_SECONDS if quick else SECONDS),
        folder=options.dir,
        full=_QUICK_FULL if quick else _FULL,
        sparse=_SPARSE,
    )


def _run(
    settings: Settings, measures: Sequence[Measure], deadline: float, *, operations: bool
) -> tuple[list[Result], list[Cost]]:
    """An interrupt ends the run; what was measured until then is reported.

    The time that is left is shared out among the measures that are left.
    """
    results: list[Result] = []
    costs: list[Cost] = []
    with Site(settings) as site:
        try:
            if operations:
                costs.extend(_count(site))
            for number, measure in enumerate(measures):
                share = (deadline - time.monotonic()) / (len(measures) - number)
                results.append(run_measure(site, measure, _say, within=share))
        except KeyboardInterrupt:
            _say("interrupted")
    return results, costs


def _count(site: Site) -> list[Cost]:
    try:
        return count_operations(site, _say)
    except FAILURES as error:
        _say(f"operations left out: {error}")
        return []


def _say(line: str) -> None:
    print(f"{datetime.now(UTC):%H:%M:%S} {line}", file=sys.stderr, flush=True)


def _environment(settings: Settings) -> dict[str, Any]:
    return {
        "measured_at": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "machine": f"{_processor()}, {os.cpu_count()} CPUs, Linux {platform.release()}",
        "load_before": os.getloadavg()[0],  # see docs/benchmarks.md
        "python": platform.python_version(),
        "rounds": settings.rounds,
        "seconds_per_sample": settings.seconds,
        "stored": {FULL: asdict(settings.full), SPARSE: asdict(settings.sparse)},
        "servers": {name: kind.version() for name, kind in _KINDS.items() if kind.installed()},
        "services": [version_of("psql"), version_of("radosgw")],
        "durability": {name: kind.durability for name, kind in _KINDS.items()},
    }


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.machine())


def _print(environment: dict[str, Any], results: list[Result], costs: list[Cost]) -> None:
    for key, value in environment.items():
        print(f"{key}: {value}")
    clients = [result for result in results if result.measure in TRANSFERS]
    scaled = [result for result in results if result.measure in SCALED_OUT]
    curve = [result for result in results if result.measure in CURVE]
    servers = [result for result in results if result not in (*clients, *scaled, *curve)]
    tables = [
        (report.summary, servers),
        (report.clients, clients),
        (report.details, [*servers, *clients]),
        (scaled_report.summary, scaled),
        (scaled_report.details, scaled),
        (scaled_report.curve, curve),
    ]
    for shape, rows in tables:
        if rows:
            print(f"\n{shape(rows)}")
    if costs:
        print(f"\n{scaled_report.costs(costs)}")
    if text := report.notes(results):
        print(f"\n{text}")


if __name__ == "__main__":
    sys.exit(main())
