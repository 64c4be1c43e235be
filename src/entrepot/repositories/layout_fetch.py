"""Blobs that come to a layout from elsewhere, over several runs and side by side in parts."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from entrepot.digest import Digest
from entrepot.repositories.base import Blob, Fetch
from entrepot.repositories.layout_blob import LayoutBlob
from entrepot.repositories.layout_folder import LayoutFolder
from entrepot.store.layout_partials import open_layout_partials
from entrepot.store.partials import FilesystemPartial
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
                        yield _RunningFetch(partial, LayoutBlob(digest, size, self.folder, self.threads))
                        return
            yield _FinishedFetch(LayoutBlob(digest, size, self.folder, self.threads))
        finally:
            await self.threads.run(files.tidy)

    def _is_there(self, digest: Digest, size: int) -> bool:
        return self.folder.size_of(digest) == size


class _RunningFetch:
    blob: Blob | None = None

    def __init__(self, partial: FilesystemPartial, result: LayoutBlob) -> None:
        self._partial = partial
        self._result = result

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

    async def commit(self) -> LayoutBlob:
        await self._partial.commit()
        return self._result


class _FinishedFetch:
    validator: str | None = None

    def __init__(self, blob: LayoutBlob) -> None:
        self.blob: Blob | None = blob
        self.size = blob.size
        self._blob = blob

    async def set_validator(self, validator: str) -> None:  # noqa: ARG002
        raise self._finished()

    def missing(self) -> list[tuple[int, int]]:
        return []

    def prefix(self) -> int:
        return self.size

    async def write(self, start: int, pieces: AsyncIterable[bytes]) -> int:  # noqa: ARG002
        raise self._finished()

    async def restart(self) -> None:
        raise self._finished()

    async def commit(self) -> LayoutBlob:
        return self._blob

    def _finished(self) -> RuntimeError:
        return RuntimeError(f"{self._blob.digest} is there already, its fetch takes no more bytes")
