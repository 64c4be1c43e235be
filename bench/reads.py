"""Measures of GET and HEAD: the same paths on all servers."""

from __future__ import annotations

from bench.content import GIB, KIB, MIB
from bench.goals import cpu_per_gb_within, times
from bench.load import Load, ab_head, read_blob, wrk
from bench.measure import GIGABYTES, RATE, Measure, Prepare, Run
from bench.site import DEFAULT, ENTREPOT, NGINX, REPOSITORY, TAG, TUNED, Site

EVERYBODY = (ENTREPOT, DEFAULT, TUNED, NGINX)
MANIFEST_PATH = f"/v2/{REPOSITORY}/manifests/{TAG}"
CLIENTS = 32


def get_manifest(site: Site, name: str) -> Load:
    server = site.place_image(name)
    size = len(site.image.manifest.content)
    return wrk(server.url(MANIFEST_PATH), connections=CLIENTS, seconds=site.settings.seconds, size=size)


def head_manifest(site: Site, name: str) -> Load:
    server = site.place_image(name)
    return ab_head(server.url(MANIFEST_PATH), connections=CLIENTS, seconds=site.settings.seconds)


def head_blob(site: Site, name: str) -> Load:
    server, blob = site.place_blob(name, MIB)
    return ab_head(server.url(_path(blob.digest)), connections=CLIENTS, seconds=site.settings.seconds)


def get_blob(size: int, *, connections: int) -> Run:
    """Blobs that wrk reads."""

    def run(site: Site, name: str) -> Load:
        server, blob = site.place_blob(name, size)
        url = server.url(_path(blob.digest))
        return wrk(url, connections=connections, seconds=site.settings.seconds, size=size)

    return run


def get_large_blob(size: int, *, connections: int) -> Run:
    """Blobs that would measure wrk instead of the server."""

    def run(site: Site, name: str) -> Load:
        server, blob = site.place_blob(name, size)
        url = server.url(_path(blob.digest))
        return read_blob(url, connections=connections, seconds=site.settings.seconds, size=size)

    return run


def get_range(size: int, *, within: int, connections: int) -> Run:
    """Aligned pieces at random places of a larger blob."""

    def run(site: Site, name: str) -> Load:
        server, blob = site.place_blob(name, within)
        return wrk(
            server.url(_path(blob.digest)),
            connections=connections,
            seconds=site.settings.seconds,
            size=size,
            script="range.lua",
            arguments=(str(size), str(within)),
        )

    return run


def blob_of(size: int) -> Prepare:
    return lambda site, name: site.place_blob(name, size)


def image(site: Site, name: str) -> object:
    return site.place_image(name)


def _path(digest: str) -> str:
    return f"/v2/{REPOSITORY}/blobs/{digest}"


def _large(name: str, title: str, size: int, connections: int) -> Measure:
    return Measure(
        name=name,
        title=title,
        unit=GIGABYTES,
        contenders=EVERYBODY,
        prepare=blob_of(size),
        run=get_large_blob(size, connections=connections),
        goal=times(DEFAULT, 1) & times(NGINX, 1) & cpu_per_gb_within(DEFAULT) & cpu_per_gb_within(NGINX),
    )


READS = [
    Measure(
        name="get-manifest",
        title="GET manifest by tag, c32",
        unit=RATE,
        contenders=EVERYBODY,
        prepare=image,
        run=get_manifest,
        goal=times(DEFAULT, 8) & times(TUNED, 5),
    ),
    Measure(
        name="head-manifest",
        title="HEAD manifest by tag, c32",
        unit=RATE,
        contenders=EVERYBODY,
        prepare=image,
        run=head_manifest,
        goal=times(DEFAULT, 8),
    ),
    Measure(
        name="head-blob",
        title="HEAD blob, c32",
        unit=RATE,
        contenders=EVERYBODY,
        prepare=blob_of(MIB),
        run=head_blob,
        goal=times(DEFAULT, 8),
    ),
    Measure(
        name="get-blob-1k",
        title="GET 1 KiB blob, c32",
        unit=RATE,
        contenders=EVERYBODY,
        prepare=blob_of(KIB),
        run=get_blob(KIB, connections=CLIENTS),
        goal=times(DEFAULT, 12),
    ),
    Measure(
        name="get-blob-1m",
        title="GET 1 MiB blob, c8",
        unit=GIGABYTES,
        contenders=EVERYBODY,
        prepare=blob_of(MIB),
        run=get_blob(MIB, connections=8),
        goal=times(DEFAULT, 2),
    ),
    _large("get-blob-100m-c1", "GET 100 MiB blob, c1", 100 * MIB, 1),
    _large("get-blob-100m-c4", "GET 100 MiB blob, c4", 100 * MIB, 4),
    _large("get-blob-1g", "GET 1 GiB blob, c1", GIB, 1),
    Measure(
        name="get-range",
        title="GET 1 MiB range of 100 MiB, c8",
        unit=GIGABYTES,
        contenders=EVERYBODY,
        prepare=blob_of(100 * MIB),
        run=get_range(MIB, within=100 * MIB, connections=8),
        goal=times(DEFAULT, 1.5),
    ),
]
