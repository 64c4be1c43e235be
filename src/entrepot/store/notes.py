"""A note beside a file: a few bytes, written over often and never synced, that survive a kill but no power cut.

What a process has written the system keeps when the process is gone; it is lost when the system ends. So a note says in
which run of the system it was written, and is worth nothing in another one. Systems that do not tell their runs apart
have no notes.
"""

from __future__ import annotations

import os
import zlib
from contextlib import suppress
from functools import cache
from pathlib import Path

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")  # random(4): of Linux alone
_MAX_SIZE = 4 * 1024 * 1024


class Note:
    """The note at ``path``. Every method blocks; a disk that fails is no error, only no note."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd: int | None = None

    def write(self, content: bytes) -> None:
        """Write it over the one before; ``content`` has no line break."""
        if not boot_id():
            return
        sealed = seal(content, boot_id())
        with suppress(OSError):
            if self._fd is None:
                self._fd = os.open(self._path, os.O_WRONLY | os.O_CREAT, 0o644)
            os.pwrite(self._fd, sealed, 0)  # what is left of a longer one is behind the line break

    def read(self) -> bytes | None:
        """What was written, None if there is nothing that can be relied on."""
        try:
            with self._path.open("rb") as file:
                line = file.read(_MAX_SIZE).partition(b"\n")[0]
        except OSError:
            return None
        content = line.partition(b" ")[2].partition(b" ")[2]
        return content if boot_id() and seal(content, boot_id()) == line + b"\n" else None

    def remove(self) -> None:
        """There is none any more."""
        self.close()
        with suppress(OSError):
            self._path.unlink(missing_ok=True)

    def close(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


def seal(content: bytes, boot: bytes) -> bytes:
    """``content`` with what tells a note of this run of the system, and one that is whole."""
    return b"%08x %s %s\n" % (zlib.crc32(boot + content), boot, content)


@cache
def boot_id() -> bytes:
    """Names this run of the system; empty where it has no name."""
    try:
        return _BOOT_ID.read_bytes().strip()
    except OSError:
        return b""
