"""Every store that keeps partial downloads, and every guard, against their contracts."""

from __future__ import annotations

from pathlib import Path

import pytest

from entrepot.store.base import BlobStore, PartialStore
from entrepot.store.filesystem import FilesystemBlobStore
from entrepot.store.memory import MemoryBlobStore
from entrepot.testing.guard_suite import GuardSuite
from entrepot.testing.partial_store_suite import PartialStoreSuite, PersistentPartialStoreSuite
from entrepot.testing.partial_suite import PartialSuite
from entrepot.testing.upload_suite import Damage

from .test_store import cached, damage_files, damage_memory


class TestMemoryPartials(PartialSuite, PartialStoreSuite):
    @pytest.fixture
    def store(self) -> PartialStore:
        return MemoryBlobStore()

    @pytest.fixture
    def damage(self, store: MemoryBlobStore) -> Damage:
        return damage_memory(store)


class TestFilesystemPartials(PartialSuite, PersistentPartialStoreSuite):
    @pytest.fixture
    def store(self, tmp_path: Path) -> PartialStore:
        return FilesystemBlobStore(tmp_path)

    @pytest.fixture
    def second_store(self, tmp_path: Path) -> PartialStore:
        return FilesystemBlobStore(tmp_path)

    @pytest.fixture
    def damage(self, tmp_path: Path) -> Damage:
        return damage_files(tmp_path)


class TestMemoryGuard(GuardSuite):
    @pytest.fixture
    def store(self) -> BlobStore:
        return MemoryBlobStore()


class TestFilesystemGuard(GuardSuite):
    @pytest.fixture
    def store(self, tmp_path: Path) -> BlobStore:
        return FilesystemBlobStore(tmp_path)

    @pytest.fixture
    def second_store(self, tmp_path: Path) -> BlobStore:
        return FilesystemBlobStore(tmp_path)


class TestCachedGuard(TestFilesystemGuard):
    @pytest.fixture
    def store(self, tmp_path: Path) -> BlobStore:
        return cached(FilesystemBlobStore(tmp_path))
