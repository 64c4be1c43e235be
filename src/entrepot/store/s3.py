"""Blobs in an S3 bucket. ``s3_keys.py`` draws the layout, ``s3_upload.py`` tells how bytes come in."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext

from entrepot.digest import CANONICAL, Digest
from entrepot.errors import Corrupt, UploadBusy, UploadUnknown
from entrepot.store import s3_prepare
from entrepot.store.base import Claims, IsRecorded, StoredBlob, UploadState
from entrepot.store.claims import HeldClaim, wait_until_free
from entrepot.store.s3_bucket import S3Bucket
from entrepot.store.s3_keys import Session, is_record
from entrepot.store.s3_open_uploads import walk_sessions
from entrepot.store.s3_options import S3Options
from entrepot.store.s3_redirects import Redirects
from entrepot.store.s3_remains import remove_remains
from entrepot.store.s3_session import abort
from entrepot.store.s3_upload import S3Upload, busy, claim_name


class S3BlobStore:
    """A BlobStore in a bucket, shared by any number of processes on any number of computers.

    ``claims`` must be shared by all of them. To be used in one event loop, and closed there.
    """

    def __init__(self, options: S3Options, claims: Claims) -> None:
        self._bucket = S3Bucket(options)
        self._claims = claims
        self._redirects = Redirects(self._bucket.client, self._bucket.keys, options)

    async def prepare(self) -> None:
        """Create the bucket if it is not there, and try out whether all rights are.

        Raises Unavailable, ConfigInvalid.
        """
        await s3_prepare.prepare(self._bucket)

    async def find_id(self) -> str | None:
        """The id that ``keep_id`` gave it."""
        return await self._bucket.read_text(self._bucket.keys.store_id)

    async def keep_id(self, store_id: str) -> None:
        """Give it an id, instead of what it has."""
        await self._bucket.put_text(self._bucket.keys.store_id, store_id)

    async def close(self) -> None:
        await self._bucket.client.close()

    async def begin_upload(self, *, algorithm: str = CANONICAL) -> S3Upload:
        state = UploadState.empty(str(uuid.uuid4()), algorithm)
        return S3Upload(self._bucket, self._claims, state, await self._bucket.new_body(), None)

    async def resume_upload(self, state: UploadState, *, wait: bool = True) -> S3Upload:
        _require_whole(state)
        wait_seconds = self._bucket.options.claim_wait_seconds if wait else 0
        claim = await HeldClaim.take(self._claims, claim_name(state.id), wait_seconds=wait_seconds)
        if claim is None:
            raise busy(state)
        try:
            upload = S3Upload(self._bucket, self._claims, state, await self._bucket.new_body(), claim)
        except BaseException:
            await claim.drop()
            raise
        try:
            await upload.hash_again()
        except BaseException:
            await upload.close()
            raise
        return upload

    async def wait_for_writer(self, upload_id: str) -> bool:
        wait_seconds = self._bucket.options.claim_wait_seconds
        return await wait_until_free(self._claims, claim_name(upload_id), wait_seconds=wait_seconds)

    @asynccontextmanager
    async def open(
        self, blob: StoredBlob, *, start: int = 0, end: int | None = None
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        until = blob.size if end is None else min(end, blob.size)
        key = self._bucket.keys.content(blob.location)
        async with self._bucket.open(key, start=start, end=until, size=blob.size) as pieces:
            yield pieces

    async def redirect_url(self, blob: StoredBlob) -> str | None:
        return await self._redirects.url(blob)

    async def stat(self, location: str) -> int:
        size = await self._bucket.size_of(self._bucket.keys.content(location))
        if size is None:
            raise Corrupt(f"the bytes at {location} are missing", location=location)
        return size

    async def verify(self, location: str) -> Digest:
        return (await self._bucket.hash(self._bucket.keys.content(location)))[CANONICAL]

    async def quarantine(self, blob: StoredBlob) -> bool:
        try:
            if await self.verify(blob.location) == blob.digest:
                return False
        except Corrupt:
            pass
        self._redirects.forget(blob.location)
        keys = self._bucket.keys
        # of a blob that came in parts its record goes, and its bytes stay where they are
        await self._bucket.move(keys.record(blob.location), keys.quarantine(blob.location))
        return True

    async def delete(self, location: str) -> None:
        self._redirects.forget(location)
        keys = self._bucket.keys
        is_there = await self._bucket.size_of(keys.content(location)) is not None
        await self._bucket.delete(keys.content(location))
        if is_record(location):  # the bytes first: without a record nobody would find them
            await self._bucket.delete(keys.record(location))
        if not is_there:
            raise Corrupt(f"the bytes at {location} are missing", location=location)

    async def walk(self) -> AsyncIterator[StoredBlob]:
        async for key, size in self._bucket.list_objects(self._bucket.keys.blobs):
            blob = self._bucket.keys.parse_blob(key, size)
            if blob is not None:
                yield blob

    async def walk_uploads(self) -> AsyncIterator[UploadState]:
        async for state in walk_sessions(self._bucket):
            yield state
        keys = self._bucket.keys
        async for key, size in self._bucket.list_objects(keys.tails):
            upload_id = keys.parse_tail(key)
            if upload_id is not None:
                yield UploadState(upload_id, size, tail_location=keys.path(key))

    async def discard_upload(self, state: UploadState) -> bool:
        claim = await HeldClaim.take(self._claims, claim_name(state.id), wait_seconds=0)
        if claim is None:
            return False
        try:
            if state.session:
                await abort(self._bucket, state.id, Session.parse(state.session))
            key = self._bucket.keys.below(state.tail_location)
            if self._bucket.keys.parse_tail(key) == state.id:  # what is below blobs/ may be a blob by now
                await self._bucket.delete(key)
        finally:
            await claim.drop()
        return True

    async def discard_remains(self, upload_id: str, is_recorded: IsRecorded) -> bool:
        claim = await HeldClaim.take(self._claims, claim_name(upload_id), wait_seconds=0)
        if claim is None:
            return False
        try:
            await remove_remains(self._bucket, upload_id, is_recorded, claim)
        except (Corrupt, UploadBusy):  # something went while it was looked at, or the claim
            return False
        finally:
            await claim.drop()
        return True

    def guard(self, *, alone: bool = False) -> AbstractAsyncContextManager[None]:  # noqa: ARG002 (no location is used twice)
        return nullcontext()

    async def check(self) -> None:
        await self._bucket.client.call("head_bucket", doing="find the bucket")


def _require_whole(state: UploadState) -> None:
    known = sum(part.size for part in state.parts) + len(state.tail)
    if known != state.offset and not (state.tail_location and known < state.offset):
        raise UploadUnknown(f"bytes of upload {state.id} are gone", upload=state.id)
