"""The place of a run: its folder, its settings, and its servers, started when the first measure wants them."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Self

from bench.client import connected
from bench.content import KIB, Blob, Manifest, image_manifest, unique_blob
from bench.programs import PROGRAMS
from bench.replicas import EMBEDDED, Backing, Replica, new_replica, replica_kind
from bench.seed import Seeds, seed
from bench.servers import Distribution, Entrepot, Nginx, Server, ServerFailed
from bench.services import Services

ENTREPOT = "entrepot"
DEFAULT = "distribution"
TUNED = "distribution GOGC=800"
NGINX = "nginx"
DISK = "disk"
FULL = "entrepot, much stored"
SPARSE = "entrepot, little stored"

REPOSITORY = "bench/app"
TAG = "latest"
_LAYERS = 8  # the median image's

_SERVERS: dict[str, type[Server]] = {
    ENTREPOT: Entrepot,
    DEFAULT: Distribution,
    TUNED: Distribution,
    NGINX: Nginx,
    FULL: Entrepot,
    SPARSE: Entrepot,
    **dict.fromkeys(EMBEDDED, Entrepot),
}
_ENVIRONMENTS = {TUNED: {"GOGC": "800"}}


@dataclass(frozen=True)
class Settings:
    """What the command line chose."""

    rounds: int
    seconds: int
    folder: Path
    full: Seeds
    sparse: Seeds


@dataclass(frozen=True)
class Image:
    """What every server holds: a manifest, its config and its layers."""

    manifest: Manifest
    blobs: list[Blob]


class Site:
    """Gives servers by name. A context manager: at its end all servers are stopped and the folder is gone."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.folder = Path(tempfile.mkdtemp(prefix="entrepot-bench-", dir=settings.folder))
        self._servers: dict[str, Server] = {}
        self._broken: set[str] = set()
        self._blobs: dict[int, Blob] = {}
        self._placed: set[tuple[str, ...]] = set()
        self._endings: list[Callable[[], None]] = []
        self._services: Services | None = None
        self._backings: dict[type[Server], Backing] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for end in self._endings:
            end()
        for server in self._servers.values():
            server.stop()
        if self._services is not None:
            self._services.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    @cached_property
    def image(self) -> Image:
        blobs = [unique_blob(KIB) for _ in range(1 + _LAYERS)]
        return Image(image_manifest(blobs[0], blobs[1:], title="benchmark"), blobs)

    def has(self, name: str) -> bool:
        """Whether the software is there."""
        return name == DISK or (PROGRAMS.get(name) or replica_kind(name) or _SERVERS[name]).installed()

    @property
    def services(self) -> Services:
        """PostgreSQL and Ceph, started if need be."""
        if self._services is None:
            self._services = Services(self.folder / "services")
        return self._services

    def at_end(self, end: Callable[[], None]) -> None:
        """Have something ended before the servers are."""
        self._endings.append(end)

    def first_time(self, *key: str) -> bool:
        """Whether nobody has asked this before."""
        return self._is_new(*key)

    def running(self, name: str) -> Server | None:
        """The server if it has been started: what is observed during a sample."""
        return self._servers.get(name)

    def server(self, name: str) -> Server:
        """The server, started if need be."""
        if name in self._broken:
            raise ServerFailed(f"{name} did not start before")
        if name not in self._servers:
            self._broken.add(name)
            self._servers[name] = self._start(name)
            self._broken.remove(name)
        return self._servers[name]

    def seeds(self, name: str) -> Seeds:
        """What was stored beforehand in one of the two that are compared by how much they hold."""
        return self.settings.full if name == FULL else self.settings.sparse

    def new_server(self, name: str, folder: str) -> Server:
        """One more of the kind, below ``folder``, not started and not kept."""
        root = self.folder / folder
        if (kind := replica_kind(name)) is not None:
            return new_replica(name, root, self._backing(kind))
        if name in EMBEDDED:
            return Entrepot(name, root, workers=EMBEDDED[name])
        return _SERVERS[name](name, root, _ENVIRONMENTS.get(name, {}))

    def place_image(self, name: str, repository: str = REPOSITORY) -> Server:
        """The server, with the image in it."""
        server = self.server(name)
        if self._is_new(name, repository, self.image.manifest.digest):
            store_image(server, repository, self.image)
        return server

    def place_blob(self, name: str, size: int) -> tuple[Server, Blob]:
        """The server, and a blob of that size in it: the same on all servers."""
        server = self.server(name)
        blob = self._blobs.setdefault(size, unique_blob(size))
        if self._is_new(name, REPOSITORY, blob.digest):
            server.store_blob(REPOSITORY, blob)
            with connected(server.port) as client:
                client.check(server.target(f"/v2/{REPOSITORY}/blobs/{blob.digest}"), blob.digest)
        return server, blob

    def _backing(self, kind: type[Server]) -> Backing:
        """Of one kind all are replicas of each other."""
        family = Replica if issubclass(kind, Replica) else kind
        if family not in self._backings:
            self._backings[family] = Backing(self.services)
        return self._backings[family]

    def _is_new(self, *key: str) -> bool:
        if key in self._placed:
            return False
        self._placed.add(key)
        return True

    def _start(self, name: str) -> Server:
        server = self.new_server(name, self._folder_name(name))
        if name in (FULL, SPARSE):
            server.start()  # makes the database
            server.stop()
            seed(server.root, self.seeds(name))
        server.start()
        return server

    @staticmethod
    def _folder_name(name: str) -> str:
        return name.replace(",", "").replace(" ", "-").replace("=", "-")


def store_image(server: Server, repository: str, image: Image) -> None:
    """Blobs first, then the manifest; then reads it back."""
    for blob in image.blobs:
        server.store_blob(repository, blob)
    server.store_manifest(repository, TAG, image.manifest)
    with connected(server.port) as client:
        client.check(f"/v2/{repository}/manifests/{TAG}", image.manifest.digest)
