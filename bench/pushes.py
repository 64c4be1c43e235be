"""Measures of pushes: content that was never seen before, and the disk's own speed beside it."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterable
from itertools import count, islice

from bench import disk
from bench.client import Client, connected
from bench.content import GIB, MIB, Blob, Manifest, image_manifest, unique_blob
from bench.goals import below, peak_rss_below, share_of, times
from bench.load import Load, timed_load
from bench.measure import MEGABYTES, RATE, SECONDS, Measure
from bench.push import push_blobs, push_manifests
from bench.servers import Server
from bench.site import DEFAULT, DISK, ENTREPOT, TUNED, Site

REGISTRIES = (ENTREPOT, DEFAULT, TUNED)
PUSH_REPOSITORY = "bench/push"
MANIFEST_REPOSITORY = "bench/manifests"
CLIENTS = 16
HUGE = 10 * GIB
_SPARE_DISK = 5 * GIB  # left free beside the huge upload

_serial = count()


class NotEnoughDisk(Exception):
    """The measure would fill the disk."""


def push_large(push: Callable[[Client, str, Blob], None], size: int) -> Callable[[Site, str], Load]:
    """One blob over one connection; on the disk, one file."""

    def run(site: Site, name: str) -> Load:
        if name == DISK:
            return disk.write_one_file(site.folder, size)
        server, blob = site.server(name), unique_blob(size)
        with connected(server.port) as client:
            begun = time.perf_counter()
            push(client, PUSH_REPOSITORY, blob)
            taken = time.perf_counter() - begun
        _give_back(server, [blob])
        return timed_load([taken], seconds=taken, size=size)

    return run


def push_small(site: Site, name: str) -> Load:
    """Blobs of a mebibyte by many clients; on the disk, files by as many threads."""
    seconds = site.settings.seconds
    if name == DISK:
        return _write_small(site, seconds)
    server = site.server(name)
    load, pushed = push_blobs(server.url(""), PUSH_REPOSITORY, size=MIB, clients=CLIENTS, seconds=seconds)
    _give_back(server, pushed)
    return load


def put_manifests(site: Site, name: str) -> Load:
    """Manifests of one image that differ in an annotation."""
    server = site.place_image(name, MANIFEST_REPOSITORY)
    blobs = site.image.blobs

    def new() -> Manifest:
        return image_manifest(blobs[0], blobs[1:], serial=str(next(_serial)))

    seconds = site.settings.seconds
    bases = [f"http://127.0.0.1:{port}" for port in server.ports]
    return push_manifests(bases, MANIFEST_REPOSITORY, new=new, clients=CLIENTS, seconds=seconds)


def close_huge(site: Site, name: str) -> Load:
    """Ten gibibytes in PATCHes of one, each over a connection of its own; only the closing PUT is timed."""
    server, blob = site.server(name), unique_blob(HUGE)
    begun = time.perf_counter()
    location = _append_all(server, blob)
    sent = time.perf_counter()
    with connected(server.port) as client:
        client.close_upload(location, blob.digest)
    taken = time.perf_counter() - sent
    _give_back(server, [blob])
    patched = {"patched_mb_per_s": HUGE / (sent - begun) / 1e6}
    return Load(requests=1, seconds=taken, size=HUGE, extra=patched)


def enough_disk(site: Site, name: str) -> Server:
    free = shutil.disk_usage(site.folder).free
    if free < HUGE + _SPARE_DISK:
        raise NotEnoughDisk(f"needs {(HUGE + _SPARE_DISK) / GIB:.0f} GiB free disk, has {free / GIB:.0f}")
    return site.server(name)


def _append_all(server: Server, blob: Blob) -> str:
    pieces = blob.pieces()
    with connected(server.port) as client:
        location = client.begin_upload(PUSH_REPOSITORY)
    while chunk := _next_gibibyte(pieces):
        with connected(server.port) as client:
            location = client.append(location, chunk)
    return location


def _next_gibibyte(pieces: Iterable[bytes | memoryview]) -> list[bytes | memoryview]:
    return list(islice(pieces, GIB // MIB))


def _write_small(site: Site, seconds: int) -> Load:
    folder = site.folder / f"small-files-{next(_serial)}"
    folder.mkdir()
    load = disk.write_small_files(folder, size=MIB, threads=CLIENTS, seconds=seconds)
    for file in folder.iterdir():
        os.truncate(file, 0)
    return load


def _give_back(server: Server, blobs: Iterable[Blob]) -> None:
    """Empty the files behind the server's back: nobody reads them again, and the disk is not endless.

    They are not removed, because ext4 without a journal is slow to make files for minutes after many were removed.
    """
    for blob in blobs:
        for file in server.blob_files(blob.digest):
            os.truncate(file, 0)


PUSHES = [
    Measure(
        name="push-1g-put",
        title="push 1 GiB, POST+PUT",
        unit=MEGABYTES,
        contenders=(*REGISTRIES, DISK),
        run=push_large(Client.put_blob, GIB),
        goal=times(DEFAULT, 1.5) | share_of(DISK, 0.85),
        writes=True,
    ),
    Measure(
        name="push-1g-patch",
        title="push 1 GiB, POST+PATCH+PUT",
        unit=MEGABYTES,
        contenders=(*REGISTRIES, DISK),
        run=push_large(Client.patch_blob, GIB),
        goal=times(DEFAULT, 1.5) | share_of(DISK, 0.85),
        writes=True,
    ),
    Measure(
        name="push-1m",
        title="push 1 MiB blobs, 16 clients",
        unit=RATE,
        contenders=(*REGISTRIES, DISK),
        run=push_small,
        goal=times(DEFAULT, 2) | share_of(DISK, 0.85),
        writes=True,
    ),
    Measure(
        name="put-manifest",
        title="PUT manifest, one repository, 16 clients",
        unit=RATE,
        contenders=REGISTRIES,
        run=put_manifests,
        goal=times(DEFAULT, 3),
        prepare=lambda site, name: site.place_image(name, MANIFEST_REPOSITORY),
        writes=True,
    ),
    Measure(
        name="close-10g",
        title="closing PUT of a 10 GiB upload",
        unit=SECONDS,
        contenders=(ENTREPOT,),
        run=close_huge,
        goal=below(1, "s") & peak_rss_below(120),
        prepare=enough_disk,
        writes=True,
        in_quick=False,
    ),
]
