"""Load on reads: wrk for many small answers, ab for HEAD, own threads that read and discard for large ones.

wrk counts no answer to a HEAD that has a Content-Length, hence ab. wrk reads 8 KiB at a time, which would
measure wrk where answers are large, hence the threads.
"""

from __future__ import annotations

import http.client
import json
import math
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from bench.content import MIB

ACCEPT = "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json"
_SCRIPTS = Path(__file__).with_name("wrk")
ENOUGH_FOR_PERCENTILES = 10
_AB_REQUESTS_PER_SECOND = 200_000  # more than it can do: the clock ends the run, not the count


class LoadFailed(Exception):
    """The load generator met errors, so its figures mean nothing."""


@dataclass(frozen=True)
class Load:
    """What one sample did: answered requests, bytes of payload, wall-clock seconds, latencies in milliseconds."""

    requests: int
    seconds: float
    size: int = 0
    p50_ms: float | None = None
    p99_ms: float | None = None
    extra: dict[str, float] = field(default_factory=dict)


def wrk(
    url: str,
    *,
    connections: int,
    seconds: int,
    size: int = 0,
    script: str = "report.lua",
    arguments: Sequence[str] = (),
) -> Load:
    """GETs over kept connections from one thread; ``size`` is the payload of one answer, in bytes."""
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "-H", f"Accept: {ACCEPT}"]
    command.extend(("-s", str(_SCRIPTS / script), url, "--", *arguments))
    output = _run(command)
    result = json.loads(output.partition("RESULT ")[2])
    if result["errors"] or not result["requests"]:
        raise LoadFailed(f"wrk {url}: {result['errors']} errors in {result['requests']} requests")
    return Load(
        requests=result["requests"],
        seconds=result["duration"] / 1e6,
        size=result["requests"] * size,
        p50_ms=result["p50"] / 1e3,
        p99_ms=result["p99"] / 1e3,
    )


def ab_head(url: str, *, connections: int, seconds: int) -> Load:
    """HEADs over kept connections."""
    command = ["ab", "-i", "-k", "-q", "-c", str(connections), "-t", str(seconds)]
    with tempfile.NamedTemporaryFile(suffix=".csv") as table:
        command.extend(("-n", str(seconds * _AB_REQUESTS_PER_SECOND), "-e", table.name))
        output = _run([*command, "-H", f"Accept: {ACCEPT}", url])
        latencies = _ab_percentiles(Path(table.name).read_text())
    return _ab_load(output, latencies)


def read_blob(url: str, *, connections: int, seconds: float, size: int) -> Load:
    """GETs of a large blob; each connection reads into one buffer of a mebibyte, over and over."""
    deadline = time.perf_counter() + seconds
    begun = time.perf_counter()
    with ThreadPoolExecutor(connections) as pool:
        readers = [pool.submit(_read_until, url, size, deadline) for _ in range(connections)]
        times = [taken for reader in readers for taken in reader.result()]
    return timed_load(times, seconds=time.perf_counter() - begun, size=size)


def timed_load(times: Sequence[float], *, seconds: float, size: int = 0) -> Load:
    """The load of requests that took ``times`` seconds each and carried ``size`` bytes each."""
    enough = len(times) >= ENOUGH_FOR_PERCENTILES
    return Load(
        requests=len(times),
        seconds=seconds,
        size=size * len(times),
        p50_ms=1e3 * percentile(times, 0.50) if enough else None,
        p99_ms=1e3 * percentile(times, 0.99) if enough else None,
    )


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that ``share`` of all do not exceed (nearest rank)."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def repeat_until(deadline: float, action: Callable[[], None]) -> list[float]:
    """Do it until the deadline, at least once; the seconds each time took."""
    times: list[float] = []
    while not times or time.perf_counter() < deadline:
        begun = time.perf_counter()
        action()
        times.append(time.perf_counter() - begun)
    return times


def _read_until(url: str, size: int, deadline: float) -> list[float]:
    buffer = memoryview(bytearray(MIB))
    connections: dict[str, http.client.HTTPConnection] = {}
    try:
        return repeat_until(deadline, lambda: _read_once(connections, url, size, buffer))
    finally:
        for connection in connections.values():
            connection.close()


def _read_once(
    connections: dict[str, http.client.HTTPConnection], url: str, size: int, buffer: memoryview, *, redirects: int = 1
) -> None:
    address = urlsplit(url)
    if address.netloc not in connections:
        connections[address.netloc] = http.client.HTTPConnection(address.netloc, timeout=60)
    connection = connections[address.netloc]
    connection.request("GET", f"{address.path}?{address.query}" if address.query else address.path)
    response = connection.getresponse()
    received = 0
    while count := response.readinto(buffer):
        received += count
    if response.status == http.HTTPStatus.TEMPORARY_REDIRECT and redirects:
        _read_once(connections, response.getheader("Location", ""), size, buffer, redirects=redirects - 1)
    elif response.status != http.HTTPStatus.OK or received != size:
        raise LoadFailed(f"GET {url}: expected 200 and {size} bytes, got {response.status} and {received}")


def _run(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise LoadFailed(f"{command[0]} ended with {done.returncode}: {done.stdout} {done.stderr}")
    return done.stdout


def _ab_load(output: str, latencies: dict[int, float]) -> Load:
    requests, kept = _ab_number(output, "Complete requests"), _ab_number(output, "Keep-Alive requests")
    failed = _ab_number(output, "Failed requests") + _ab_number(output, "Non-2xx responses")
    if failed or kept < requests / 2:
        raise LoadFailed(f"ab: {failed:.0f} failures and {kept:.0f} kept connections in {requests:.0f} requests")
    return Load(
        requests=int(requests),
        seconds=_ab_number(output, "Time taken for tests"),
        p50_ms=latencies[50],
        p99_ms=latencies[99],
    )


def _ab_number(output: str, label: str) -> float:
    lines = (line.partition(":") for line in output.splitlines())
    found = (float(value.split()[0]) for key, _, value in lines if key.strip() == label)
    return next(found, 0.0)


def _ab_percentiles(csv: str) -> dict[int, float]:
    rows = (line.split(",") for line in csv.splitlines()[1:])
    return {int(percent): float(milliseconds) for percent, milliseconds in rows}
