"""Removes uploads that nobody has gone on with for long, and bytes of uploads that nobody knows of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import structlog

from entrepot.jobs.runner import Keep
from entrepot.metadata import uploads
from entrepot.metadata.base import Metadata
from entrepot.store.base import BlobStore

log = structlog.get_logger()

_AT_ONCE = 100


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

    async def _remove_old(self, keep: Keep) -> None:
        before = self.now() - self.after_seconds
        while True:
            await keep()
            ids = await self.metadata.read(uploads.expired_uploads(before=before, limit=_AT_ONCE))
            removed = [upload_id for upload_id in ids if await self.store.discard_upload(upload_id)]
            for upload_id in removed:
                await self.metadata.write(uploads.end_upload(upload_id), durable=False)
            if removed:
                log.info("removed expired uploads", count=len(removed))
            if len(removed) < _AT_ONCE:
                return

    async def _remove_unknown(self, keep: Keep) -> None:
        # what a killed process left of a push in one request, which has no row
        async for upload_id in self.store.walk_uploads():
            await keep()
            if not await self.metadata.read(uploads.upload_exists(upload_id)):
                await self.store.discard_upload(upload_id)
