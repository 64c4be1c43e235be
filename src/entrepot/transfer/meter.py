"""Finds a layer's diff ID and uncompressed size while it is fetched, in a thread and without holding the fetch up.

Pieces that come in order are unpacked as they pass. When the thread falls behind, or parts come side by side, what was
not seen is read from the finished blob afterwards: it is still in memory then.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import Executor, Future

from entrepot.layers.diff_id import DiffIdHash, Uncompressed
from entrepot.repositories.base import Blob

MOST_WAITING = 4 * 1024 * 1024


class LayerMeter:
    """The meter of one layer; ``limit`` is how many bytes it may unpack to."""

    def __init__(self, executor: Executor, limit: int) -> None:
        self._executor = executor
        self._limit = limit
        self._hash = DiffIdHash(limit)
        self._seen = 0  # bytes given to the thread, from the beginning
        self._waiting = 0
        self._running: Future[None] | None = None
        self._queue: list[bytes] = []
        self._loop = asyncio.get_running_loop()

    def offer(self, position: int, piece: bytes) -> None:
        """A piece that has come; taken when it is the next one and there is room for it."""
        if position != self._seen or self._waiting > MOST_WAITING:
            return
        self._seen += len(piece)
        self._waiting += len(piece)
        self._queue.append(piece)
        self._go_on()

    def reset(self) -> None:
        """What was offered was wrong; it begins again."""
        self._hash = DiffIdHash(self._limit)
        self._seen = self._waiting = 0
        self._running, self._queue = None, []

    async def finish(self, blob: Blob) -> Uncompressed:
        """The result, when all of ``blob`` has been seen. Raises LayerInvalid, LayerTooLarge."""
        await self._settle()
        if self._seen < blob.size:
            async with blob.open(start=self._seen) as pieces:
                async for piece in pieces:
                    await self._loop.run_in_executor(self._executor, self._hash.update, piece)
        return await self._loop.run_in_executor(self._executor, self._hash.finish)

    def _go_on(self) -> None:
        if self._running is not None or not self._queue:
            return
        batch, self._queue = self._queue, []
        self._running = self._executor.submit(_update, self._hash, batch)
        self._running.add_done_callback(lambda ended: self._loop.call_soon_threadsafe(self._done, ended, batch))

    def _done(self, ended: Future[None], batch: list[bytes]) -> None:
        if self._running is not ended or ended.cancelled():
            return  # of before a reset, or nobody waits for it any more
        self._waiting -= sum(map(len, batch))
        if ended.exception() is None:
            self._running = None
            self._go_on()

    async def _settle(self) -> None:
        while self._running is not None:
            await asyncio.wrap_future(self._running)  # raises what the thread has raised
            await asyncio.sleep(0)


def _update(running: DiffIdHash, batch: list[bytes]) -> None:
    for piece in batch:
        running.update(piece)
