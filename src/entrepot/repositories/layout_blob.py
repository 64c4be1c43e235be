"""Blobs of an OCI image layout: files."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from entrepot.digest import Digest
from entrepot.errors import Corrupt
from entrepot.repositories.layout_folder import LayoutFolder
from entrepot.store.threads import DiskThreads

_PIECE = 1024 * 1024


@dataclass(frozen=True, slots=True)
class LayoutBlob:
    """A file of a layout."""

    digest: Digest
    size: int
    folder: LayoutFolder
    threads: DiskThreads

    @asynccontextmanager
    async def open(self, *, start: int = 0, end: int | None = None) -> AsyncIterator[AsyncIterator[bytes]]:
        fd = self.folder.open_blob(self.digest)
        if fd is None:
            raise Corrupt(f"blob {self.digest} has just gone from {self.folder.root}", digest=self.digest)
        try:
            yield self._read(fd, start, self.size if end is None else min(end, self.size))
        finally:
            os.close(fd)

    async def _read(self, fd: int, position: int, end: int) -> AsyncIterator[bytes]:
        while position < end:
            piece = await self.threads.run(os.pread, fd, min(_PIECE, end - position), position)
            if not piece:
                raise Corrupt(f"blob {self.digest} became shorter while it was read", digest=self.digest)
            position += len(piece)
            yield piece
