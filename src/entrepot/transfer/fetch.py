"""Fetches one blob into a repository that keeps what came: in one stream, or in parts side by side when it is large."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable
from contextlib import AbstractAsyncContextManager, aclosing
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from entrepot.errors import DigestInvalid, Unsupported
from entrepot.repositories.base import Blob, Fetch
from entrepot.transfer.tasks import Crew, Slots

PART = 32 * 1024 * 1024
_SMALLEST_PART = 256 * 1024
Progress = Callable[[int], None]  # told how many bytes are there
Pieces = Callable[[int, bytes], None]  # told each piece and its place, in no certain order


@runtime_checkable
class Ranged(Protocol):
    """A blob of which parts can be had; see RemoteBlob."""

    @property
    def validator(self) -> str | None:
        """What its bytes came with, e.g. an ETag; None as long as nothing has come."""

    def expect(self, validator: str | None) -> None:
        """What those bytes came with that are there already."""

    def open_span(self, start: int, end: int) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """Raises Unsupported when the registry sends blobs from their beginning only."""


@dataclass(slots=True, kw_only=True)
class BlobFetch:
    """Fills ``fetch`` from ``blob``. ``split_above`` is the size in bytes from which on parts come side by side.

    ``pieces`` sees what comes; ``restarted`` is called when all of that was wrong.
    """

    blob: Blob
    fetch: Fetch
    slots: Slots
    split_above: int
    progress: Progress
    pieces: Pieces
    restarted: Callable[[], None]
    _todo: _Parts = field(default_factory=lambda: _Parts((), PART))
    _done: int = 0
    _ranged: Ranged | None = field(init=False)

    def __post_init__(self) -> None:
        self._ranged = self.blob if isinstance(self.blob, Ranged) else None

    async def run(self) -> Blob:
        """Holding a slot, fetch what is missing and commit. Raises DigestInvalid when the bytes are wrong."""
        was_begun = self.fetch.prefix() > 0 or bool(self.fetch.size and self.fetch.missing() != [(0, self.fetch.size)])
        if was_begun and self._ranged is not None:
            self._ranged.expect(self.fetch.validator)
        await self._fill()
        try:
            return await self.fetch.commit()
        except DigestInvalid:
            if not was_begun:
                raise
        await self.fetch.restart()  # the part from an earlier run may be what was wrong
        self.restarted()
        await self._fill()
        return await self.fetch.commit()

    async def _fill(self) -> None:
        missing = self._missing()
        if self._ranged is not None and self._is_worth_parts(missing):
            try:
                await self._in_parts(self._ranged, missing)
                return
            except Unsupported:
                missing = self._missing()  # all in one stream then, also what is there in between
                missing = [(missing[0][0], missing[-1][1])] if missing else []
        for start, end in missing:
            await self._stream(start, self.blob.open(start=start, end=end))

    def _missing(self) -> list[tuple[int, int]]:
        missing = self.fetch.missing()
        self._done = self.fetch.size - sum(end - start for start, end in missing)
        self.progress(self._done)
        return missing

    def _is_worth_parts(self, missing: list[tuple[int, int]]) -> bool:
        return self.fetch.size >= self.split_above and sum(end - start for start, end in missing) > self._part

    @property
    def _part(self) -> int:
        return min(PART, max(self.split_above // 2, _SMALLEST_PART))

    async def _in_parts(self, blob: Ranged, missing: list[tuple[int, int]]) -> None:
        self._todo = _Parts(missing, self._part)
        async with Crew() as crew:
            await self._worker(blob, crew)

    async def _worker(self, blob: Ranged, crew: Crew) -> None:
        def parts_can_be_had() -> None:
            if self._todo and self.slots.take_spare():
                crew.start(self._worker(blob, crew), then=self.slots.release)

        while self._todo:
            start, end = self._todo.take()
            await self._stream(start, blob.open_span(start, end), parts_can_be_had)

    async def _stream(
        self,
        start: int,
        source: AbstractAsyncContextManager[AsyncIterator[bytes]],
        comes: Callable[[], None] = lambda: None,
    ) -> None:
        async with source as pieces, aclosing(self._counted(start, pieces, comes)) as counted:
            await self.fetch.write(start, counted)

    async def _counted(
        self, position: int, pieces: AsyncIterator[bytes], comes: Callable[[], None]
    ) -> AsyncGenerator[bytes, None]:
        async for piece in pieces:
            await self._note_validator()
            comes()
            self.pieces(position, piece)
            position += len(piece)
            self._done = min(self._done + len(piece), self.fetch.size)
            self.progress(self._done)
            yield piece

    async def _note_validator(self) -> None:
        validator = self._ranged.validator if self._ranged is not None else None
        if validator is not None and validator != self.fetch.validator:
            await self.fetch.set_validator(validator)


class _Parts:
    """What is missing, to be taken part by part. None is made before: a manifest may claim exabytes."""

    def __init__(self, missing: Iterable[tuple[int, int]], size: int) -> None:
        self._missing = deque(missing)
        self._size = size

    def __bool__(self) -> bool:
        return bool(self._missing)

    def take(self) -> tuple[int, int]:
        start, end = self._missing.popleft()
        stop = min(start + self._size, end)
        if stop < end:
            self._missing.appendleft((stop, end))
        return start, stop
