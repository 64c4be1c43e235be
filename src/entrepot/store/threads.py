"""Threads for blocking disk work, and the translation of what the operating system raises there."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, TypeVar

from entrepot.errors import StorageFull, Unavailable

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}

T = TypeVar("T")


class DiskThreads:
    """Runs blocking functions away from the event loop."""

    def __init__(self, count: int) -> None:
        self._executor = ThreadPoolExecutor(count, thread_name_prefix="disk")

    async def run(self, function: Callable[..., T], *args: object, undo: Callable[[T], object] | None = None) -> T:
        """Call ``function(*args)`` in a thread. An OSError comes out as StorageFull or Unavailable.

        When the caller is cancelled, once or more often, the function still ends before this does, so that
        whoever cleans up does not close a file under it; then ``undo`` gets the result that nobody else will.
        """
        work = asyncio.get_running_loop().run_in_executor(self._executor, function, *args)
        try:
            return await asyncio.shield(work)
        except asyncio.CancelledError:
            with suppress(asyncio.CancelledError):
                await wait_out({work})
            if work.exception() is None and undo is not None:
                undo(work.result())
            raise
        except OSError as error:
            raise translate(error) from error


async def wait_out(works: Collection[asyncio.Future[Any]]) -> None:
    """Return when all of them have ended, however often the caller is cancelled meanwhile; that is raised then."""
    cancelled: asyncio.CancelledError | None = None
    while pending := [work for work in works if not work.done()]:
        try:
            await asyncio.wait(pending)
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        raise cancelled


def translate(error: OSError) -> Unavailable:
    """What the operating system says, in our words."""
    if is_full(error):
        return StorageFull("no space left to store this; free some space and try again", errno=error.errno)
    return Unavailable(f"the disk failed: {error.strerror}", errno=error.errno)


def is_full(error: OSError) -> bool:
    """Whether there was no space, or no more of it for this user."""
    return error.errno in _FULL
