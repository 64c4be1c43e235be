"""The two kinds of Fetch: into a partial of a store, and of a blob that is here already."""

from __future__ import annotations

from collections.abc import AsyncIterable, Awaitable, Callable

from entrepot.repositories.base import Blob
from entrepot.store.base import Partial


class RunningFetch:
    """A Fetch into ``partial``; ``commit`` ends it and gives the blob."""

    def __init__(self, partial: Partial, commit: Callable[[Partial], Awaitable[Blob]]) -> None:
        self.blob: Blob | None = None
        self._partial = partial
        self._commit = commit

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

    async def commit(self) -> Blob:
        return await self._commit(self._partial)


class FinishedFetch:
    """A Fetch of what is here already; there is nothing to write."""

    def __init__(self, blob: Blob) -> None:
        self.blob: Blob | None = blob
        self.size = blob.size
        self.validator: str | None = None
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

    async def commit(self) -> Blob:
        return self._blob

    def _finished(self) -> RuntimeError:
        return RuntimeError(f"{self._blob.digest} is there already, its fetch takes no more bytes")
