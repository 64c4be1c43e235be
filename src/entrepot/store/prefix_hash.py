"""The hash of a file that is being written, as far as it has no gap from its beginning."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence

from entrepot import hashing
from entrepot.errors import Corrupt
from entrepot.store.threads import DiskThreads, wait_out

_READ_PIECE = 1024 * 1024
_READ_AT_ONCE = 8 * _READ_PIECE
_MOST_KEPT = 2 * 1024 * 1024  # bytes in memory that wait while others are hashed


class PrefixHash:
    """Follows the writers in a thread: what they write in order is hashed from memory, all else is read back.

    ``snapshot`` is how far it has come, and the state of each hash there (see ``hashing``).
    """

    def __init__(self, threads: DiskThreads, fd: int, algorithms: set[str], *, position: int = 0) -> None:
        self.snapshot: tuple[int, dict[str, bytes]] = (0, {})
        self.hashes = {name: hashing.begin(name) for name in algorithms}
        self._threads = threads
        self._fd = fd
        self._position = position
        self._end = position  # how far it may go
        self._kept: list[bytes] = []
        self._kept_size = 0
        self._next = position  # what is kept next has to begin here
        self._eased = asyncio.Event()
        self._following: asyncio.Task[None] | None = None

    @classmethod
    def resume(
        cls, threads: DiskThreads, fd: int, algorithms: set[str], position: int, states: Mapping[str, bytes]
    ) -> PrefixHash:
        """Go on from a snapshot; from the beginning if one of its states is of no use here."""
        hashes = {name: hashing.resume(name, states.get(name, b"")) for name in algorithms}
        usable = {name: running for name, running in hashes.items() if running is not None}
        if len(usable) < len(algorithms):
            return cls(threads, fd, algorithms)
        resumed = cls(threads, fd, algorithms, position=position)
        resumed.hashes = usable
        resumed.snapshot = (position, dict(states))
        return resumed

    async def feed(self, start: int, pieces: Sequence[bytes], size: int, *, prefix: int) -> None:
        """These ``size`` bytes are written, and the file has no gap now before ``prefix``.

        Whoever writes in order waits when the hash is far behind: it would have to be waited for in the end.
        """
        is_next = start == self._next and not self._has_failed
        if is_next:
            self._kept.extend(pieces)
            self._kept_size += size
            self._next += size
        self.advance(prefix)
        while is_next and self._kept_size > _MOST_KEPT and self._is_following:
            self._eased.clear()
            await self._eased.wait()

    @property
    def _is_following(self) -> bool:
        return self._following is not None and not self._following.done()

    @property
    def _has_failed(self) -> bool:
        return self._following is not None and self._following.done()

    def advance(self, prefix: int) -> None:
        """The file has no gap now before ``prefix``."""
        self._end = prefix
        if self._following is None and self._position < self._end:
            self._following = asyncio.create_task(self._follow())

    async def _follow(self) -> None:
        try:
            while self._position < self._end:
                self._position = await self._step()
                self.snapshot = (self._position, {name: running.save() for name, running in self.hashes.items()})
                self._eased.set()
            self._following = None
        finally:
            self._eased.set()

    async def _step(self) -> int:
        pieces, size, self._kept, self._kept_size = self._kept, self._kept_size, [], 0
        if pieces:
            await self._threads.run(self._hash, pieces)
            return self._position + size
        self._next = min(self._end, self._position + _READ_AT_ONCE)
        end = self._next  # it moves on when pieces are kept meanwhile
        await self._threads.run(self._read_back, self._position, end)
        return end

    def _hash(self, pieces: Sequence[bytes]) -> None:
        for piece in pieces:
            for running in self.hashes.values():
                running.update(piece)

    def _read_back(self, position: int, end: int) -> None:
        while position < end:
            piece = os.pread(self._fd, min(_READ_PIECE, end - position), position)
            if not piece:
                raise Corrupt("a partial download became shorter while it was written", missing=end - position)
            self._hash([piece])
            position += len(piece)

    async def finish(self) -> None:
        """Return when everything before ``prefix`` is hashed. Raises Unavailable when it cannot be read back."""
        if self._following is not None:
            await asyncio.wait({self._following})
        if self._following is not None:
            self._following.result()

    async def stop(self) -> None:
        """Go no further; nothing reads the file any more then."""
        self._end = 0
        if self._following is not None:
            following = self._following
            try:
                await wait_out({following})
            finally:
                if not following.cancelled():
                    following.exception()  # whoever wants to know asks ``finish``
