"""Blobs that come to a local repository from elsewhere: found if they are here already, else taken up again."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from entrepot.digest import Digest
from entrepot.errors import BlobUnknown, Corrupt, RepositoryUnknown, Unsupported
from entrepot.metadata import blobs
from entrepot.metadata.base import Metadata
from entrepot.reference import RepositoryName
from entrepot.repositories.base import Fetch
from entrepot.repositories.fetches import FinishedFetch, RunningFetch
from entrepot.repositories.local_blob import LocalBlob
from entrepot.store.base import BlobStore, Partial, PartialStore, StoredBlob


@dataclass(frozen=True, slots=True)
class LocalFetches:
    """The fetches of one repository."""

    name: RepositoryName
    store: BlobStore
    metadata: Metadata
    now: Callable[[], int]

    @asynccontextmanager
    async def open(self, digest: Digest, size: int) -> AsyncIterator[Fetch]:
        """See ``Fetching.fetch_blob``. Raises Unsupported when the store keeps no partial downloads."""
        stored = await self._find(digest)
        if stored is None:
            store = self._partial_store()
            async with store.open_partial(digest, size) as partial:
                stored = await self._find(digest) or await self._adopt(store, digest, size)
                if stored is None:
                    yield RunningFetch(partial, self._commit)
                    return
        yield FinishedFetch(LocalBlob(digest, stored, self.store))

    def _partial_store(self) -> PartialStore:
        if isinstance(self.store, PartialStore):
            return self.store
        raise Unsupported(f"{type(self.store).__name__} keeps no partial downloads", store=type(self.store).__name__)

    async def _find(self, digest: Digest) -> StoredBlob | None:
        """A blob that any of our repositories names, now this one too, if its bytes are there."""
        try:
            stored = (await self.metadata.read(blobs.find_blob(self.name, digest))).stored
            return stored if await self._has_bytes(stored) else None
        except (BlobUnknown, RepositoryUnknown):
            elsewhere = await self.metadata.read(blobs.find_blob_anywhere(digest))
        if elsewhere is None or not await self._has_bytes(elsewhere):
            return None
        mounted = await self.metadata.write(blobs.mount_blob(self.name, digest, None, self.now()))
        return mounted.stored if mounted else None

    async def _has_bytes(self, stored: StoredBlob) -> bool:
        try:
            async with self.store.open(stored):
                return True
        except Corrupt:
            return False

    async def _adopt(self, store: PartialStore, digest: Digest, size: int) -> StoredBlob | None:
        """Take over bytes that were committed, and whose record was not written or is gone."""
        async with store.guard():
            stored = await store.find_bytes(digest, size)
            if stored is not None:
                await self._record(digest, stored)
        return stored

    async def _record(self, digest: Digest, stored: StoredBlob) -> None:
        await self.metadata.write(blobs.put_blob(self.name, digest, stored, self.now()))

    async def _commit(self, partial: Partial) -> LocalBlob:
        async with self.store.guard():
            stored = await partial.commit()
            await self._record(partial.digest, stored)
        return LocalBlob(partial.digest, stored, self.store)
