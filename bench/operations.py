"""What each kind of request costs: statements and round trips to PostgreSQL, requests to S3; counted by proxies."""

from __future__ import annotations

import asyncio
import http.client
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from bench.client import UnexpectedAnswer, connected
from bench.content import KIB, MANIFEST_TYPE, MIB, Blob, Manifest, image_manifest, unique_blob
from bench.counting import CountingProxy, Counts, PostgresqlReader, S3Reader
from bench.programs import NAME, PROGRAMS, Program
from bench.replicas import Backing, DistributionOnS3, Replica
from bench.servers import Entrepot, Server
from bench.services import Services
from bench.site import Site
from entrepot.client import Client
from entrepot.reference import ImageReference, Tag
from entrepot.repositories.base import Chunk
from entrepot.testing.images import build_image, walk_blobs

Say = Callable[[str], None]

_REPEATS, _REPEATS_OF_LARGE = 3, 2
_LAYERS, _DOCKER_LAYERS, _DOCKER_LAYER = 8, 10, MIB
_QUIET_SECONDS, _POLL_SECONDS = 0.1, 0.02
_REPOSITORY, _OTHER = "count/app", "count/other"
_PATCH = {"Content-Type": "application/octet-stream"}

_serial = count()


@dataclass(frozen=True)
class Cost:
    """One kind of request; ``sql`` are the statements of one of them, each with how often it was run."""

    request: str
    statements: int
    round_trips: int
    s3_requests: int
    s3_operations: str
    peer_s3_requests: int
    peer_s3_operations: str
    sql: dict[str, int]


class Counted:
    """A server behind the proxies, and one client that talks to it."""

    def __init__(self, server: Server, proxies: Sequence[CountingProxy]) -> None:
        self.server = server
        self._proxies = proxies
        self._layers: list[Blob] = []

    def new_manifest(self) -> Manifest:
        """Of layers that are there, and not there itself."""
        self._layers = self._layers or [self.prepared(unique_blob(KIB)) for _ in range(1 + _LAYERS)]
        return image_manifest(self._layers[0], self._layers[1:], serial=str(next(_serial)))

    def prepared(self, blob: Blob, repository: str = _REPOSITORY) -> Blob:
        """Stored; what that costs does not count."""
        with connected(self.server.port) as client:
            client.put_blob(repository, blob)
        return blob

    def ask(self, method: str, target: str, expected: int, body: bytes | Blob | None = None) -> str:
        """One request, the answer read to its end; its Location."""
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=120)
        content = body.content() if isinstance(body, Blob) else body
        kind = {"Content-Type": MANIFEST_TYPE} if "/manifests/" in target else _PATCH
        connection.request(method, target, content, {"Accept": MANIFEST_TYPE, **(kind if content else {})})
        answer = connection.getresponse()
        while answer.read(MIB):
            pass
        connection.close()
        if answer.status != expected:
            raise UnexpectedAnswer(f"{method} {target}: expected {expected}, got {answer.status}")
        return answer.getheader("Location", "").removeprefix(self.server.url(""))

    def take(self) -> Counts:
        """What was counted since the last time, once nothing more comes."""
        total: Counts = Counter()
        quiet_since = time.monotonic()
        while time.monotonic() - quiet_since < _QUIET_SECONDS:
            time.sleep(_POLL_SECONDS)
            for proxy in self._proxies:
                if new := proxy.take():
                    quiet_since = time.monotonic()
                    total += new
        return total


# What is done without being counted returns what is done and counted.
Kind = Callable[[Counted], Callable[[], object]]


def _read_manifest(method: str, *, by_tag: bool) -> Kind:
    def prepare(counted: Counted) -> Callable[[], object]:
        manifest = counted.new_manifest()
        with connected(counted.server.port) as client:
            client.put_manifest(_REPOSITORY, "latest", manifest)
        path = f"/v2/{_REPOSITORY}/manifests/{'latest' if by_tag else manifest.digest}"
        return lambda: counted.ask(method, path, 200)

    return prepare


def _read_blob(method: str, size: int, *, again: bool = False, status: int = 200) -> Kind:
    def prepare(counted: Counted) -> Callable[[], object]:
        blob = counted.prepared(unique_blob(size))
        path = f"/v2/{_REPOSITORY}/blobs/{blob.digest}"
        if again:
            counted.ask(method, path, status)
        return lambda: counted.ask(method, path, status)

    return prepare


def _begin(counted: Counted) -> Callable[[], object]:
    return lambda: _post(counted)


def _post(counted: Counted, query: str = "", status: int = 202) -> str:
    return counted.ask("POST", f"/v2/{_REPOSITORY}/blobs/uploads/{query}", status)


def _append(size: int) -> Kind:
    def prepare(counted: Counted) -> Callable[[], object]:
        location, blob = _post(counted), unique_blob(size)
        return lambda: counted.ask("PATCH", location, 202, blob)

    return prepare


def _close(size: int) -> Kind:
    def prepare(counted: Counted) -> Callable[[], object]:
        blob = unique_blob(size)
        location = counted.ask("PATCH", _post(counted), 202, blob)
        target = f"{location}{'&' if '?' in location else '?'}digest={blob.digest}"
        return lambda: counted.ask("PUT", target, 201)

    return prepare


def _whole(size: int) -> Kind:
    def prepare(counted: Counted) -> Callable[[], object]:
        blob = unique_blob(size)

        def push() -> None:
            location = _post(counted)
            counted.ask("PUT", f"{location}{'&' if '?' in location else '?'}digest={blob.digest}", 201, blob)

        return push

    return prepare


def _mount(counted: Counted) -> Callable[[], object]:
    blob = counted.prepared(unique_blob(KIB), _OTHER)
    return lambda: _post(counted, f"?mount={blob.digest}&from={_OTHER}", 201)


def _put_manifest(counted: Counted) -> Callable[[], object]:
    manifest = counted.new_manifest()
    return lambda: counted.ask("PUT", f"/v2/{_REPOSITORY}/manifests/latest", 201, manifest.content)


def _list_tags(counted: Counted) -> Callable[[], object]:
    return lambda: counted.ask("GET", f"/v2/{_REPOSITORY}/tags/list?n=100", 200)


KINDS: dict[str, Kind] = {
    "HEAD manifest by tag": _read_manifest("HEAD", by_tag=True),
    "GET manifest by tag": _read_manifest("GET", by_tag=True),
    "HEAD manifest by digest": _read_manifest("HEAD", by_tag=False),
    "GET manifest by digest": _read_manifest("GET", by_tag=False),
    "HEAD blob": _read_blob("HEAD", KIB),
    "GET 1 KiB blob, first time": _read_blob("GET", KIB),
    "GET 1 KiB blob, again": _read_blob("GET", KIB, again=True),
    "GET 10 MiB blob, streamed": _read_blob("GET", 10 * MIB),
    "POST upload": _begin,
    "PATCH of 1 KiB": _append(KIB),
    "PATCH of 100 MiB": _append(100 * MIB),
    "PUT that closes 1 KiB": _close(KIB),
    "PUT that closes 100 MiB": _close(100 * MIB),
    "POST and PUT of 1 KiB": _whole(KIB),
    "POST with mount": _mount,
    "PUT manifest of 8 layers": _put_manifest,
    "GET tags, a page": _list_tags,
}
REDIRECTED: dict[str, Kind] = {
    "GET blob, redirected": _read_blob("GET", MIB, status=307),
}


def count_operations(site: Site, say: Say) -> list[Cost]:
    """Every kind of request on both servers, and docker's push and pull of an image of ten layers."""
    costs: list[Cost] = []
    for kinds, redirect in ((KINDS, False), (REDIRECTED, True)):
        with _entrepot(site, redirect) as ours, _distribution(site, redirect) as theirs:
            for name, kind in kinds.items():
                costs.append(_cost(name, _sample(ours, name, kind), _sample(theirs, name, kind)))
                say(f"operations: {costs[-1]}"[:150])
            if not redirect and PROGRAMS["docker"].installed():
                costs.extend(_docker_costs(site, ours, theirs))
    return costs


@contextmanager
def _entrepot(site: Site, redirect: bool) -> Iterator[Counted]:
    services = site.services
    database = CountingProxy(services.postgresql_port, PostgresqlReader)
    with _behind_proxy(services, [database]) as (proxies, backing):
        backing.postgresql_port = database.port
        root = site.folder / f"counted-{redirect}"
        how = "always" if redirect else "never"
        with _running(Replica("counted", root, backing=backing, workers=1, redirect=how)) as server:
            yield Counted(server, proxies)


@contextmanager
def _distribution(site: Site, redirect: bool) -> Iterator[Counted]:
    with _behind_proxy(site.services, []) as (proxies, backing):
        root = site.folder / f"counted-distribution-{redirect}"
        with _running(DistributionOnS3("counted", root, backing=backing, redirect=redirect)) as server:
            yield Counted(server, proxies)


@contextmanager
def _behind_proxy(services: Services, others: list[CountingProxy]) -> Iterator[tuple[list[CountingProxy], Backing]]:
    proxies = [CountingProxy(services.s3_port, S3Reader), *others]
    try:
        yield proxies, Backing(services, s3_endpoint=f"http://127.0.0.1:{proxies[0].port}")
    finally:
        for proxy in proxies:
            proxy.close()


@contextmanager
def _running(server: Server) -> Iterator[Server]:
    server.start()
    try:
        yield server
    finally:
        server.stop()


def _sample(counted: Counted, name: str, kind: Kind) -> list[Counts]:
    repeats = _REPEATS_OF_LARGE if "100 MiB" in name else _REPEATS
    return [_count(counted, kind(counted)) for _ in range(repeats)]


def _count(counted: Counted, act: Callable[[], object]) -> Counts:
    counted.take()
    act()
    return counted.take()


def _cost(request: str, ours: list[Counts], theirs: list[Counts]) -> Cost:
    least, peer = _least(ours), _least(theirs)
    return Cost(
        request=request,
        statements=least["statements"],
        round_trips=least["round trips"],
        s3_requests=least["requests"],
        s3_operations=_operations(least),
        peer_s3_requests=peer["requests"],
        peer_s3_operations=_operations(peer),
        sql={key.removeprefix("sql "): number for key, number in least.items() if key.startswith("sql ")},
    )


def _least(samples: list[Counts]) -> Counts:
    """Background jobs may run in the others, and statements be prepared, which is done once for each connection."""
    return min(samples, key=lambda sample: (sample["requests"], sample["statements"], sample["round trips"]))


def _operations(counts: Counts) -> str:
    found = sorted(key.removeprefix("s3 ") for key in counts if key.startswith("s3 "))
    return ", ".join(f"{counts[f's3 {name}']} {name}" for name in found)


def _docker_costs(site: Site, ours: Counted, theirs: Counted) -> list[Cost]:
    """Once each: the image is pulled from a registry with files, pushed, forgotten, pulled."""
    docker = PROGRAMS["docker"](site.folder / "counted-docker")
    with _running(Entrepot("source", site.folder / "counted-source")) as source:
        host = f"127.0.0.1:{source.port}"
        asyncio.run(_store(host, site.folder))
        try:
            docker.start()
            ours_found, theirs_found = (_push_and_pull(docker, host, counted) for counted in (ours, theirs))
        finally:
            docker.stop()
    titles = (f"docker push, {_DOCKER_LAYERS} layers", f"docker pull, {_DOCKER_LAYERS} layers")
    pairs = zip(titles, ours_found, theirs_found, strict=True)
    return [_cost(title, [mine], [other]) for title, mine, other in pairs]


def _push_and_pull(docker: Program, source: str, counted: Counted) -> list[Counts]:
    target = f"127.0.0.1:{counted.server.port}"
    docker.forget()
    docker.pull(source)
    docker.name_for(target, source)
    pushed = _count(counted, lambda: docker.push(target))
    docker.forget()
    return [pushed, _count(counted, lambda: docker.pull(target))]


async def _store(host: str, folder: Path) -> None:
    image = build_image(_DOCKER_LAYERS, seed=11, size=_DOCKER_LAYER)
    async with Client(folder / "counted-publisher") as client:
        repository = client.remote(ImageReference.parse(f"{host}/{NAME}"))
        for blob in walk_blobs(image):
            await repository.put_blob(blob.digest, Chunk(_once(blob.data), length=len(blob.data)))
        await repository.put_manifest(Tag("v1"), image.manifest.data, image.manifest.media_type)


async def _once(data: bytes) -> AsyncIterator[bytes]:
    yield data
