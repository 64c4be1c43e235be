"""Every blob store against the contract of blob stores."""

from __future__ import annotations

from pathlib import Path

import pytest

from entrepot.store.base import BlobStore, StoredBlob
from entrepot.store.cached import CachedBlobStore
from entrepot.store.filesystem import FilesystemBlobStore
from entrepot.store.memory import MemoryBlobStore
from entrepot.testing.store_suite import BlobStoreSuite, PersistentBlobStoreSuite
from entrepot.testing.upload_suite import MIB, Damage


def filesystem(root: Path) -> FilesystemBlobStore:
    return FilesystemBlobStore(root, lock_wait_seconds=0.05)


def cached(store: BlobStore) -> BlobStore:
    return CachedBlobStore(store, capacity=MIB, largest=MIB // 4)


def damage_files(root: Path) -> Damage:
    def damage(blob: StoredBlob, content: bytes | None) -> None:
        path = root / "blobs" / blob.location
        path.unlink()
        if content is not None:
            path.write_bytes(content)

    return damage


def damage_memory(store: MemoryBlobStore) -> Damage:
    def damage(blob: StoredBlob, content: bytes | None) -> None:
        del store.blobs[blob.location]
        if content is not None:
            store.blobs[blob.location] = content

    return damage


class TestMemoryBlobStore(BlobStoreSuite):
    @pytest.fixture
    def store(self) -> MemoryBlobStore:
        return MemoryBlobStore()

    @pytest.fixture
    def damage(self, store: MemoryBlobStore) -> Damage:
        return damage_memory(store)


class TestFilesystemBlobStore(PersistentBlobStoreSuite):
    @pytest.fixture
    def store(self, tmp_path: Path) -> BlobStore:
        return filesystem(tmp_path)

    @pytest.fixture
    def second_store(self, tmp_path: Path) -> BlobStore:
        return filesystem(tmp_path)

    @pytest.fixture
    def damage(self, tmp_path: Path) -> Damage:
        return damage_files(tmp_path)


class TestCachedMemoryBlobStore(BlobStoreSuite):
    @pytest.fixture
    def memory(self) -> MemoryBlobStore:
        return MemoryBlobStore()

    @pytest.fixture
    def store(self, memory: MemoryBlobStore) -> BlobStore:
        return cached(memory)

    @pytest.fixture
    def damage(self, memory: MemoryBlobStore) -> Damage:
        return damage_memory(memory)


class TestCachedFilesystemBlobStore(TestFilesystemBlobStore):
    @pytest.fixture
    def store(self, tmp_path: Path) -> BlobStore:
        return cached(filesystem(tmp_path))

    @pytest.fixture
    def second_store(self, tmp_path: Path) -> BlobStore:
        return cached(filesystem(tmp_path))
