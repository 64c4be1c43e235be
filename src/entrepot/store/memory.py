"""Blobs in memory: for tests and examples. Nothing survives the process."""

from __future__ import annotations

import asyncio
import uuid
from collections import defaultdict
from collections.abc import AsyncIterable, AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from entrepot.digest import CANONICAL, Digest, require_match
from entrepot.errors import Corrupt, DigestInvalid, SizeInvalid, UploadBusy, UploadUnknown
from entrepot.store.base import Checkpoint, IsRecorded, StoredBlob, UploadState
from entrepot.store.spans import Spans

READ_PIECE = 64 * 1024


class MemoryBlobStore:
    """A BlobStore in a dictionary."""

    def __init__(self) -> None:
        self.blobs: dict[str, bytes] = {}
        self.uploads: dict[str, bytearray] = {}
        self.writers: set[str] = set()
        self.partials: dict[Digest, MemoryPartial] = {}
        self._partial_locks: defaultdict[Digest, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._guard = _Guard()

    async def begin_upload(self, *, algorithm: str = CANONICAL) -> MemoryUpload:
        upload_id = str(uuid.uuid4())
        return MemoryUpload(self, upload_id, 0, {CANONICAL, algorithm})

    async def resume_upload(self, state: UploadState, *, wait: bool = True) -> MemoryUpload:  # noqa: ARG002 (never waits)
        if state.id in self.writers:
            raise UploadBusy(f"upload {state.id} is being written", offset=state.offset, upload=state.id)
        if len(self.uploads.get(state.id, b"")) < state.offset:
            raise UploadUnknown(f"bytes of upload {state.id} are gone", upload=state.id)
        return MemoryUpload(self, state.id, state.offset, {CANONICAL, *state.hashes})

    async def wait_for_writer(self, upload_id: str) -> bool:
        return upload_id in self.writers

    @asynccontextmanager
    async def open(
        self, blob: StoredBlob, *, start: int = 0, end: int | None = None
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        content = self._bytes(blob.location)
        if len(content) != blob.size:
            raise Corrupt(f"{blob.digest} has {len(content)} bytes instead of {blob.size}", location=blob.location)
        yield _pieces(content[start:end])

    async def stat(self, location: str) -> int:
        return len(self._bytes(location))

    async def verify(self, location: str) -> Digest:
        return Digest.of(self._bytes(location))

    async def quarantine(self, blob: StoredBlob) -> bool:
        if Digest.of(self.blobs.get(blob.location, b"")) == blob.digest:
            return False
        self.blobs.pop(blob.location, None)
        return True

    async def delete(self, location: str) -> None:
        self._bytes(location)
        del self.blobs[location]

    async def walk(self) -> AsyncIterator[StoredBlob]:
        for location, content in sorted(self.blobs.items()):
            yield StoredBlob(Digest.parse(location), len(content), location)

    async def redirect_url(self, blob: StoredBlob) -> str | None:  # noqa: ARG002 (all of them are to be had from here)
        return None

    async def walk_uploads(self) -> AsyncIterator[UploadState]:
        for upload_id, content in sorted(self.uploads.items()):
            yield UploadState(upload_id, len(content))

    async def discard_upload(self, state: UploadState) -> bool:
        if state.id in self.writers:
            return False
        self.uploads.pop(state.id, None)
        return True

    async def discard_remains(self, upload_id: str, is_recorded: IsRecorded) -> bool:  # noqa: ARG002 (blobs are elsewhere)
        return await self.discard_upload(UploadState(upload_id))

    @asynccontextmanager
    async def open_partial(self, digest: Digest, size: int) -> AsyncIterator[MemoryPartial]:
        async with self._partial_locks[digest]:
            partial = self.partials.get(digest)
            if partial is None or partial.size != size:
                partial = self.partials[digest] = MemoryPartial(self, digest, size)
            try:
                yield partial
            finally:
                if not partial.there:
                    self.partials.pop(digest, None)

    async def find_bytes(self, digest: Digest, size: int) -> StoredBlob | None:
        content = self.blobs.get(digest)
        is_good = content is not None and len(content) == size and Digest.of(content) == digest
        return StoredBlob(digest, size, digest) if is_good else None

    async def walk_partials(self) -> AsyncIterator[tuple[Digest, int]]:
        for digest, partial in sorted(self.partials.items()):
            yield digest, len(partial.content)

    async def discard_partial(self, digest: Digest) -> bool:
        if self._partial_locks[digest].locked():
            return False
        self.partials.pop(digest, None)
        return True

    def guard(self, *, alone: bool = False) -> AbstractAsyncContextManager[None]:
        return self._guard.alone() if alone else self._guard.shared()

    async def check(self) -> None:
        return None

    def _bytes(self, location: str) -> bytes:
        try:
            return self.blobs[location]
        except KeyError:
            raise Corrupt(f"the bytes at {location} are missing", location=location) from None


class MemoryUpload:
    """An upload into a bytearray."""

    def __init__(self, store: MemoryBlobStore, upload_id: str, size: int, algorithms: set[str]) -> None:
        self.id = upload_id
        self._store = store
        self._algorithms = algorithms
        self._size = size
        store.writers.add(upload_id)

    @property
    def size(self) -> int:
        return self._size

    async def write(self, chunks: AsyncIterable[bytes], *, checkpoint: Checkpoint | None = None) -> int:
        async for chunk in chunks:
            self._kept().extend(chunk)
            self._size += len(chunk)
        if checkpoint is not None:
            await checkpoint(await self.save())
        return self.size

    def _kept(self) -> bytearray:
        content = self._store.uploads.setdefault(self.id, bytearray())
        del content[self._size :]
        return content

    async def save(self) -> UploadState:
        self._kept()
        return UploadState(self.id, self.size, dict.fromkeys(self._algorithms, b""))

    async def recorded(self) -> None:
        return None

    async def commit(self, digest: Digest) -> StoredBlob:
        content = bytes(self._kept())
        await self.close()
        self._store.uploads.pop(self.id, None)
        actual = Digest.of(content, digest.algorithm)
        require_match(digest, actual, len(content))
        canonical = Digest.of(content)
        self._store.blobs[canonical] = content
        return StoredBlob(canonical, len(content), canonical)

    async def cancel(self) -> None:
        await self.close()
        self._store.uploads.pop(self.id, None)

    async def close(self) -> None:
        self._store.writers.discard(self.id)


class MemoryPartial:
    """A partial in a bytearray."""

    def __init__(self, store: MemoryBlobStore, digest: Digest, size: int) -> None:
        self.digest = digest
        self.size = size
        self.validator: str | None = None
        self.content = bytearray(size)
        self.there = Spans()
        self._store = store

    async def set_validator(self, validator: str) -> None:
        self.validator = validator

    def missing(self) -> list[tuple[int, int]]:
        return self.there.missing(0, self.size)

    def prefix(self) -> int:
        return self.there.prefix()

    async def write(self, start: int, pieces: AsyncIterable[bytes]) -> int:
        if not 0 <= start <= self.size:
            raise self._wrong_size(start)
        position = start
        async for piece in pieces:
            end = min(position + len(piece), self.size)
            for first, last in self.there.missing(position, end):
                self.content[first:last] = piece[first - position : last - position]
            self.there.add(position, end)
            if position + len(piece) > self.size:
                raise self._wrong_size(position + len(piece))
            position = end
        return position

    def _wrong_size(self, actual: int) -> SizeInvalid:
        return SizeInvalid(
            f"{self.digest} has {self.size} bytes, expected; got {actual}", expected=self.size, actual=actual
        )

    async def restart(self) -> None:
        self.there = Spans()
        self.validator = None

    async def commit(self) -> StoredBlob:
        if self.missing():
            raise self._wrong_size(self.size - sum(end - start for start, end in self.missing()))
        content = bytes(self.content)
        try:
            require_match(self.digest, Digest.of(content, self.digest.algorithm), self.size)
        except DigestInvalid:
            await self.restart()
            raise
        canonical = Digest.of(content)
        self._store.blobs[canonical] = content
        self._store.partials.pop(self.digest, None)
        return StoredBlob(canonical, self.size, canonical)


class _Guard:
    """Shared by many, or held alone by one, before whom no others get in."""

    def __init__(self) -> None:
        self._turn = asyncio.Lock()
        self._free = asyncio.Event()
        self._free.set()
        self._holders = 0

    @asynccontextmanager
    async def shared(self) -> AsyncIterator[None]:
        async with self._turn:
            self._holders += 1
            self._free.clear()
        try:
            yield
        finally:
            self._holders -= 1
            if not self._holders:
                self._free.set()

    @asynccontextmanager
    async def alone(self) -> AsyncIterator[None]:
        async with self._turn:
            await self._free.wait()
            yield


async def _pieces(content: bytes) -> AsyncIterator[bytes]:
    for first in range(0, len(content), READ_PIECE):
        yield content[first : first + READ_PIECE]
