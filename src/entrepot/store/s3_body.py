"""The bytes of a part on their way out: gathered in memory while there is room, else in a temporary file."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import AsyncIterator, Iterable, Sequence
from threading import Lock
from typing import IO, Protocol

from entrepot.store.disk import Disk
from entrepot.store.threads import DiskThreads

MIB = 1024 * 1024
LARGEST_IN_MEMORY = 64 * MIB  # of one part
_READ_PIECE = 256 * 1024
_FEW_PIECES = 64
_SMALL = 64 * 1024
_SENT_PIECE = 64 * 1024  # of a file: each of the parts on their way, and there may be many, has one in memory
_NO_WAIT: int | None = getattr(os, "RWF_NOWAIT", None)


class _Hash(Protocol):
    def update(self, data: bytes) -> None: ...


class MemoryBudget:
    """So many bytes for all uploads of a process; asked from several threads."""

    def __init__(self, size: int) -> None:
        self._free = size
        self._lock = Lock()

    @property
    def free(self) -> int:
        return self._free

    def take(self, size: int) -> bool:
        """False, and nothing is taken, when there are not so many left."""
        with self._lock:
            if size > self._free:
                return False
            self._free -= size
            return True

    def give_back(self, size: int) -> None:
        with self._lock:
            self._free += size


class PartBody:
    """A part in the making. ``add`` blocks and runs in threads, one at a time.

    With ``is_signed`` its checksum is made on the way, which S3's signatures need over plain HTTP.
    """

    def __init__(self, budget: MemoryBudget, threads: DiskThreads, folder: str, *, is_signed: bool) -> None:
        self.size = 0
        self._budget = budget
        self._threads = threads
        self._folder = folder
        self._pieces: list[bytes] = []
        self._held = 0  # bytes of the budget
        self._file: IO[bytes] | None = None
        self._checksum = hashlib.sha256() if is_signed else None

    @property
    def is_in_file(self) -> bool:
        return self._file is not None

    @property
    def is_small(self) -> bool:
        """Whether ``as_bytes`` is quick, and sending it at once as well; streams cost a round trip more."""
        return self._file is None and self.size <= _SMALL

    def add(self, pieces: Sequence[bytes]) -> None:
        """Append. Raises OSError when a temporary file cannot be written."""
        size = sum(map(len, pieces))
        if self._checksum is not None:
            for piece in pieces:
                self._checksum.update(piece)
        if self._file is None and self.size + size <= LARGEST_IN_MEMORY and self._budget.take(size):
            self._held += size
            self._pieces.extend(pieces if len(pieces) <= _FEW_PIECES else [b"".join(pieces)])
        else:
            self._to_file(pieces)
        self.size += size

    def _to_file(self, pieces: Iterable[bytes]) -> None:
        if self._file is None:
            self._file = tempfile.TemporaryFile(buffering=0, dir=self._folder or None)  # noqa: SIM115 (see release)
            pieces = [*self._pieces, *pieces]
        Disk().write(self._file.fileno(), list(pieces))
        self._let_go_of_memory()

    def _let_go_of_memory(self) -> None:
        self._pieces = []
        self._budget.give_back(self._held)
        self._held = 0

    def update(self, hashes: Iterable[_Hash]) -> None:
        """Feed all of it to some hashes; blocks."""
        for piece in self._pieces:
            for running in hashes:
                running.update(piece)
        if self._file is not None:
            for position in range(0, self.size, _READ_PIECE):
                piece = os.pread(self._file.fileno(), _READ_PIECE, position)
                for running in hashes:
                    running.update(piece)

    def as_bytes(self) -> bytes:
        """All of it; only for few bytes."""
        if self._file is not None:
            return os.pread(self._file.fileno(), self.size, 0)
        return b"".join(self._pieces)

    def outgoing(self) -> Outgoing:
        """What the HTTP client is given; once for each attempt."""
        checksum = None if self._checksum is None else self._checksum.hexdigest()
        return Outgoing(self, self.size, checksum)

    async def stream(self) -> AsyncIterator[bytes | bytearray]:
        """All of it, from the beginning."""
        if self._file is None:
            for held in self._pieces:
                yield held
            return
        fd, position = self._file.fileno(), 0
        while position < self.size:
            piece = _read_now(fd, position) or await self._threads.run(os.pread, fd, _READ_PIECE, position)
            position += len(piece)
            yield piece

    def release(self) -> None:
        """Let go of memory and file. Safe to call twice."""
        self._let_go_of_memory()
        if self._file is not None:
            self._file.close()
            self._file = None
        self.size = 0


def _read_now(fd: int, position: int) -> bytes | bytearray:
    """A piece that the kernel has in memory, which takes no thread; else nothing."""
    piece = bytearray(_SENT_PIECE)
    try:
        size = os.preadv(fd, [piece], position, _NO_WAIT) if _NO_WAIT is not None else 0
    except OSError:  # it would have to be fetched, or this file system cannot tell
        size = 0
    del piece[size:]
    return piece


class Outgoing:
    """An asynchronous stream that botocore takes for a file, which it never reads, and aiohttp for a stream."""

    def __init__(self, body: PartBody, size: int, sha256: str | None) -> None:
        self.sha256 = sha256
        self.taken = 0  # pieces that the client has asked for
        self._body = body
        self._size = size

    def __len__(self) -> int:
        return self._size

    def __bool__(self) -> bool:
        return True

    async def __aiter__(self) -> AsyncIterator[bytes | bytearray]:
        async for piece in self._body.stream():
            self.taken += 1
            yield piece
        self.taken += 1

    def read(self, size: int = -1) -> bytes:
        raise RuntimeError(f"{type(self).__name__} is read asynchronously only, not {size} bytes at once")
