"""Running things side by side: how many at a time, and what becomes of the others when one fails."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any, Self


class Slots:
    """So many may run at a time, first come first served."""

    def __init__(self, count: int) -> None:
        self._free = count
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def acquire(self) -> None:
        if self._free:
            self._free -= 1
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():  # it was ours already
                self.release()
            raise

    def take_spare(self) -> bool:
        """Take one that nobody waits for; False when there is none."""
        if not self._free:
            return False
        self._free -= 1
        return True

    def release(self) -> None:
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1

    @property
    def is_full(self) -> bool:
        return not self._free

    async def __aenter__(self) -> Self:
        await self.acquire()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.release()


class Crew:
    """Tasks that belong together: leaving waits for all of them.

    The first error, of a task or of the block itself, ends the others and comes out alone.
    """

    def __init__(self) -> None:
        self._group = asyncio.TaskGroup()

    def start(self, work: Coroutine[Any, Any, None], *, then: Callable[[], None] | None = None) -> None:
        """``then`` is called when the work has ended, also when that was before it had begun."""
        task = self._group.create_task(work)
        if then is not None:
            task.add_done_callback(lambda _: then())

    async def __aenter__(self) -> Self:
        await self._group.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self._group.__aexit__(kind, error, trace)
        except BaseExceptionGroup as several:
            first = _first(several)
            raise first from first.__cause__


def _first(several: BaseExceptionGroup[BaseException]) -> BaseException:
    first = several.exceptions[0]
    return _first(first) if isinstance(first, BaseExceptionGroup) else first
