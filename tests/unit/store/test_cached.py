from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from entrepot.errors import Corrupt
from entrepot.store.base import StoredBlob
from entrepot.store.cached import CachedBlobStore
from entrepot.store.memory import MemoryBlobStore
from entrepot.testing.upload_suite import pull, push


class CountingBlobStore(MemoryBlobStore):
    """Counts how often each blob is opened."""

    def __init__(self) -> None:
        super().__init__()
        self.opened: list[StoredBlob] = []

    @asynccontextmanager
    async def open(
        self, blob: StoredBlob, *, start: int = 0, end: int | None = None
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        self.opened.append(blob)
        async with super().open(blob, start=start, end=end) as pieces:
            yield pieces


@pytest.fixture
def memory() -> CountingBlobStore:
    return CountingBlobStore()


@pytest.fixture
def cached(memory: CountingBlobStore) -> CachedBlobStore:
    return CachedBlobStore(memory, capacity=100, largest=40)


async def test_open_small_blob_again_reads_it_once(cached: CachedBlobStore, memory: CountingBlobStore) -> None:
    blob = await push(cached, b"0123456789")
    assert await pull(cached, blob) == b"0123456789"
    assert await pull(cached, blob, start=3, end=5) == b"34"
    assert memory.opened == [blob]


async def test_open_range_of_small_blob_keeps_the_whole(cached: CachedBlobStore, memory: CountingBlobStore) -> None:
    blob = await push(cached, b"0123456789")
    assert await pull(cached, blob, start=8) == b"89"
    assert await pull(cached, blob) == b"0123456789"
    assert memory.opened == [blob]


async def test_open_large_blob_passes_it_through(cached: CachedBlobStore, memory: CountingBlobStore) -> None:
    blob = await push(cached, bytes(41))
    for _ in range(2):
        assert await pull(cached, blob) == bytes(41)
    assert memory.opened == [blob, blob]


async def test_cache_that_is_full_forgets_what_was_used_least_recently(
    cached: CachedBlobStore, memory: CountingBlobStore
) -> None:
    first, second, third = [await push(cached, bytes([number]) * 40) for number in range(3)]
    for blob in (first, second, first, third):
        await pull(cached, blob)
    memory.opened.clear()
    for blob in (first, third, second):
        await pull(cached, blob)
    assert memory.opened == [second]


async def test_open_damaged_blob_is_corrupt_and_not_kept(cached: CachedBlobStore, memory: CountingBlobStore) -> None:
    blob = await push(cached, b"0123456789")
    memory.blobs[blob.location] = b"9876543210"
    with pytest.raises(Corrupt, match=f"the bytes of {blob.digest} are those of sha256:"):
        await pull(cached, blob)
    memory.blobs[blob.location] = b"0123456789"
    assert await pull(cached, blob) == b"0123456789"


async def test_empty_blobs_are_kept_too(cached: CachedBlobStore, memory: CountingBlobStore) -> None:
    blob = await push(cached, b"")
    for _ in range(3):
        assert await pull(cached, blob) == b""
    assert memory.opened == [blob]
