"""Every repository against the contract of repositories."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from entrepot.metadata.claims import LeaseClaims
from entrepot.metadata.postgres import PostgresMetadata
from entrepot.metadata.sqlite import SqliteMetadata
from entrepot.metadata.statistics import Statistics, count_everything
from entrepot.repositories.local import LocalRegistry
from entrepot.store.base import BlobStore
from entrepot.store.filesystem import FilesystemBlobStore
from entrepot.store.memory import MemoryBlobStore
from entrepot.store.s3 import S3BlobStore
from entrepot.store.s3_options import S3Credentials, S3Options
from entrepot.testing.repository_suite import RepositorySuite, SharedRepositorySuite
from entrepot.testing.repository_upload_suite import RequireEmpty
from entrepot.testing.upload_suite import require_empty as require_empty_store
from tests.services.s3 import S3Place

from .test_metadata import patient

WAIT_SECONDS = 90.0  # for other writers of an upload, on a busy machine


class _Local:
    """What the local bindings share: the database, and a look behind the contract for what is left."""

    @pytest.fixture
    async def registry(self, store: BlobStore, database: Path) -> AsyncIterator[LocalRegistry]:
        metadata = SqliteMetadata(database)
        yield LocalRegistry(store, metadata)
        await metadata.close()

    @pytest.fixture
    def require_empty(self, registry: LocalRegistry) -> RequireEmpty:
        async def require() -> None:
            assert await registry.metadata.read_much(count_everything()) == Statistics(0, 0, 0, 0, 0)
            await require_empty_store(registry.store)

        return require


class TestLocalRepositoryInMemory(_Local, RepositorySuite):
    @pytest.fixture
    def store(self) -> BlobStore:
        return MemoryBlobStore()


class TestLocalRepositoryOnDisk(_Local, SharedRepositorySuite):
    @pytest.fixture
    def store(self, tmp_path: Path) -> BlobStore:
        return FilesystemBlobStore(tmp_path, lock_wait_seconds=WAIT_SECONDS)

    @pytest.fixture
    async def second_registry(self, tmp_path: Path, database: Path) -> AsyncIterator[LocalRegistry]:
        metadata = SqliteMetadata(database)
        yield LocalRegistry(FilesystemBlobStore(tmp_path, lock_wait_seconds=WAIT_SECONDS), metadata)
        await metadata.close()


class TestLocalRepositoryOnPostgresql(_Local, SharedRepositorySuite):
    @pytest.fixture
    def store(self, tmp_path: Path) -> BlobStore:
        return FilesystemBlobStore(tmp_path, lock_wait_seconds=WAIT_SECONDS)

    @pytest.fixture
    async def registry(self, store: BlobStore, postgresql: str) -> AsyncIterator[LocalRegistry]:
        metadata = PostgresMetadata(patient(postgresql))
        yield LocalRegistry(store, metadata)
        await metadata.close()

    @pytest.fixture
    async def second_registry(self, tmp_path: Path, postgresql: str) -> AsyncIterator[LocalRegistry]:
        metadata = PostgresMetadata(patient(postgresql))
        yield LocalRegistry(FilesystemBlobStore(tmp_path, lock_wait_seconds=WAIT_SECONDS), metadata)
        await metadata.close()


class TestLocalRepositoryInS3(_Local, SharedRepositorySuite):
    @pytest.fixture
    async def store(self, ceph: S3Place, database: Path) -> AsyncIterator[BlobStore]:
        async with _s3_store(ceph, database) as store:
            yield store

    @pytest.fixture
    async def second_registry(self, ceph: S3Place, database: Path) -> AsyncIterator[LocalRegistry]:
        metadata = SqliteMetadata(database)
        async with _s3_store(ceph, database) as store:
            yield LocalRegistry(store, metadata)
        await metadata.close()


@asynccontextmanager
async def _s3_store(place: S3Place, database: Path) -> AsyncIterator[S3BlobStore]:
    """As a process of its own would open it."""
    metadata = SqliteMetadata(database)
    credentials = S3Credentials(place.access_key, place.secret_key)
    options = S3Options(
        place.bucket,
        place.prefix,
        region=place.region,
        endpoint=place.endpoint,
        credentials=credentials,
        claim_wait_seconds=WAIT_SECONDS,
    )
    store = S3BlobStore(options, LeaseClaims(metadata, lambda: int(time.time())))
    yield store
    await store.close()
    await metadata.close()
