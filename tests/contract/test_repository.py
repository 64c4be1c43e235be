"""Every repository against the contract of repositories."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from entrepot.metadata.sqlite import SqliteMetadata
from entrepot.metadata.statistics import Statistics, count_everything
from entrepot.repositories.local import LocalRegistry
from entrepot.store.base import BlobStore
from entrepot.store.filesystem import FilesystemBlobStore
from entrepot.store.memory import MemoryBlobStore
from entrepot.testing.repository_suite import RepositorySuite, SharedRepositorySuite
from entrepot.testing.repository_upload_suite import RequireEmpty
from entrepot.testing.upload_suite import require_empty as require_empty_store


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
        return FilesystemBlobStore(tmp_path)

    @pytest.fixture
    async def second_registry(self, tmp_path: Path, database: Path) -> AsyncIterator[LocalRegistry]:
        metadata = SqliteMetadata(database)
        yield LocalRegistry(FilesystemBlobStore(tmp_path), metadata)
        await metadata.close()
