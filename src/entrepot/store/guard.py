"""The guard of a folder: held by many at once, or by one alone; see ``BlobStore.guard``.

Two files, both locked with flock, which the kernel lets go when a process dies. ``guard`` is the lock itself.
Everybody passes through ``guard.turn`` on the way to it, and who wants to be alone stays there: otherwise a
registry that is always storing something would never let a deletion in.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from entrepot.store.threads import translate

_FIRST_WAIT_SECONDS = 0.002
_LONGEST_WAIT_SECONDS = 0.05


class FolderGuard:
    """The guard of ``root``, over all processes of this machine. Not to be entered by who is in it already."""

    def __init__(self, root: Path) -> None:
        self._lock = root / "guard"
        self._turn = root / "guard.turn"

    @asynccontextmanager
    async def held(self, *, alone: bool) -> AsyncIterator[None]:
        """Free, it costs some microseconds: too little to leave the event loop for."""
        opened: list[int] = []
        try:
            await self._enter(opened, alone=alone)
            yield
        finally:
            for fd in opened:
                os.close(fd)

    @contextmanager
    def held_alone(self) -> Iterator[None]:
        """The same in a thread, which it blocks. Raises OSError."""
        opened: list[int] = []
        try:
            for path in (self._turn, self._lock):
                opened.append(_open(path))
                fcntl.flock(opened[-1], fcntl.LOCK_EX)
            yield
        finally:
            for fd in opened:
                os.close(fd)

    async def _enter(self, opened: list[int], *, alone: bool) -> None:
        try:
            for path in (self._turn, self._lock):
                opened.append(_open(path))
                await _lock(opened[-1], alone=alone)
            if not alone:
                fcntl.flock(opened[0], fcntl.LOCK_UN)
        except OSError as error:
            raise translate(error) from error


def _open(path: Path) -> int:
    try:
        return os.open(path, os.O_RDONLY | os.O_CREAT, 0o644)
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
        return os.open(path, os.O_RDONLY | os.O_CREAT, 0o644)


async def _lock(fd: int, *, alone: bool) -> None:
    operation = (fcntl.LOCK_EX if alone else fcntl.LOCK_SH) | fcntl.LOCK_NB
    wait = _FIRST_WAIT_SECONDS
    while True:
        try:
            return fcntl.flock(fd, operation)
        except BlockingIOError:
            await asyncio.sleep(wait)
            wait = min(2 * wait, _LONGEST_WAIT_SECONDS)
