"""Removes uploads that nobody has gone on with for long, and bytes of uploads that nobody knows of.

Where a killed writer can leave bytes that no listing shows, they are found by the lease that he has left as well.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import structlog

from entrepot.errors import UploadBusy, UploadUnknown
from entrepot.jobs.runner import Keep
from entrepot.metadata import audit, leases, uploads
from entrepot.metadata.base import Metadata
from entrepot.store.base import UPLOAD_CLAIM, BlobStore, StoredBlob, UploadState

log = structlog.get_logger()

_AT_ONCE = 100
_LAST_LEASE = f"{UPLOAD_CLAIM}g"  # behind all hexadecimal digits, in the order of every language
# A writer whose lease has ended may be waiting for the S3 server or the database still, and have bytes to record.
_SETTLED_SECONDS = 120


@dataclass(frozen=True, slots=True)
class ExpireUploads:
    """The job. Uploads untouched for ``after_seconds`` go; one that is being written right now stays."""

    store: BlobStore
    metadata: Metadata
    now: Callable[[], int]
    after_seconds: int

    async def run(self, keep: Keep) -> None:
        await self._remove_old(keep)
        await self._remove_unknown(keep)
        await self._remove_remains(keep)

    async def _remove_old(self, keep: Keep) -> None:
        before = self.now() - self.after_seconds
        while True:
            await keep()
            states = await self.metadata.read(uploads.expired_uploads(before=before, limit=_AT_ONCE))
            removed = [state.id for state in states if await self._remove(state, before)]
            if removed:
                log.info("removed expired uploads", count=len(removed))
            if len(removed) < _AT_ONCE:
                return

    async def _remove(self, state: UploadState, before: int) -> bool:
        try:
            upload = await self.store.resume_upload(state, wait=False)
        except UploadBusy:
            return False
        except UploadUnknown:
            return await self._end(state, before)
        try:
            ended = await self._end(state, before)  # the row first: whoever ends it decides what becomes of the bytes
            if ended:
                await upload.cancel()
            return ended
        finally:
            await upload.close()

    async def _end(self, state: UploadState, before: int) -> bool:
        end = uploads.end_expired_upload(state.id, before=before)
        return await self.metadata.write(end, durable=False)

    async def _remove_unknown(self, keep: Keep) -> None:
        # what a killed process left of a push in one request, which has no row
        async for state in self.store.walk_uploads():
            await keep()
            if not await self.metadata.read(uploads.upload_exists(state.id)):
                await self.store.discard_upload(state)

    async def _remove_remains(self, keep: Keep) -> None:
        before = self.now() - max(self.after_seconds, _SETTLED_SECONDS)
        last = UPLOAD_CLAIM
        while True:
            ended = leases.ended_leases(last, _LAST_LEASE, before=before, limit=_AT_ONCE)
            names = await self.metadata.read(ended)
            for last in names:
                await keep()
                await self._remove_remains_of(last)
            if len(names) < _AT_ONCE:
                return

    async def _remove_remains_of(self, lease: str) -> None:
        upload_id = lease.removeprefix(UPLOAD_CLAIM)
        if await self.metadata.read(uploads.upload_exists(upload_id)):
            return
        if await self.store.discard_remains(upload_id, self._is_recorded):
            await self.metadata.write(leases.forget_lease(lease, now=self.now()), durable=False)

    async def _is_recorded(self, stored: StoredBlob) -> bool:
        return await self.metadata.read(audit.location_of(stored.digest)) == stored.location
