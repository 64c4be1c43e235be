"""Measures of many replicas' setup: PostgreSQL and S3, beside distribution on the same S3."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import count

from bench.client import Client, connected
from bench.content import GIB, KIB, MIB, Blob, image_manifest, unique_blob
from bench.goals import Goal, below, no_goal, peak_rss_below, times
from bench.load import Load, ab_head, read_blob, timed_load, wrk
from bench.measure import GIGABYTES, MEGABYTES, RATE, SECONDS, Measure, Prepare, Run
from bench.pushes import CLIENTS, MANIFEST_REPOSITORY, PUSH_REPOSITORY, put_manifests
from bench.reads import blob_of, get_blob, get_manifest, head_blob, head_manifest, image
from bench.replicas import (
    BARE_S3,
    DISTRIBUTION_REDIRECT,
    DISTRIBUTION_S3,
    ENTREPOT_REDIRECT,
    ENTREPOT_S3,
    TUNED_S3,
    Backed,
    Replica,
)
from bench.servers import Server
from bench.site import ENTREPOT, REPOSITORY, Site

PREFIX = "s3-"
_LAYERS, _LAYER = 8, 128 * MIB
_LAYERS_AT_ONCE = 5  # as docker does it
_PUSHES_AT_ONCE, _PUSHED = 30, 48 * MIB
_REQUESTS = (ENTREPOT_S3, DISTRIBUTION_S3, TUNED_S3, ENTREPOT)
_STREAMS = (ENTREPOT_S3, DISTRIBUTION_S3, BARE_S3)
_REDIRECTS = (ENTREPOT_REDIRECT, DISTRIBUTION_REDIRECT, BARE_S3)
_PUSHES = (ENTREPOT_S3, DISTRIBUTION_S3)

_serial = count()


def get_manifest_by_digest(site: Site, name: str) -> Load:
    server, path = site.place_image(name), _by_digest(site)
    size = len(site.image.manifest.content)
    return wrk(server.url(path), connections=32, seconds=site.settings.seconds, size=size)


def head_manifest_by_digest(site: Site, name: str) -> Load:
    server, path = site.place_image(name), _by_digest(site)
    return ab_head(server.url(path), connections=32, seconds=site.settings.seconds)


def get_address(site: Site, name: str) -> Load:
    """The redirect is not followed."""
    server, blob = site.place_blob(name, MIB)
    url = server.url(f"/v2/{REPOSITORY}/blobs/{blob.digest}")
    return wrk(url, connections=32, seconds=site.settings.seconds)


def stream_blob(size: int, *, connections: int) -> Run:
    """To the end, redirects followed."""

    def run(site: Site, name: str) -> Load:
        server, blob = site.place_blob(name, size)
        url = server.url(f"/v2/{REPOSITORY}/blobs/{blob.digest}")
        return read_blob(url, connections=connections, seconds=site.settings.seconds, size=size)

    return run


def push_image(site: Site, name: str) -> Load:
    """A gibibyte in eight layers, five at once, and the manifest."""
    blobs = [unique_blob(_LAYER) for _ in range(_LAYERS)]

    def push(server: Server) -> None:
        _push_together(server, blobs, at_once=_LAYERS_AT_ONCE)
        with connected(server.port) as client:
            manifest = image_manifest(blobs[0], blobs[1:], serial=str(next(_serial)))
            client.put_manifest(PUSH_REPOSITORY, "latest", manifest)

    return _timed_push(site, name, push, size=_LAYERS * _LAYER)


def push_many(site: Site, name: str) -> Load:
    """Thirty clients, a blob each, all at the same time."""
    blobs = [unique_blob(_PUSHED) for _ in range(_PUSHES_AT_ONCE)]
    size = _PUSHES_AT_ONCE * _PUSHED
    return _timed_push(site, name, lambda server: _push_together(server, blobs, at_once=_PUSHES_AT_ONCE), size=size)


def push_small(site: Site, name: str) -> Load:
    """Blobs of a mebibyte, POST, PATCH and PUT each, by sixteen clients one after the other."""
    blobs = [unique_blob(MIB) for _ in range(CLIENTS * site.settings.seconds * 4)]
    taken: list[float] = []

    def push(server: Server) -> None:
        taken.extend(_push_together(server, blobs, at_once=CLIENTS))

    load = _timed_push(site, name, push, size=len(blobs) * MIB)
    return replace(timed_load(taken, seconds=load.seconds, size=MIB), extra=load.extra)


def put_manifests_and_weigh(site: Site, name: str) -> Load:
    """Also how much larger PostgreSQL's files are then for each manifest, with its nine edges and its tag."""
    server = site.place_image(name, MANIFEST_REPOSITORY)
    if not isinstance(server, Replica):
        return put_manifests(site, name)
    before = server.backing.database_size()
    load = put_manifests(site, name)
    grown = server.backing.database_size() - before
    return replace(load, extra={"database_bytes_per_manifest": grown / load.requests})


def close_gibibyte(site: Site, name: str) -> Load:
    """Only the closing PUT is timed."""
    server, blob = _backed(site, name), unique_blob(GIB)
    kept = server.keys()
    with connected(server.port) as client:
        location = client.append(client.begin_upload(PUSH_REPOSITORY), blob.pieces())
        begun = time.perf_counter()
        client.close_upload(location, blob.digest)
        taken = time.perf_counter() - begun
    server.give_back(kept)
    return Load(requests=1, seconds=taken)


def warmed(prepare: Prepare, run: Run) -> Prepare:
    """Once without being looked at: workers connect to PostgreSQL and S3 when they are asked for the first time."""

    def prepared(site: Site, name: str) -> None:
        prepare(site, name)
        run(site, name)

    return prepared


def with_services(run: Run) -> Run:
    """Also notes the processor time of PostgreSQL and S3."""

    def observed(site: Site, name: str) -> Load:
        before = site.services.spent()
        load = run(site, name)
        spent = site.services.spent() - before
        return replace(load, extra={**load.extra, "postgresql_seconds": spent.postgresql, "s3_seconds": spent.s3})

    return observed


def _by_digest(site: Site) -> str:
    return f"/v2/{REPOSITORY}/manifests/{site.image.manifest.digest}"


def _backed(site: Site, name: str) -> Backed:
    server = site.server(name)
    assert isinstance(server, Backed)
    return server


def _timed_push(site: Site, name: str, push: Callable[[Server], object], *, size: int) -> Load:
    server = _backed(site, name)
    kept = server.keys()
    begun = time.perf_counter()
    push(server)
    taken = time.perf_counter() - begun
    server.give_back(kept)
    return Load(requests=1, seconds=taken, size=size)


def _push_together(server: Server, blobs: list[Blob], *, at_once: int) -> list[float]:
    """As docker does it, each over a connection of its own; the seconds each took."""

    def push(blob: Blob) -> float:
        begun = time.perf_counter()
        with connected(server.port) as client:
            Client.patch_blob(client, PUSH_REPOSITORY, blob)
        return time.perf_counter() - begun

    with ThreadPoolExecutor(at_once) as pool:
        return list(pool.map(push, blobs))


def _requests(name: str, title: str, run: Run, goal: Goal, **more: object) -> Measure:
    return _measure(name, f"{title}, c32", run, goal, unit=RATE, contenders=_REQUESTS, **more)


def _measure(name: str, title: str, run: Run, goal: Goal, **more: object) -> Measure:
    options = {"subject": ENTREPOT_S3, **more}
    return Measure(name=f"{PREFIX}{name}", title=title, run=with_services(run), goal=goal, **options)  # type: ignore[arg-type]


def _streams(title: str, size: int, connections: int) -> list[Measure]:
    name, run = title.replace(" ", "").replace("B", "").lower(), stream_blob(size, connections=connections)
    streamed = _measure(
        f"get-blob-{name}-c{connections}",
        f"GET {title} blob, streamed, c{connections}",
        run,
        no_goal(),
        unit=GIGABYTES,
        contenders=_STREAMS,
        prepare=blob_of(size),
    )
    redirected = _measure(
        f"redirect-{name}-c{connections}",
        f"GET {title} blob, redirected, c{connections}",
        run,
        no_goal(),
        unit=GIGABYTES,
        contenders=_REDIRECTS,
        prepare=blob_of(size),
        subject=ENTREPOT_REDIRECT,
    )
    return [streamed, redirected]


_FIVE_TIMES = times(DISTRIBUTION_S3, 5)

SCALED_OUT = [
    _requests(
        "get-manifest-tag", "GET manifest by tag", get_manifest, _FIVE_TIMES, prepare=warmed(image, get_manifest)
    ),
    _requests("get-manifest-digest", "GET manifest by digest", get_manifest_by_digest, _FIVE_TIMES, prepare=image),
    _requests("head-manifest-tag", "HEAD manifest by tag", head_manifest, _FIVE_TIMES, prepare=image),
    _requests("head-manifest-digest", "HEAD manifest by digest", head_manifest_by_digest, _FIVE_TIMES, prepare=image),
    _requests("head-blob", "HEAD blob", head_blob, no_goal(), prepare=blob_of(MIB)),
    _requests("get-blob-1k", "GET 1 KiB blob", get_blob(KIB, connections=32), no_goal(), prepare=blob_of(KIB)),
    _measure(
        "redirect",
        "GET 1 MiB blob, answer 307 only, c32",
        get_address,
        no_goal(),
        unit=RATE,
        contenders=(ENTREPOT_REDIRECT, DISTRIBUTION_REDIRECT),
        prepare=warmed(blob_of(MIB), get_address),
        subject=ENTREPOT_REDIRECT,
    ),
    *_streams("1 MiB", MIB, 8),
    *_streams("10 MiB", 10 * MIB, 4),
    *_streams("100 MiB", 100 * MIB, 1),
    *_streams("100 MiB", 100 * MIB, 4),
    _measure(
        "push-image",
        "push 1 GiB in 8 layers, 5 at once",
        push_image,
        times(DISTRIBUTION_S3, 1.5) & peak_rss_below(150),
        unit=MEGABYTES,
        contenders=_PUSHES,
        writes=True,
    ),
    _measure(
        "push-many",
        "push 30 x 48 MiB at once",
        push_many,
        peak_rss_below(150),
        unit=MEGABYTES,
        contenders=_PUSHES,
        writes=True,
    ),
    _measure("push-1m", "push 1 MiB blobs, 16 clients", push_small, no_goal(), unit=RATE, contenders=_PUSHES),
    _measure(
        "close-1g",
        "closing PUT of a 1 GiB upload",
        close_gibibyte,
        below(1, "s") & peak_rss_below(150),
        unit=SECONDS,
        contenders=_PUSHES,
        writes=True,
    ),
    _measure(
        "put-manifest",
        "PUT manifest, one repository, 16 clients",
        put_manifests_and_weigh,
        no_goal(),
        unit=RATE,
        contenders=(ENTREPOT_S3, DISTRIBUTION_S3, TUNED_S3, ENTREPOT),
        prepare=lambda site, name: site.place_image(name, MANIFEST_REPOSITORY),
    ),
]
