"""Blobs that come to a layout from elsewhere, over several runs and side by side in parts."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from entrepot.digest import Digest
from entrepot.repositories.base import Fetch
from entrepot.repositories.fetches import FinishedFetch, RunningFetch
from entrepot.repositories.layout_blob import LayoutBlob
from entrepot.repositories.layout_folder import LayoutFolder
from entrepot.store.base import Partial
from entrepot.store.layout_partials import open_layout_partials
from entrepot.store.threads import DiskThreads


@dataclass(frozen=True, slots=True)
class LayoutFetches:
    """The fetches of one layout."""

    folder: LayoutFolder
    threads: DiskThreads

    @asynccontextmanager
    async def open(self, digest: Digest, size: int) -> AsyncIterator[Fetch]:
        """See ``Fetching.fetch_blob``."""
        await self.threads.run(self.folder.make)
        partials, files = open_layout_partials(self.folder.root, self.folder.uploads, self.threads)
        try:
            if not self._is_there(digest, size):
                async with partials.open(digest, size) as partial:
                    if not self._is_there(digest, size):  # another process may have brought it meanwhile
                        yield RunningFetch(partial, self._commit)
                        return
            yield FinishedFetch(LayoutBlob(digest, size, self.folder, self.threads))
        finally:
            await self.threads.run(files.tidy)

    def _is_there(self, digest: Digest, size: int) -> bool:
        return self.folder.size_of(digest) == size

    async def _commit(self, partial: Partial) -> LayoutBlob:
        await partial.commit()
        return LayoutBlob(partial.digest, partial.size, self.folder, self.threads)
