"""A registry of one machine moved to what many replicas share: PostgreSQL, and S3."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg  # type: ignore[import-untyped]  # it comes without types
import pytest

from entrepot.errors import ConfigInvalid
from entrepot.jobs.move_report import Place, Progress, Step
from entrepot.metadata import moves, tables
from entrepot.metadata.claims import LeaseClaims
from entrepot.metadata.migrate_postgresql import upgrade_postgresql
from entrepot.metadata.postgres import PostgresMetadata
from entrepot.metadata.postgres_connection import PostgresConnection
from entrepot.metadata.postgres_options import PostgresOptions
from entrepot.repositories.local import LocalRegistry
from entrepot.store.filesystem import FilesystemBlobStore
from entrepot.store.s3 import S3BlobStore
from entrepot.store.s3_options import S3Credentials, S3Options
from entrepot.testing.images import build_image
from entrepot.testing.repository_suite import push, require_whole
from tests.services.postgresql import PostgresqlServer
from tests.services.s3 import S3Place

from .moving import APP, V1, fill, move, picture, sqlite_at


@pytest.fixture
async def source(tmp_path: Path) -> AsyncIterator[Place]:
    store = FilesystemBlobStore(tmp_path / "old")
    async with sqlite_at(tmp_path / "old" / "entrepot.db") as metadata:
        await fill(LocalRegistry(store, metadata))
        yield Place(metadata, store, "sqlite:///old", "file:///old")


@pytest.fixture
async def metadata(postgresql: str) -> AsyncIterator[PostgresMetadata]:
    metadata = PostgresMetadata(PostgresOptions(postgresql))
    yield metadata
    await metadata.close()


async def test_move_to_postgresql_brings_everything(source: Place, metadata: PostgresMetadata) -> None:
    moved = await move(source, Place(metadata, source.store, "postgresql://new", "file:///old"), keeps_store=True)
    assert moved.is_clean
    assert await picture(metadata, source.store) == await picture(source.metadata, source.store)


async def test_database_that_was_moved_to_takes_pushes(source: Place, metadata: PostgresMetadata) -> None:
    await move(source, Place(metadata, source.store, "postgresql://new", "file:///old"), keeps_store=True)
    image = build_image(1, seed=77)
    registry = LocalRegistry(source.store, metadata)
    await push(registry.repository(APP), image, V1)
    await require_whole(registry.repository(APP), image, V1)


async def test_move_to_a_database_that_is_being_served_is_refused(
    source: Place, metadata: PostgresMetadata, postgresql: str
) -> None:
    target = Place(metadata, source.store, "postgresql://new", "file:///old", is_shared=True)
    server = await asyncpg.connect(postgresql, server_settings={"application_name": "entrepot replica-1 17/3"})
    try:
        with pytest.raises(ConfigInvalid, match=r"in use by other processes .*: replica-1 17; stop those"):
            await move(source, target, keeps_store=True)
    finally:
        await server.close()
    assert await metadata.read(moves.origin()) is None
    others = [await PostgresConnection.open(PostgresOptions(postgresql)) for _ in range(2)]  # of this process
    assert (await move(source, target, keeps_store=True)).is_clean
    for connection in others:
        await connection.close()


@pytest.fixture
async def store(s3: S3Place, metadata: PostgresMetadata) -> AsyncIterator[S3BlobStore]:
    credentials = S3Credentials(s3.access_key, s3.secret_key)
    options = S3Options(s3.bucket, s3.prefix, region=s3.region, endpoint=s3.endpoint, credentials=credentials)
    store = S3BlobStore(options, LeaseClaims(metadata, lambda: int(time.time())))
    yield store
    await store.close()


async def test_move_to_postgresql_and_s3_brings_everything(
    source: Place, metadata: PostgresMetadata, store: S3BlobStore, s3: S3Place
) -> None:
    repository = LocalRegistry(source.store, source.metadata).repository(APP)
    large = build_image(1, seed=78, size=20 * 1024 * 1024)  # of several parts
    await push(repository, large, V1)
    moved = await move(source, Place(metadata, store, "postgresql://new", s3.url))
    assert moved.is_clean
    await require_whole(LocalRegistry(store, metadata).repository(APP), large, V1)
    assert await picture(metadata, store) == await picture(source.metadata, source.store)
    assert s3.open_uploads() == []
    named = {row.location for row in (await metadata.read(tables.blobs_between("", None))).values()}
    assert {blob.location async for blob in store.walk()} == named


async def test_move_to_a_bucket_that_is_in_use_is_refused(
    source: Place, metadata: PostgresMetadata, store: S3BlobStore, s3: S3Place, tmp_path: Path
) -> None:
    async with sqlite_at(tmp_path / "other.db") as other:
        await push(LocalRegistry(store, other).repository(APP), build_image(1, seed=79), V1)
    with pytest.raises(ConfigInvalid, match="holds blobs already"):
        await move(source, Place(metadata, store, "postgresql://new", s3.url))


async def test_move_waits_for_a_database_that_restarts(
    source: Place, private_postgresql: PostgresqlServer, tmp_path: Path
) -> None:
    options = PostgresOptions(private_postgresql.url(private_postgresql.new_database()), wait_seconds=120)
    await asyncio.to_thread(upgrade_postgresql, options)
    restarted: list[Step] = []

    def restart(progress: Progress) -> None:
        if progress.step is Step.ROWS and not restarted:
            restarted.append(progress.step)
            private_postgresql.stop()
            starting.start()

    starting = threading.Thread(target=private_postgresql.start)
    metadata = PostgresMetadata(options)
    try:
        target = Place(metadata, source.store, "postgresql://new", "file:///old")
        moved = await move(source, target, keeps_store=True, listener=restart)
        assert (moved.is_clean, restarted) == (True, [Step.ROWS])
        assert await picture(metadata, source.store) == await picture(source.metadata, source.store)
    finally:
        starting.join()
        await metadata.close()
