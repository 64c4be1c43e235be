"""The few file system calls that durability hangs on, in one place, so that tests can make each of them fail."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

_MAX_BUFFERS = 512  # of one writev; IOV_MAX is 1024 on Linux


class Disk:
    """Writes, syncs and renames. A subclass that raises or kills the process is a fault injector."""

    def write(self, fd: int, pieces: Sequence[bytes]) -> None:
        """Write all pieces at the file's current position."""
        for first in range(0, len(pieces), _MAX_BUFFERS):
            _write_all(fd, pieces[first : first + _MAX_BUFFERS])

    def write_at(self, fd: int, pieces: Sequence[bytes], position: int) -> None:
        """Write all pieces from ``position`` on."""
        for first in range(0, len(pieces), _MAX_BUFFERS):
            buffers = pieces[first : first + _MAX_BUFFERS]
            _write_all_at(fd, buffers, position)
            position += sum(map(len, buffers))

    def sync(self, fd: int) -> None:
        """Return when the file's bytes and size are on the disk."""
        os.fsync(fd)

    def rename(self, source: Path, target: Path) -> None:
        """Move a file onto a name, over whatever has that name."""
        source.replace(target)

    def sync_folder(self, folder: Path) -> None:
        """Return when the folder's entries are on the disk."""
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


def _write_all(fd: int, pieces: Sequence[bytes]) -> None:
    total = sum(map(len, pieces))
    written = os.writev(fd, pieces)
    if written < total:
        rest = memoryview(b"".join(pieces))
        while written < total:
            written += os.write(fd, rest[written:])


def _write_all_at(fd: int, pieces: Sequence[bytes], position: int) -> None:
    total = sum(map(len, pieces))
    written = os.pwritev(fd, pieces, position)
    if written < total:
        rest = memoryview(b"".join(pieces))
        while written < total:
            written += os.pwrite(fd, rest[written:], position + written)
