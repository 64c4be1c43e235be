"""The composition root of the server side: settings in, wired objects out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial

from entrepot.backends import Backends, Durability, is_shared, open_backends, prepare, with_cache
from entrepot.config import Settings, check_exposure
from entrepot.jobs.check import Check, Report
from entrepot.jobs.count import Count
from entrepot.jobs.expire_uploads import ExpireUploads
from entrepot.jobs.forget_commits import ForgetCommits
from entrepot.jobs.move import require_complete
from entrepot.jobs.runner import Job, JobRunner
from entrepot.metadata.base import Metadata
from entrepot.metadata.statistics import Statistics, count_everything, recorded_counts
from entrepot.repositories.base import Blob
from entrepot.repositories.local import LocalRegistry, Rules
from entrepot.repositories.local_blob import LocalBlob
from entrepot.repositories.recent import RecentReads
from entrepot.server import logs, process
from entrepot.server.app import RegistryApp
from entrepot.server.call import DirectAddress, Options
from entrepot.server.connections import Connections
from entrepot.server.health import Health
from entrepot.server.logs import AccessLog
from entrepot.server.metrics import Metrics
from entrepot.server.outages import tell_outages
from entrepot.store.base import BlobStore

COUNT_INTERVAL_SECONDS = 300
FORGET_INTERVAL_SECONDS = 3600
_LAST_REQUESTS_SECONDS = 5.0
_STARTING_SECONDS = 0.1  # Granian begins to serve when the lifespan has begun, and tells nobody


def serve(settings: Settings, durability: Durability | None = None) -> None:
    """Run the server until it is told to stop. Raises ConfigInvalid, Unavailable."""
    check_exposure(settings)
    prepare(settings)
    asyncio.run(_require_complete(settings))
    process.run(settings, partial(create_app, settings, durability))


async def _require_complete(settings: Settings) -> None:
    opened = open_backends(settings)
    try:
        await require_complete(opened.metadata)
    finally:
        await opened.close()


def create_app(
    settings: Settings, durability: Durability | None = None, is_leaving: Callable[[], bool] = lambda: False
) -> RegistryApp:
    """The application of one worker process. ``is_leaving()`` says whether clients are to go elsewhere."""
    logs.configure(settings.log.level, settings.log.format)
    opened = open_backends(settings, durability)
    store, metadata = with_cache(settings, opened.store), opened.metadata
    registry = LocalRegistry(store, metadata, _rules(settings), recent=_recent(settings, metadata))
    metrics = Metrics()
    jobs = JobRunner(metadata, _jobs(settings, registry), registry.now, metrics)
    connections = _connections(settings)
    return RegistryApp(
        registry,
        _options(settings, store),
        metrics=metrics,
        access_log=AccessLog(trust_forwarded=settings.server.behind_proxy) if settings.log.access else None,
        pages=Health(store, metadata, metrics, _counting(settings, metadata), is_leaving).routes(),
        lifespan=_life(jobs, opened, connections),
        connections=connections,
        is_leaving=is_leaving,
    )


def check_store(settings: Settings, *, repair: bool) -> Report:
    """Read everything that is stored and compare; see ``jobs.check``. May run beside a server."""
    prepare(settings)

    async def check() -> Report:
        opened = open_backends(settings)
        try:
            return await Check(opened.store, opened.metadata, repair=repair).run()
        finally:
            await opened.close()

    return asyncio.run(check())


@asynccontextmanager
async def _life(jobs: JobRunner, opened: Backends, connections: Connections) -> AsyncIterator[None]:
    loop = asyncio.get_running_loop()
    loop.call_later(_STARTING_SECONDS, process.let_signals_in)
    work = [jobs.run_for_ever(), connections.run(), tell_outages(opened.metadata)]
    running = [loop.create_task(each) for each in work]
    try:
        yield
    finally:
        await connections.wait_for_requests(_LAST_REQUESTS_SECONDS)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        await opened.close()


def _recent(settings: Settings, metadata: Metadata) -> RecentReads | None:
    seconds = settings.postgresql.remember_seconds
    return RecentReads(metadata, seconds) if is_shared(settings) and seconds else None


def _counting(settings: Settings, metadata: Metadata) -> Callable[[], Awaitable[Statistics]]:
    if is_shared(settings):
        return lambda: metadata.read(recorded_counts())
    return lambda: metadata.read_much(count_everything())


def _jobs(settings: Settings, registry: LocalRegistry) -> list[Job]:
    uploads = settings.uploads
    expire = ExpireUploads(
        registry.store, registry.metadata, registry.now, after_seconds=int(uploads.expire_after_seconds)
    )
    jobs = [Job("expire_uploads", int(uploads.expire_interval_seconds), expire.run)]
    if is_shared(settings):
        forget = ForgetCommits(registry.metadata, registry.now)
        jobs.append(Job("count", COUNT_INTERVAL_SECONDS, Count(registry.metadata).run))
        jobs.append(Job("forget_commits", FORGET_INTERVAL_SECONDS, forget.run))
    return jobs


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


def _direct_address(settings: Settings, store: BlobStore) -> DirectAddress | None:
    if settings.bucket is None or settings.s3.redirect == "never":
        return None

    async def address(blob: Blob) -> str | None:
        return await store.redirect_url(blob.stored) if isinstance(blob, LocalBlob) else None

    return address


def _options(settings: Settings, store: BlobStore) -> Options:
    return Options(
        manifest_bytes=settings.limits.manifest_bytes,
        page_size=settings.limits.page_size,
        tags_per_push=settings.limits.tags_per_push,
        read_only=settings.server.read_only,
        delete_enabled=settings.delete.enabled,
        absolute_urls=settings.server.absolute_urls,
        trust_forwarded=settings.server.behind_proxy,
        idle_seconds=settings.server.idle_timeout_seconds,
        direct_address=_direct_address(settings, store),
    )
