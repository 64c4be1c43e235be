"""Small blobs kept in memory. Half of all blob requests of a busy registry are for less than 10 KB."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from entrepot.digest import CANONICAL, Digest
from entrepot.errors import Corrupt
from entrepot.store.base import BlobStore, IsRecorded, StoredBlob, Upload, UploadState


class CachedBlobStore:
    """A BlobStore that remembers what it has read of the blobs up to ``largest`` bytes, ``capacity`` in all.

    What it remembers is what the digest says, so it stays true whatever becomes of the bytes: nothing has to be
    invalidated, and damage that was repaired by another process does not live on in here.
    """

    def __init__(self, store: BlobStore, *, capacity: int, largest: int) -> None:
        self._store = store
        self._capacity = capacity
        self._largest = largest
        self._kept: OrderedDict[str, bytes] = OrderedDict()
        self._size = 0

    @asynccontextmanager
    async def open(
        self, blob: StoredBlob, *, start: int = 0, end: int | None = None
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        if blob.size > self._largest:
            async with self._store.open(blob, start=start, end=end) as pieces:
                yield pieces
            return
        content = self._kept.get(blob.location)
        if content is None:
            content = await self._fetch(blob)
        else:
            self._kept.move_to_end(blob.location)
        yield _once(content if start == 0 and end is None else content[start:end])

    async def _fetch(self, blob: StoredBlob) -> bytes:
        async with self._store.open(blob) as pieces:
            content = b"".join([piece async for piece in pieces])
        actual = Digest.of(content)
        if actual != blob.digest:
            raise Corrupt(f"the bytes of {blob.digest} are those of {actual}", location=blob.location)
        if blob.location not in self._kept:
            self._kept[blob.location] = content
            self._size += len(content)
        while self._size > self._capacity and len(self._kept) > 1:
            self._size -= len(self._kept.popitem(last=False)[1])
        return content

    def _forget(self, location: str) -> None:
        self._size -= len(self._kept.pop(location, b""))

    async def begin_upload(self, *, algorithm: str = CANONICAL) -> Upload:
        return await self._store.begin_upload(algorithm=algorithm)

    async def resume_upload(self, state: UploadState, *, wait: bool = True) -> Upload:
        return await self._store.resume_upload(state, wait=wait)

    async def wait_for_writer(self, upload_id: str) -> bool:
        return await self._store.wait_for_writer(upload_id)

    async def stat(self, location: str) -> int:
        return await self._store.stat(location)

    async def verify(self, location: str) -> Digest:
        return await self._store.verify(location)

    async def quarantine(self, blob: StoredBlob) -> bool:
        self._forget(blob.location)
        return await self._store.quarantine(blob)

    async def delete(self, location: str) -> None:
        self._forget(location)
        await self._store.delete(location)

    def walk(self) -> AsyncIterator[StoredBlob]:
        return self._store.walk()

    async def redirect_url(self, blob: StoredBlob) -> str | None:
        return await self._store.redirect_url(blob)

    def walk_uploads(self) -> AsyncIterator[UploadState]:
        return self._store.walk_uploads()

    async def discard_upload(self, state: UploadState) -> bool:
        return await self._store.discard_upload(state)

    async def discard_remains(self, upload_id: str, is_recorded: IsRecorded) -> bool:
        return await self._store.discard_remains(upload_id, is_recorded)

    def guard(self, *, alone: bool = False) -> AbstractAsyncContextManager[None]:
        return self._store.guard(alone=alone)

    async def check(self) -> None:
        await self._store.check()


async def _once(content: bytes) -> AsyncIterator[bytes]:
    if content:
        yield content
