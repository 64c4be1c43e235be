"""Measures of the client: whole images pulled and pushed by commands, and how long small commands take."""

from __future__ import annotations

import asyncio
import hashlib
import multiprocessing
import os
import shutil
import statistics
import tarfile
from collections.abc import AsyncIterator, Callable, Coroutine
from concurrent.futures import ProcessPoolExecutor
from itertools import count
from pathlib import Path

from bench.content import GIB, MIB
from bench.goals import Goal, Medians, below, no_goal, within
from bench.load import Load
from bench.measure import SECONDS, Measure
from bench.programs import NAME, PROGRAMS, Program, Spent
from bench.servers import Server, ServerFailed
from bench.site import ENTREPOT, Site
from entrepot.client import Client
from entrepot.digest import Digest
from entrepot.reference import ImageReference, RepositoryName, Tag
from entrepot.repositories.base import Chunk
from entrepot.repositories.remote import RemoteRepository
from entrepot.testing.images import build_image, walk_blobs

OURS = "entrepot client"
CLIENTS = tuple(PROGRAMS)
LAYERS = 8
LAYER = 128 * MIB
HUGE = 10 * GIB
MANY = 1000

_serial = count()
_programs: dict[tuple[int, str], Program] = {}


def program(site: Site, name: str) -> Program:
    """The client, with its daemon running."""
    key = id(site), name
    if key not in _programs:
        kind = PROGRAMS[name]
        if not kind.installed():
            raise ServerFailed(f"{kind.executable} is not installed")
        made = kind(site.folder / f"client-{name.replace(' ', '-')}")
        site.at_end(made.stop)
        made.start()
        _programs[key] = made
    return _programs[key]


def place(site: Site, name: str) -> str:
    """The registry with the image in it, as ``HOST:PORT``; the client is ready."""
    program(site, name)
    server = site.server(ENTREPOT)
    host = f"127.0.0.1:{server.port}"
    if site.first_time("transfers", host):
        _elsewhere(_store, host, site.folder)
    return host


def _elsewhere(work: Callable[[str, Path], Coroutine[None, None, None]], host: str, folder: Path) -> None:
    """In a process of its own: a command's peak memory counts from that of the process that starts it."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        pool.submit(_run, work, host, folder).result()


def _run(work: Callable[[str, Path], Coroutine[None, None, None]], host: str, folder: Path) -> None:
    asyncio.run(work(host, folder))


async def _store(host: str, folder: Path) -> None:
    image = build_image(LAYERS, seed=5, size=LAYER)
    reference = ImageReference.parse(f"{host}/{NAME}")
    async with Client(folder / "publisher") as client:
        repository = client.remote(reference)
        for blob in walk_blobs(image):
            await repository.put_blob(blob.digest, Chunk(_pieces(blob.data), length=len(blob.data)))
        await repository.put_manifest(Tag("v1"), image.manifest.data, image.manifest.media_type)


async def _pieces(data: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(data), MIB):
        yield data[start : start + MIB]


def pull(site: Site, name: str) -> Load:
    host, client = place(site, name), program(site, name)
    client.forget()
    os.sync()
    return _load(client.pull(host), LAYERS * LAYER)


def push(site: Site, name: str) -> Load:
    """To a registry that has nothing yet; starting that is not timed."""
    source, client = place(site, name), program(site, name)
    server = site.new_server(ENTREPOT, f"push-{next(_serial)}")
    server.start()
    try:
        host = f"127.0.0.1:{server.port}"
        client.name_for(host, source)
        os.sync()
        return _load(client.push(host), LAYERS * LAYER)
    finally:
        _end(server)


def _end(server: Server) -> None:
    server.stop()
    shutil.rmtree(server.root, ignore_errors=True)


def prepare_push(site: Site, name: str) -> None:
    host, client = place(site, name), program(site, name)
    client.forget()
    client.pull(host)


def prepare_huge(site: Site, name: str) -> None:
    program(site, name)
    server = site.server(ENTREPOT)
    host = f"127.0.0.1:{server.port}"
    if site.first_time("huge", host):
        _elsewhere(_store_huge, host, site.folder)


def pull_huge(site: Site, name: str) -> Load:
    """One layer of ten gibibytes."""
    client = program(site, name)
    client.forget()
    host = f"127.0.0.1:{site.server(ENTREPOT).port}/huge"
    try:
        return _load(client.pull(host), HUGE)
    finally:
        client.forget()


async def _store_huge(host: str, folder: Path) -> None:
    header = tarfile.TarInfo("huge.bin")
    header.size = HUGE
    hashed = hashlib.sha256()
    async for piece in _huge_tar(header):
        hashed.update(piece)
    digest, size = Digest(f"sha256:{hashed.hexdigest()}"), HUGE + 512 + 1024
    document = build_image(0)
    config = document.config.data.replace(b'"diff_ids":[]', f'"diff_ids":["{digest}"]'.encode())
    reference = ImageReference.parse(f"{host}/huge/{NAME}")
    async with Client(folder / "publisher") as client:
        repository = client.remote(reference)
        await repository.put_blob(digest, Chunk(_huge_tar(header), length=size))
        await repository.put_blob(Digest.of(config), Chunk(_pieces(config), length=len(config)))
        await _put_huge_manifest(repository, config, digest, size)


async def _put_huge_manifest(repository: RemoteRepository, config: bytes, layer: Digest, size: int) -> None:
    kind = "application/vnd.oci.image"
    manifest = (
        f'{{"schemaVersion":2,"mediaType":"{kind}.manifest.v1+json","config":{{"mediaType":"{kind}.config.v1+json",'
        f'"digest":"{Digest.of(config)}","size":{len(config)}}},"layers":[{{"mediaType":"{kind}.layer.v1.tar",'
        f'"digest":"{layer}","size":{size}}}]}}'
    )
    await repository.put_manifest(Tag("v1"), manifest.encode(), f"{kind}.manifest.v1+json")


async def _huge_tar(header: tarfile.TarInfo) -> AsyncIterator[bytes]:
    yield header.tobuf(tarfile.GNU_FORMAT)
    block = hashlib.shake_256(b"huge").digest(64 * MIB)
    for _ in range(HUGE // len(block)):
        async for piece in _pieces(block):
            yield piece
    yield bytes(1024)


def prepare_many(site: Site, name: str) -> None:
    """An image store with a thousand images, each of its own."""
    client = program(site, name)
    root = client.folder / "many"
    if not root.exists():
        _elsewhere(_fill, "", root)


async def _fill(_: str, root: Path) -> None:
    async with Client(root) as client:
        for number in range(MANY):
            image = build_image(1, seed=number, size=10)
            repository = client.store.repository(RepositoryName(f"docker.io/library/app-{number // 10}"))
            for blob in walk_blobs(image):
                await repository.put_blob(blob.digest, Chunk(_pieces(blob.data)))
            tag = Tag(f"v{number % 10}")
            await repository.put_manifest(tag, image.manifest.data, image.manifest.media_type)


def list_images(site: Site, name: str) -> Load:
    client = program(site, name)
    return _repeated(lambda: _entrepot(client, "images", "--root", str(client.folder / "many")))


def show_version(site: Site, name: str) -> Load:
    client = program(site, name)
    return _repeated(lambda: _entrepot(client, "--version"))


def _entrepot(client: Program, *arguments: str) -> Spent:
    return client.spend(client.executable, "-m", "entrepot", *arguments)


def _repeated(run: Callable[[], Spent]) -> Load:
    """The median of some: a single one of a tenth of a second says little."""
    spent = [run() for _ in range(5)]
    seconds = statistics.median(each.seconds for each in spent)
    return Load(1, seconds, extra={"cpu_seconds": spent[0].cpu_seconds, "peak_rss": float(spent[0].peak)})


def _load(spent: Spent, size: int) -> Load:
    return Load(1, spent.seconds, size=size, extra={"cpu_seconds": spent.cpu_seconds, "peak_rss": float(spent.peak)})


def _as_fast_as_all() -> Goal:
    goal = within("skopeo", 1.0)
    for name in ("docker", "ctr"):
        goal = goal & within(name, 1.0)
    return goal


def _peak_below(mebibytes: int) -> Goal:
    def reached(found: dict[str, Medians], own: str) -> bool:
        return (found[own].peak_rss or float("inf")) < mebibytes * MIB

    return Goal(f"peak < {mebibytes} MiB", lambda found, own: reached(dict(found), own))


def _measure(name: str, title: str, run: Callable[[Site, str], Load], goal: Goal, **more: object) -> Measure:
    options = {"contenders": (OURS,), "subject": OURS, "observed": False, "prepare": program, **more}
    return Measure(name=name, title=title, unit=SECONDS, run=run, goal=goal, **options)  # type: ignore[arg-type]


TRANSFERS = [
    _measure(
        "client-pull", "pull 1 GiB in 8 layers", pull, _as_fast_as_all(), contenders=CLIENTS, prepare=place, writes=True
    ),
    _measure(
        "client-push",
        "push 1 GiB in 8 layers",
        push,
        _as_fast_as_all(),
        contenders=CLIENTS,
        prepare=prepare_push,
        writes=True,
    ),
    _measure(
        "client-pull-huge",
        "pull 10 GiB in one layer",
        pull_huge,
        _peak_below(200),
        prepare=prepare_huge,
        writes=True,
        in_quick=False,
    ),
    _measure("client-images", "entrepot images, 1,000 images", list_images, below(0.3, "s"), prepare=prepare_many),
    _measure("client-version", "entrepot --version", show_version, below(0.15, "s")),
    _measure("client-start", "entrepot pull --help", lambda site, name: _help(site, name), no_goal()),
]


def _help(site: Site, name: str) -> Load:
    client = program(site, name)
    return _repeated(lambda: _entrepot(client, "pull", "--help"))
