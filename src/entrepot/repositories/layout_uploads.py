"""Uploads into an image layout: files that grow, and are blobs once their digest is right.

How far an upload has come is the size of its file; what it is hashes to is found out at the end, from the file, unless
it came in one go.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from entrepot.digest import Digest, require_algorithm
from entrepot.errors import SizeInvalid, UploadBusy, UploadRangeInvalid
from entrepot.repositories.base import Chunk
from entrepot.repositories.layout_folder import LayoutFolder, StagedBlob
from entrepot.store.threads import DiskThreads

LOCK_WAIT_SECONDS = 10.0
_LOCK_POLL_SECONDS = 0.02
_PIECE = 1024 * 1024


@dataclass(frozen=True, slots=True)
class LayoutUploads:
    """The uploads of one layout."""

    folder: LayoutFolder
    threads: DiskThreads
    lock_wait_seconds: float

    async def begin(self, algorithm: str) -> str:
        require_algorithm(algorithm)
        return await self.threads.run(self.folder.begin_upload)

    async def put(self, digest: Digest, chunk: Chunk) -> int:
        """A whole blob; nothing is kept of it when that breaks off. Returns its size."""
        staged = await self.threads.run(self.folder.stage, undo=StagedBlob.close)
        try:
            staged.hash_with(digest.algorithm)
            await self._write(staged, chunk)
            await self.threads.run(staged.commit, digest)
        except BaseException:
            await self.threads.run(staged.discard)
            raise
        finally:
            staged.close()
        return staged.size

    async def offset(self, upload_id: str) -> int:
        """Who asks wants to go on: a writer that has just broken off gets the time to write what came."""
        try:
            staged = await self._take(upload_id)
        except UploadBusy:
            return self.folder.upload_offset(upload_id)
        staged.close()
        return staged.size

    async def append(self, upload_id: str, chunk: Chunk) -> int:
        staged = await self._take(upload_id)
        try:
            await self._append(staged, chunk)
            return staged.size
        finally:
            staged.close()

    async def finish(self, upload_id: str, digest: Digest, chunk: Chunk) -> int:
        """Returns the blob's size."""
        staged = await self._take(upload_id)
        try:
            staged.hash_with(digest.algorithm)
            await self._append(staged, chunk)
            await self.threads.run(staged.commit, digest)
        finally:
            staged.close()
        return staged.size

    async def cancel(self, upload_id: str) -> None:
        staged = await self.threads.run(self.folder.take, upload_id, undo=StagedBlob.close)
        try:
            await self.threads.run(staged.discard)
        finally:
            staged.close()

    async def _take(self, upload_id: str) -> StagedBlob:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self.lock_wait_seconds
        while True:
            try:
                return await self.threads.run(self.folder.take, upload_id, undo=StagedBlob.close)
            except UploadBusy:
                if loop.time() >= deadline:
                    raise
            await asyncio.sleep(_LOCK_POLL_SECONDS)

    async def _append(self, staged: StagedBlob, chunk: Chunk) -> None:
        before = staged.size
        _require_start(staged, chunk)
        try:
            await self._write(staged, chunk)
        except (SizeInvalid, asyncio.CancelledError):
            await self.threads.run(staged.cut, before)
            raise

    async def _write(self, staged: StagedBlob, chunk: Chunk) -> None:
        """Write all pieces; when they break off, those that came."""
        pieces: list[bytes] = []
        waiting = total = 0
        try:
            async for piece in chunk.pieces:
                total += len(piece)
                if chunk.length is not None and total > chunk.length:
                    raise _wrong_length(chunk, f"more than {chunk.length}")
                pieces.append(piece)
                waiting += len(piece)
                if waiting >= _PIECE:
                    gathered, pieces, waiting = pieces, [], 0
                    await self.threads.run(staged.write_all, gathered)
            if chunk.length is not None and total != chunk.length:
                raise _wrong_length(chunk, str(total))
        finally:
            await self.threads.run(staged.write_all, pieces)


def _require_start(staged: StagedBlob, chunk: Chunk) -> None:
    if chunk.start is not None and chunk.start != staged.size:
        raise UploadRangeInvalid(
            f"the next chunk must start at byte {staged.size}, this one starts at {chunk.start}",
            offset=staged.size,
            upload=staged.id,
        )


def _wrong_length(chunk: Chunk, actual: str) -> SizeInvalid:
    return SizeInvalid(
        f"the chunk was announced with {chunk.length} bytes and has {actual}", expected=chunk.length, actual=actual
    )
