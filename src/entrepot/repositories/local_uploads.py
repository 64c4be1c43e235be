"""The life of an upload in a local repository: begun, appended to, finished or cancelled.

An upload's row says how far it has come, durably; its bytes may be ahead of that. Whoever goes on with it
locks the bytes first and reads the row then, so that nobody works from a row that is out of date.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass

from entrepot.digest import Digest
from entrepot.errors import (
    ClientGone,
    Corrupt,
    DigestInvalid,
    RequestTimeout,
    SizeInvalid,
    Unavailable,
    UploadRangeInvalid,
    UploadTooLarge,
    UploadUnknown,
)
from entrepot.metadata import blobs, locks, uploads
from entrepot.metadata.base import Metadata, Steps, operation
from entrepot.metadata.uploads import UploadFound
from entrepot.reference import RepositoryName
from entrepot.repositories.base import Chunk
from entrepot.store.base import BlobStore, StoredBlob, Upload, UploadState

Now = Callable[[], int]


@dataclass(frozen=True, slots=True)
class LocalUploads:
    """The uploads of one repository; at most ``most`` of them, of ``most_bytes`` each (0: no limit)."""

    name: RepositoryName
    store: BlobStore
    metadata: Metadata
    now: Now
    most: int
    most_bytes: int

    async def begin(self, algorithm: str) -> str:
        upload = await self.store.begin_upload(algorithm=algorithm)
        await upload.close()
        state = UploadState.empty(upload.id, algorithm)
        begin = uploads.begin_upload(self.name, state, algorithm, self.now(), most=self.most)
        await self.metadata.write(begin, durable=False)
        return upload.id

    async def offset(self, upload_id: str) -> int:
        """Who asks wants to go on: a writer that has just lost its peer gets the time to save what came."""
        found = await self._find(upload_id)
        if await self.store.wait_for_writer(upload_id):
            found = await self._find(upload_id)
        return found.state.offset

    async def append(self, upload_id: str, chunk: Chunk) -> int:
        found, upload = await self._take(upload_id)
        try:
            await self._write(found, upload, chunk)
            await self._save(found, upload)
            return upload.size
        finally:
            await upload.close()

    async def finish(self, upload_id: str, digest: Digest, chunk: Chunk) -> StoredBlob:
        found, upload = await self._take(upload_id)
        try:
            await self._write(found, upload, chunk)
            async with self.store.guard():
                stored = await upload.commit(digest)
                in_force = await self.metadata.write(self._record(digest, stored, upload_id))
            await upload.recorded()
            return await self._keep_one(in_force, stored)
        except DigestInvalid:
            # the row first: whoever ends it decides what becomes of the bytes
            if await self.metadata.write(uploads.end_upload(upload_id)):
                await upload.cancel()
            raise
        finally:
            await upload.close()

    async def put(self, digest: Digest, chunk: Chunk) -> StoredBlob:
        """A whole blob in one request; nothing of it is kept when that breaks off."""
        upload = await self.store.begin_upload(algorithm=digest.algorithm)
        try:
            await upload.write(self._limited(upload, chunk))
            async with self.store.guard():
                stored = await upload.commit(digest)
                in_force = await self.metadata.write(blobs.put_blob(self.name, digest, stored, self.now()))
            return await self._keep_one(in_force, stored)
        except BaseException:
            await upload.cancel()
            raise
        finally:
            await upload.close()

    async def _keep_one(self, in_force: StoredBlob, written: StoredBlob) -> StoredBlob:
        """Of the same bytes at two places: those that are recorded, or if they are gone those just written."""
        if in_force.location == written.location:
            return written
        if not await self._is_there(in_force):
            moved = await self.metadata.write(blobs.move_blob(in_force, written))
            in_force = moved or in_force
        if in_force.location != written.location:
            with suppress(Corrupt, Unavailable):  # then they are bytes that nobody names
                await self.store.delete(written.location)
        return in_force

    async def _is_there(self, stored: StoredBlob) -> bool:
        try:
            return await self.store.stat(stored.location) == stored.size
        except Corrupt:
            return False

    async def cancel(self, upload_id: str) -> None:
        _, upload = await self._take(upload_id, wait=False)
        try:
            # the row first: whoever ends it decides what becomes of the bytes
            if not await self.metadata.write(uploads.end_upload(upload_id)):
                raise _ended(self.name, upload_id)
            await upload.cancel()
        finally:
            await upload.close()

    async def _find(self, upload_id: str) -> UploadFound:
        return await self.metadata.read(uploads.find_upload(self.name, upload_id))

    async def _take(self, upload_id: str, *, wait: bool = True) -> tuple[UploadFound, Upload]:
        found = await self._find(upload_id)
        while True:
            upload = await self._resume(found, wait=wait)
            current = await self._find_again(upload_id, upload)
            if current.state == found.state:
                if upload is None:  # closed a moment ago, or by a process that died before it could say so
                    raise UploadUnknown(f"the bytes of upload {upload_id} are gone", name=self.name, upload=upload_id)
                return found, upload
            if upload is not None:
                await upload.close()
            found = current

    async def _resume(self, found: UploadFound, *, wait: bool) -> Upload | None:
        try:
            return await self.store.resume_upload(found.state, wait=wait)
        except UploadUnknown:
            return None

    async def _find_again(self, upload_id: str, upload: Upload | None) -> UploadFound:
        try:
            return await self._find(upload_id)
        except UploadUnknown:
            if upload is not None:  # its state may name what is a blob by now: nothing of that may go
                await upload.close()
                await self.store.discard_upload(UploadState(upload_id))
            raise
        except BaseException:
            if upload is not None:
                await upload.close()
            raise

    async def _write(self, found: UploadFound, upload: Upload, chunk: Chunk) -> None:
        _require_start(found.state, chunk)

        async def checkpoint(state: UploadState) -> None:
            await self.metadata.write(uploads.save_upload(state, found.algorithm, self.now()))

        try:
            await upload.write(self._limited(upload, chunk), checkpoint=checkpoint)
        except (ClientGone, RequestTimeout):
            await self._save(found, upload)
            raise
        except (SizeInvalid, UploadTooLarge):
            await checkpoint(found.state)  # as it was before this chunk
            raise

    async def _limited(self, upload: Upload, chunk: Chunk) -> AsyncIterator[bytes]:
        """The chunk's pieces, as long as they keep to its stated length and to the size limit."""
        total, room = 0, self.most_bytes - upload.size
        async for piece in chunk.pieces:
            total += len(piece)
            if chunk.length is not None and total > chunk.length:
                raise _wrong_length(chunk, f"more than {chunk.length}")
            if self.most_bytes and total > room:
                raise UploadTooLarge(f"a blob may have {self.most_bytes} bytes here", limit=self.most_bytes)
            yield piece
        if chunk.length is not None and total != chunk.length:
            raise _wrong_length(chunk, str(total))

    async def _save(self, found: UploadFound, upload: Upload) -> None:
        state = await upload.save()
        await self.metadata.write(uploads.save_upload(state, found.algorithm, self.now()))
        await upload.recorded()

    @operation
    def _record(self, digest: Digest, stored: StoredBlob, upload_id: str) -> Steps[StoredBlob]:
        yield locks.adding_to(self.name)
        if not (yield from uploads.end_upload(upload_id)):  # of several that end an upload, one does
            raise _ended(self.name, upload_id)
        return (yield from blobs.put_blob(self.name, digest, stored, self.now()))


def _require_start(state: UploadState, chunk: Chunk) -> None:
    if chunk.start is not None and chunk.start != state.offset:
        raise UploadRangeInvalid(
            f"the next chunk must start at byte {state.offset}, this one starts at {chunk.start}",
            offset=state.offset,
            upload=state.id,
            expected=state.offset,
            actual=chunk.start,
        )


def _ended(name: RepositoryName, upload_id: str) -> UploadUnknown:
    return UploadUnknown(f"upload {upload_id} was ended by another request", name=name, upload=upload_id)


def _wrong_length(chunk: Chunk, actual: str) -> SizeInvalid:
    return SizeInvalid(
        f"the chunk was announced with {chunk.length} bytes and has {actual}", expected=chunk.length, actual=actual
    )
