"""A blob as a local repository hands it out."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

from entrepot.digest import Digest
from entrepot.store.base import BlobStore, StoredBlob


@dataclass(frozen=True, slots=True)
class LocalBlob:
    """A blob in our store."""

    digest: Digest
    stored: StoredBlob
    store: BlobStore

    @property
    def size(self) -> int:
        return self.stored.size

    def open(self, *, start: int = 0, end: int | None = None) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        return self.store.open(self.stored, start=start, end=end)
