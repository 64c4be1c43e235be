"""Fetches one blob into a repository that keeps what came: in one stream, or in parts side by side when it is large."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, aclosing
from dataclasses import dataclass
from typing import Protocol

from entrepot.errors import DigestInvalid, Unsupported
from entrepot.repositories.base import Blob, Fetch
from entrepot.transfer.tasks import Crew, Slots

PART = 32 * 1024 * 1024
Progress = Callable[[int], None]  # told how many bytes are there
Pieces = Callable[[int, bytes], None]  # told each piece and its place, in no certain order


class Spans(Protocol):
    """A blob of which parts can be had; see RemoteBlob."""

    def open_span(self, start: int, end: int) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """Raises Unsupported when the registry sends blobs from their beginning only."""


@dataclass(slots=True)
class BlobFetch:
    """Fills ``fetch`` from ``blob``. ``split_above`` is the size in bytes from which on parts come side by side."""

    blob: Blob
    fetch: Fetch
    slots: Slots
    split_above: int
    progress: Progress
    pieces: Pieces
    _todo: deque[tuple[int, int]]
    _done: int = 0

    @classmethod
    def of(
        cls, blob: Blob, fetch: Fetch, slots: Slots, *, split_above: int, progress: Progress, pieces: Pieces
    ) -> BlobFetch:
        return cls(blob, fetch, slots, split_above, progress, pieces, deque())

    async def run(self) -> Blob:
        """Holding a slot, fetch what is missing and commit. Raises DigestInvalid when the bytes are wrong."""
        was_begun = self.fetch.prefix() > 0 or bool(self.fetch.size and self.fetch.missing() != [(0, self.fetch.size)])
        await self._fill()
        try:
            return await self.fetch.commit()
        except DigestInvalid:
            if not was_begun:
                raise
        await self.fetch.restart()  # the part from an earlier run may be what was wrong
        await self._fill()
        return await self.fetch.commit()

    async def _fill(self) -> None:
        missing = self.fetch.missing()
        self._done = self.fetch.size - sum(end - start for start, end in missing)
        self.progress(self._done)
        is_large = self.fetch.size >= self.split_above and hasattr(self.blob, "open_span")
        if is_large and sum(end - start for start, end in missing) > PART:
            try:
                await self._in_parts(missing)
                return
            except Unsupported:
                missing = self.fetch.missing()
        for start, end in missing:
            await self._stream(start, self.blob.open(start=start, end=end))

    async def _in_parts(self, missing: list[tuple[int, int]]) -> None:
        self._todo = deque(_parts(missing))
        async with Crew() as crew:
            await self._worker(crew)

    async def _worker(self, crew: Crew) -> None:
        while self._todo:
            start, end = self._todo.popleft()
            spans: Spans = self.blob  # type: ignore[assignment]  # _fill has looked
            await self._stream(start, spans.open_span(start, end), crew)

    async def _helper(self, crew: Crew) -> None:
        try:
            await self._worker(crew)
        finally:
            self.slots.release()

    async def _stream(
        self,
        start: int,
        source: AbstractAsyncContextManager[AsyncIterator[bytes]],
        crew: Crew | None = None,
    ) -> None:
        async with source as pieces, aclosing(self._counted(start, pieces, crew)) as counted:
            await self.fetch.write(start, counted)

    async def _counted(
        self, position: int, pieces: AsyncIterator[bytes], crew: Crew | None
    ) -> AsyncGenerator[bytes, None]:
        async for piece in pieces:
            if crew is not None and self._todo and self.slots.take_spare():  # now we know that parts can be had
                crew.start(self._helper(crew))
            self.pieces(position, piece)
            position += len(piece)
            self._done += len(piece)
            self.progress(self._done)
            yield piece


def _parts(missing: list[tuple[int, int]]) -> list[tuple[int, int]]:
    return [(at, min(at + PART, end)) for start, end in missing for at in range(start, end, PART)]
