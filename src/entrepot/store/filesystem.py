"""Blobs as files below one folder. ``folder.py`` draws the layout; this module adds threads and streams."""

from __future__ import annotations

import asyncio
import os
import uuid
from collections.abc import AsyncIterable, AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from pathlib import Path

from entrepot import hashing
from entrepot.digest import CANONICAL, Digest, require_match
from entrepot.errors import Corrupt, DigestInvalid, Unavailable, UploadBusy
from entrepot.hashing import RunningHash
from entrepot.store.base import Checkpoint, IsRecorded, StoredBlob, UploadState
from entrepot.store.disk import Disk
from entrepot.store.folder import READ_PIECE, BlobFolder, hash_file
from entrepot.store.partials import FilesystemPartial, FilesystemPartials, Often
from entrepot.store.threads import DiskThreads

WRITE_PIECE = 1024 * 1024
READ_AT_ONCE = 8 * 1024 * 1024  # in the pieces of all reads together; slow peers keep two or three pieces each
SMALLEST_READ_PIECE = 128 * 1024
SYNC_EVERY = 32 * 1024 * 1024  # so that a commit has little left to sync, however large the blob
LOCK_WAIT_SECONDS = 10.0
_LOCK_POLL_SECONDS = 0.02
_NO_WAIT: int | None = getattr(os, "RWF_NOWAIT", None)


class FilesystemBlobStore:
    """A BlobStore over a folder, shared by any number of processes of one machine."""

    def __init__(
        self,
        root: Path,
        *,
        disk: Disk | None = None,
        threads: int = 16,
        lock_wait_seconds: float = LOCK_WAIT_SECONDS,
        save_partials: Often | None = None,
    ) -> None:
        self._folder = BlobFolder(root, disk or Disk())
        self._threads = DiskThreads(threads)
        self._lock_wait_seconds = lock_wait_seconds
        self._reads = 0
        self._partials = FilesystemPartials(self._folder, self._threads, save_partials or Often())

    async def find_id(self) -> str | None:
        """The id that ``keep_id`` gave it."""
        return await self._threads.run(self._folder.read_id)

    async def keep_id(self, store_id: str) -> None:
        """Give it an id, instead of what it has."""
        await self._threads.run(self._folder.write_id, store_id)

    async def begin_upload(self, *, algorithm: str = CANONICAL) -> FilesystemUpload:
        hashes = {name: hashing.begin(name) for name in {CANONICAL, algorithm}}
        return FilesystemUpload(self._folder, self._threads, str(uuid.uuid4()), hashes)

    async def resume_upload(self, state: UploadState, *, wait: bool = True) -> FilesystemUpload:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + (self._lock_wait_seconds if wait else 0)
        while (held := await self._threads.run(self._folder.resume_upload, state, undo=_let_go)) is None:
            if loop.time() >= deadline:
                raise UploadBusy(
                    f"upload {state.id} is being written by another request; it holds {state.offset} bytes so far",
                    offset=state.offset,
                    upload=state.id,
                )
            await asyncio.sleep(_LOCK_POLL_SECONDS)
        fd, hashes = held
        return FilesystemUpload(self._folder, self._threads, state.id, hashes, fd=fd, size=state.offset)

    async def wait_for_writer(self, upload_id: str) -> bool:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._lock_wait_seconds
        was_held = False
        while await self._threads.run(self._folder.is_written_to, upload_id):
            was_held = True
            if loop.time() >= deadline:
                break
            await asyncio.sleep(_LOCK_POLL_SECONDS)
        return was_held

    @asynccontextmanager
    async def open(
        self, blob: StoredBlob, *, start: int = 0, end: int | None = None
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        fd = self._folder.open_blob(blob.location)
        self._reads += 1
        try:
            _require_size(fd, blob)
            yield self._read(fd, start, blob.size if end is None else min(end, blob.size))
        finally:
            self._reads -= 1
            os.close(fd)

    def _piece_size(self) -> int:
        return min(READ_PIECE, max(SMALLEST_READ_PIECE, READ_AT_ONCE // max(1, self._reads)))

    async def _read(self, fd: int, position: int, end: int) -> AsyncIterator[bytes]:
        while position < end:
            size = min(self._piece_size(), end - position)
            if _is_in_memory(fd, position, size):  # not worth a thread
                piece = os.pread(fd, size, position)
            else:
                piece = await self._threads.run(os.pread, fd, size, position)
            if not piece:
                raise Corrupt("a stored blob became shorter while it was read", missing=end - position)
            position += len(piece)
            yield piece

    async def stat(self, location: str) -> int:
        return self._folder.stat_blob(location)

    async def verify(self, location: str) -> Digest:
        return await self._threads.run(self._folder.hash_blob, location)

    async def quarantine(self, blob: StoredBlob) -> bool:
        return await self._threads.run(self._folder.quarantine, blob)

    async def delete(self, location: str) -> None:
        await self._threads.run(self._folder.delete_blob, location)

    async def walk(self) -> AsyncIterator[StoredBlob]:
        for folder in await self._threads.run(self._folder.blob_folders):
            for blob in await self._threads.run(self._folder.blobs_in, folder):
                yield blob

    async def redirect_url(self, blob: StoredBlob) -> str | None:  # noqa: ARG002 (all of them are to be had from here)
        return None

    async def walk_uploads(self) -> AsyncIterator[UploadState]:
        for upload_id in await self._threads.run(self._folder.upload_ids):
            yield UploadState(upload_id)

    async def discard_upload(self, state: UploadState) -> bool:
        return await self._threads.run(self._folder.discard_upload, state.id)

    async def discard_remains(self, upload_id: str, is_recorded: IsRecorded) -> bool:  # noqa: ARG002 (blobs are elsewhere)
        return await self._threads.run(self._folder.discard_upload, upload_id)

    def open_partial(self, digest: Digest, size: int) -> AbstractAsyncContextManager[FilesystemPartial]:
        return self._partials.open(digest, size)

    async def find_bytes(self, digest: Digest, size: int) -> StoredBlob | None:
        return await self._threads.run(self._folder.find_blob, digest, size)

    def walk_partials(self) -> AsyncIterator[tuple[Digest, int]]:
        return self._partials.walk()

    async def discard_partial(self, digest: Digest) -> bool:
        return await self._partials.discard(digest)

    def guard(self, *, alone: bool = False) -> AbstractAsyncContextManager[None]:
        return self._folder.guard.held(alone=alone)

    async def check(self) -> None:
        await self._threads.run(self._folder.make, self._folder.blobs)
        await self._threads.run(os.listdir, self._folder.blobs)


class FilesystemUpload:
    """An upload into one file: bytes are gathered, then hashed, written and synced in threads as they come."""

    def __init__(
        self,
        folder: BlobFolder,
        threads: DiskThreads,
        upload_id: str,
        hashes: Mapping[str, RunningHash],
        *,
        fd: int | None = None,
        size: int = 0,
    ) -> None:
        self.id = upload_id
        self._folder = folder
        self._threads = threads
        self._hashes = hashes
        self._fd = fd
        self._written = size
        self._cut_at = size if fd is not None else None  # where the file is to end before more is written
        self._safe = size  # what is synced, so that a saved state may count on it
        self._pending: list[bytes] = []
        self._pending_size = 0
        self._unsynced = 0
        self._syncing: asyncio.Task[None] | None = None

    @property
    def size(self) -> int:
        return self._written + self._pending_size

    async def write(self, chunks: AsyncIterable[bytes], *, checkpoint: Checkpoint | None = None) -> int:
        writing: asyncio.Task[None] | None = None
        try:
            async for chunk in chunks:
                self._pending.append(chunk)
                self._pending_size += len(chunk)
                if self._pending_size > WRITE_PIECE:
                    if writing is not None:
                        await writing
                        await self._sync_behind(checkpoint)
                    writing = asyncio.create_task(self._threads.run(self._flush, self._take_pending()))
            if writing is not None:
                await writing
        except BaseException:
            await self._let_end(writing)
            raise
        return self.size

    async def _let_end(self, writing: asyncio.Task[None] | None) -> None:
        # the checkpoint must not be called after we have raised, and a failed write outweighs a peer that left
        if self._syncing is not None:
            await asyncio.wait({self._syncing})
        if writing is not None:
            await writing

    def _take_pending(self) -> list[bytes]:
        pieces, self._pending = self._pending, []
        self._written += self._pending_size
        self._unsynced += self._pending_size
        self._pending_size = 0
        return pieces

    def _flush(self, pieces: list[bytes]) -> None:
        if self._fd is None:
            self._fd = self._folder.create_upload(self.id)
        if self._cut_at is not None:
            os.ftruncate(self._fd, self._cut_at)
            self._cut_at = None
        self._folder.disk.write(self._fd, pieces)
        for piece in pieces:
            for running in self._hashes.values():
                running.update(piece)

    async def _sync_behind(self, checkpoint: Checkpoint | None) -> None:
        """Sync what is written while more comes in, one sync at a time."""
        if self._unsynced < SYNC_EVERY:
            return
        if self._syncing is not None:
            await self._syncing
        self._unsynced = 0
        self._syncing = asyncio.create_task(self._sync_and_tell(self._state(), checkpoint))

    async def _sync_and_tell(self, state: UploadState, checkpoint: Checkpoint | None) -> None:
        await self._threads.run(self._folder.disk.sync, self._fd)
        self._safe = state.offset
        if checkpoint is not None:
            await checkpoint(state)

    def _state(self) -> UploadState:
        return UploadState(self.id, self._written, {name: h.save() for name, h in self._hashes.items()})

    async def save(self) -> UploadState:
        await self._settle()
        await self._threads.run(self._flush_and_sync, self._take_pending())
        return self._state()

    def _flush_and_sync(self, pieces: list[bytes]) -> int:
        self._flush(pieces)
        assert self._fd is not None  # _flush has just opened it
        self._folder.disk.sync(self._fd)
        self._safe = self._written
        return self._fd

    async def recorded(self) -> None:
        return None

    async def commit(self, digest: Digest) -> StoredBlob:
        try:
            await self._settle()
            return await self._threads.run(self._commit, digest, self._take_pending())
        except DigestInvalid:
            await self.cancel()
            raise
        finally:
            await self.close()

    def _commit(self, digest: Digest, pieces: list[bytes]) -> StoredBlob:
        fd = self._flush_and_sync(pieces)
        self._require(digest, fd)
        canonical = self._hashes[CANONICAL].digest()
        return StoredBlob(canonical, self._written, self._folder.place(self.id, canonical))

    def _require(self, digest: Digest, fd: int) -> None:
        running = self._hashes.get(digest.algorithm)
        actual = running.digest() if running is not None else hash_file(fd, digest.algorithm)
        require_match(digest, actual, self._written)

    async def _settle(self) -> None:
        if self._syncing is not None:
            syncing, self._syncing = self._syncing, None
            await syncing

    async def cancel(self) -> None:
        await self.close()
        await self._threads.run(self._folder.discard_upload, self.id)

    async def close(self) -> None:
        if self._syncing is not None:
            await asyncio.gather(self._syncing, return_exceptions=True)
            self._syncing = None
        if self._fd is not None:
            fd, self._fd = self._fd, None
            if self._cut_at is None and self._written > self._safe:
                with suppress(Unavailable):
                    await self._threads.run(self._folder.close_cut, self.id, fd, self._safe)
            else:
                os.close(fd)


def _let_go(held: tuple[int, object] | None) -> None:
    if held is not None:
        os.close(held[0])


def _require_size(fd: int, blob: StoredBlob) -> None:
    size = os.fstat(fd).st_size
    if size != blob.size:
        raise Corrupt(f"{blob.digest} has {size} bytes instead of {blob.size}", location=blob.location)


def _is_in_memory(fd: int, start: int, size: int) -> bool:
    # The kernel reads ahead in large steps: where it has both ends it has the rest.
    return _has_byte(fd, start + size - 1) and _has_byte(fd, start)


def _has_byte(fd: int, position: int) -> bool:
    if _NO_WAIT is None:
        return False
    try:
        return os.preadv(fd, [bytearray(1)], position, _NO_WAIT) == 1
    except OSError:  # it would have to be fetched, or this file system cannot tell
        return False
