"""The composition root of the server side: settings in, wired objects out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial

from entrepot.config import Settings, check_exposure
from entrepot.errors import Unavailable
from entrepot.jobs.check import Check, Report
from entrepot.jobs.expire_uploads import ExpireUploads
from entrepot.jobs.runner import Job, JobRunner
from entrepot.metadata import sqlite
from entrepot.metadata.migrate import upgrade_sqlite
from entrepot.metadata.sqlite import Commit, SqliteMetadata
from entrepot.repositories.local import LocalRegistry, Rules
from entrepot.server import logs, process
from entrepot.server.app import RegistryApp
from entrepot.server.call import Options
from entrepot.server.connections import Connections
from entrepot.server.health import Health
from entrepot.server.logs import AccessLog
from entrepot.server.metrics import Metrics
from entrepot.store.base import BlobStore
from entrepot.store.cached import CachedBlobStore
from entrepot.store.disk import Disk
from entrepot.store.filesystem import FilesystemBlobStore
from entrepot.store.folder import make_root

_LAST_REQUESTS_SECONDS = 5.0
_STARTING_SECONDS = 0.1  # Granian begins to serve when the lifespan has begun, and tells nobody


@dataclass(frozen=True, slots=True)
class Durability:
    """The calls that make things durable; fault injectors put their own in."""

    disk: Disk
    commit: Commit

    @classmethod
    def real(cls) -> Durability:
        return cls(Disk(), sqlite.commit)


def serve(settings: Settings, durability: Durability | None = None) -> None:
    """Run the server until it is told to stop. Raises ConfigInvalid, Unavailable."""
    check_exposure(settings)
    prepare(settings)
    process.run(settings, partial(create_app, settings, durability))


def prepare(settings: Settings) -> None:
    """Create the folders, and bring the database to this version. Raises Unavailable."""
    try:
        make_root(settings.store_path, Disk())
        make_root(settings.database_path.parent, Disk())
        upgrade_sqlite(settings.database_path)
    except OSError as error:
        raise Unavailable(f"cannot write to {error.filename or settings.root}: {error.strerror}") from error


def create_app(settings: Settings, durability: Durability | None = None) -> RegistryApp:
    """The application of one worker process."""
    logs.configure(settings.log.level, settings.log.format)
    durability = durability or Durability.real()
    store = _store(settings, durability.disk)
    metadata = SqliteMetadata(settings.database_path, commit=durability.commit)
    registry = LocalRegistry(store, metadata, _rules(settings))
    metrics = Metrics()
    jobs = JobRunner(metadata, _jobs(settings, registry), registry.now, metrics)
    connections = _connections(settings)
    return RegistryApp(
        registry,
        _options(settings),
        metrics=metrics,
        access_log=AccessLog(trust_forwarded=settings.server.behind_proxy) if settings.log.access else None,
        pages=Health(store, metadata, metrics).routes(),
        lifespan=_life(jobs, metadata, connections),
        connections=connections,
    )


def check_store(settings: Settings, *, repair: bool) -> Report:
    """Read everything that is stored and compare; see ``jobs.check``. May run beside a server."""
    prepare(settings)

    async def check() -> Report:
        metadata = SqliteMetadata(settings.database_path)
        try:
            return await Check(FilesystemBlobStore(settings.store_path), metadata, repair=repair).run()
        finally:
            await metadata.close()

    return asyncio.run(check())


@asynccontextmanager
async def _life(jobs: JobRunner, metadata: SqliteMetadata, connections: Connections) -> AsyncIterator[None]:
    loop = asyncio.get_running_loop()
    loop.call_later(_STARTING_SECONDS, process.let_signals_in)
    running = [loop.create_task(jobs.run_for_ever()), loop.create_task(connections.run())]
    try:
        yield
    finally:
        await connections.wait_for_requests(_LAST_REQUESTS_SECONDS)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        await metadata.close()


def _store(settings: Settings, disk: Disk) -> BlobStore:
    store = FilesystemBlobStore(settings.store_path, disk=disk)
    if not settings.cache.blob_bytes:
        return store
    return CachedBlobStore(store, capacity=settings.cache.blob_bytes, largest=settings.cache.blob_max_bytes)


def _jobs(settings: Settings, registry: LocalRegistry) -> list[Job]:
    uploads = settings.uploads
    expire = ExpireUploads(
        registry.store, registry.metadata, registry.now, after_seconds=int(uploads.expire_after_seconds)
    )
    return [Job("expire_uploads", int(uploads.expire_interval_seconds), expire.run)]


def _connections(settings: Settings) -> Connections:
    server = settings.server
    return Connections(
        server.port, header_seconds=server.header_timeout_seconds, idle_seconds=server.idle_timeout_seconds
    )


def _rules(settings: Settings) -> Rules:
    return Rules(
        manifest_bytes=settings.limits.manifest_bytes,
        upload_bytes=settings.limits.upload_bytes,
        uploads_per_repository=settings.limits.uploads_per_repository,
        allow_missing_children=tuple(settings.manifests.allow_missing_children),
        allow_unknown_types=settings.manifests.allow_unknown_types,
        require_artifact_type=settings.manifests.require_artifact_type,
        protect_used_blobs=settings.delete.protect_used_blobs,
    )


def _options(settings: Settings) -> Options:
    return Options(
        manifest_bytes=settings.limits.manifest_bytes,
        page_size=settings.limits.page_size,
        tags_per_push=settings.limits.tags_per_push,
        read_only=settings.server.read_only,
        delete_enabled=settings.delete.enabled,
        absolute_urls=settings.server.absolute_urls,
        trust_forwarded=settings.server.behind_proxy,
        idle_seconds=settings.server.idle_timeout_seconds,
    )
