"""Blobs that come to a local repository from elsewhere: found if they are here already, else taken up again."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from entrepot.digest import Digest
from entrepot.errors import BlobUnknown, Corrupt, RepositoryUnknown, Unsupported
from entrepot.metadata import blobs
from entrepot.metadata.base import Metadata
from entrepot.reference import RepositoryName
from entrepot.repositories.base import Fetch
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
                    yield RunningFetch(self, partial)
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
                await self.record(digest, stored)
        return stored

    async def record(self, digest: Digest, stored: StoredBlob) -> None:
        await self.metadata.write(blobs.put_blob(self.name, digest, stored, self.now()))


class RunningFetch:
    """A Fetch into a partial of our store."""

    blob = None

    def __init__(self, fetches: LocalFetches, partial: Partial) -> None:
        self._fetches = fetches
        self._partial = partial

    @property
    def size(self) -> int:
        return self._partial.size

    @property
    def validator(self) -> str | None:
        return self._partial.validator

    async def set_validator(self, validator: str) -> None:
        await self._partial.set_validator(validator)

    def missing(self) -> list[tuple[int, int]]:
        return self._partial.missing()

    def prefix(self) -> int:
        return self._partial.prefix()

    async def write(self, start: int, pieces: AsyncIterable[bytes]) -> int:
        return await self._partial.write(start, pieces)

    async def restart(self) -> None:
        await self._partial.restart()

    async def commit(self) -> LocalBlob:
        digest, store = self._partial.digest, self._fetches.store
        async with store.guard():
            stored = await self._partial.commit()
            await self._fetches.record(digest, stored)
        return LocalBlob(digest, stored, store)


class FinishedFetch:
    """A Fetch of what is here already; there is nothing to write."""

    validator = None

    def __init__(self, blob: LocalBlob) -> None:
        self.blob = blob
        self.size = blob.size

    async def set_validator(self, validator: str) -> None:  # noqa: ARG002
        raise _finished(self.blob)

    def missing(self) -> list[tuple[int, int]]:
        return []

    def prefix(self) -> int:
        return self.size

    async def write(self, start: int, pieces: AsyncIterable[bytes]) -> int:  # noqa: ARG002
        raise _finished(self.blob)

    async def restart(self) -> None:
        raise _finished(self.blob)

    async def commit(self) -> LocalBlob:
        return self.blob


def _finished(blob: LocalBlob) -> RuntimeError:
    return RuntimeError(f"{blob.digest} is there already, its fetch takes no more bytes")
