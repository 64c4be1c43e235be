"""The scaling curve: the same measures with one, two and four workers, and with two replicas."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from bench.content import KIB
from bench.goals import no_goal
from bench.load import Load, wrk
from bench.measure import RATE, Measure, Prepare, Run
from bench.pushes import MANIFEST_REPOSITORY, put_manifests
from bench.reads import MANIFEST_PATH, blob_of, image
from bench.replicas import EMBEDDED, TWO_REPLICAS, scaled
from bench.scaled_out import warmed, with_services
from bench.servers import Server
from bench.site import REPOSITORY, Site

PREFIX = "curve-"
CONTENDERS = (*EMBEDDED, *map(scaled, EMBEDDED.values()), TWO_REPLICAS)
_CLIENTS = 32


def read_manifest(site: Site, name: str) -> Load:
    """By tag: the database is asked each time."""
    return _spread(site.place_image(name), MANIFEST_PATH, site.settings.seconds)


def read_small_blob(site: Site, name: str) -> Load:
    """Out of the server's memory, when the database has said that it belongs to the repository."""
    server, blob = site.place_blob(name, KIB)
    return _spread(server, f"/v2/{REPOSITORY}/blobs/{blob.digest}", site.settings.seconds)


def _spread(server: Server, path: str, seconds: int) -> Load:
    """The same number of clients, shared out to the servers there are."""
    connections = _CLIENTS // len(server.ports)
    with ThreadPoolExecutor(len(server.ports)) as pool:
        runs = [
            pool.submit(wrk, f"http://127.0.0.1:{port}{path}", connections=connections, seconds=seconds)
            for port in server.ports
        ]
        loads = [run.result() for run in runs]
    slowest = max(loads, key=lambda load: load.p99_ms or 0.0)
    return Load(sum(load.requests for load in loads), slowest.seconds, p50_ms=slowest.p50_ms, p99_ms=slowest.p99_ms)


def _measure(name: str, title: str, run: Run, prepare: Prepare) -> Measure:
    return Measure(
        name=f"{PREFIX}{name}",
        title=title,
        unit=RATE,
        contenders=CONTENDERS,
        subject=scaled(2),
        run=with_services(run),
        goal=no_goal(),
        prepare=prepare,
    )


CURVE = [
    _measure("get-manifest", "GET manifest by tag, c32", read_manifest, warmed(image, read_manifest)),
    _measure("get-blob-1k", "GET 1 KiB blob, c32", read_small_blob, blob_of(KIB)),
    _measure(
        "put-manifest",
        "PUT manifest, 16 clients",
        put_manifests,
        lambda site, name: site.place_image(name, MANIFEST_REPOSITORY),
    ),
]
