"""What was read by digest a short while ago, for the time that the database cannot be reached.

Names and tags may have moved meanwhile; what a digest stands for cannot. That it may still be seen is trusted for as
long as the operator says, and no longer.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from entrepot.digest import Digest
from entrepot.errors import NotFound, Unavailable
from entrepot.metadata.base import Metadata, Operation
from entrepot.reference import RepositoryName

MOST_BYTES = 16 * 1024 * 1024
_OVERHEAD_BYTES = 500  # of an entry without content
_PATIENCE_SECONDS = 2.0  # with a database that says nothing, by who has another answer

T = TypeVar("T")
Key = tuple[str, RepositoryName, Digest]  # what it is, where it was read, and of what


@dataclass(frozen=True, slots=True)
class _Entry:
    value: Any
    size: int
    until: float


class RecentReads:
    """Answers of ``metadata`` to reads by digest, kept for ``seconds``; the oldest go when there are too many."""

    def __init__(
        self,
        metadata: Metadata,
        seconds: float,
        *,
        most_bytes: int = MOST_BYTES,
        patience_seconds: float = _PATIENCE_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._metadata = metadata
        self._seconds = seconds
        self._most_bytes = most_bytes
        self._patience_seconds = patience_seconds
        self._clock = clock
        self._entries: OrderedDict[Key, _Entry] = OrderedDict()
        self._size = 0

    async def read(self, key: Key, operation: Operation[T], *, size: Callable[[T], int]) -> T:
        """The operation's result, or the one remembered if the database cannot be reached.

        ``size`` is how many bytes a result takes besides its entry. Raises what the operation does, and Unavailable
        when nothing is remembered.
        """
        known = self._recall(key)
        if known is not None and self._metadata.is_out_of_reach:
            return known.value  # type: ignore[no-any-return]  # whoever uses the key knows what is under it
        try:
            async with asyncio.timeout(None if known is None else self._patience_seconds):
                found = await self._metadata.read(operation)
        except NotFound:
            self.forget(key)
            raise
        except (Unavailable, TimeoutError):
            if known is None:
                raise
            return known.value  # type: ignore[no-any-return]
        self._remember(key, found, size(found) + _OVERHEAD_BYTES)
        return found

    def forget(self, key: Key) -> None:
        """It was deleted."""
        entry = self._entries.pop(key, None)
        self._size -= entry.size if entry else 0

    def _recall(self, key: Key) -> _Entry | None:
        entry = self._entries.get(key)
        return entry if entry is not None and self._clock() < entry.until else None

    def _remember(self, key: Key, value: Any, size: int) -> None:
        self.forget(key)
        self._entries[key] = _Entry(value, size, self._clock() + self._seconds)
        self._size += size
        while self._size > self._most_bytes:
            self.forget(next(iter(self._entries)))
