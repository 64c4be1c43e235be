"""The bytes of a move: copied in rounds, verified on their way, each with its row in the new database."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass, field

from entrepot.digest import Digest
from entrepot.errors import Corrupt, DigestInvalid, Unavailable
from entrepot.jobs.check import Finding
from entrepot.jobs.move_report import Listener, Place, Progress, Step
from entrepot.metadata import statistics, tables
from entrepot.metadata.tables import BlobRow
from entrepot.store.base import StoredBlob
from entrepot.transfer.tasks import Crew

_AT_ONCE = 16

_Work = Callable[[BlobRow, BlobRow | None], Awaitable[None]]


@dataclass(slots=True)
class BlobMove:
    """Copies what the new place lacks. With ``keeps_store`` the rows go over as they are, and no bytes."""

    source: Place
    target: Place
    listener: Listener
    keeps_store: bool
    _looks_at_bytes: bool = False
    _damaged: dict[str, Finding] = field(default_factory=dict)
    _under_way: dict[str, int] = field(default_factory=dict)  # bytes that have been read, by digest
    _copied: int = 0
    _copied_bytes: int = 0
    _seen: int = 0
    _seen_bytes: int = 0
    _total: int = 0
    _total_bytes: int = 0

    async def run_round(self, *, look_at_bytes: bool) -> tuple[int, int]:
        """Copy all that is not there yet; how many that were, and their bytes.

        ``look_at_bytes``: whether to make sure that what an earlier run has copied is there still.
        """
        await self._begin_round(look_at_bytes=look_at_bytes)
        if self.keeps_store:
            await self._copy_rows()
        else:
            async with aclosing(self._rows()) as rows:
                await _each(rows, self._copy_if_absent, at_once=_AT_ONCE)
        return self._copied, self._copied_bytes

    async def run_last_round(self) -> list[Finding]:
        """Copy the rest, while nothing changes, and forget what is gone; what could not be copied."""
        await self.run_round(look_at_bytes=False)
        async for row in self._gone():
            await self._remove(row)
        return list(self._damaged.values())

    async def compare(self) -> None:
        """Raises Corrupt unless both databases know the same blobs."""
        async for rows, there in self._pages():
            for row in rows:
                found = there.get(row.digest)
                may_be_lost = row.location is None or row.digest in self._damaged
                if found is None or found.size != row.size or (found.location is None and not may_be_lost):
                    raise Corrupt(f"blob {row.digest} did not arrive as it was: start the move once more", row=row)

    async def _begin_round(self, *, look_at_bytes: bool) -> None:
        counted = await self.source.metadata.read_much(statistics.count_everything())
        self._total, self._total_bytes = counted.blobs, counted.blob_bytes
        self._seen = self._seen_bytes = self._copied = self._copied_bytes = 0
        self._looks_at_bytes = look_at_bytes
        self._damaged.clear()
        self._under_way.clear()

    async def _pages(self) -> AsyncIterator[tuple[list[BlobRow], dict[str, BlobRow]]]:
        """The old rows, and the new ones in the same span of digests."""
        last = ""
        while rows := await self.source.metadata.read_much(tables.blobs_after(last)):
            there = await self.target.metadata.read_much(tables.blobs_between(last, rows[-1].digest))
            yield rows, there
            last = rows[-1].digest

    async def _rows(self) -> AsyncGenerator[tuple[BlobRow, BlobRow | None], None]:
        async for rows, there in self._pages():
            for row in rows:
                yield row, there.get(row.digest)

    async def _copy_rows(self) -> None:
        async for rows, there in self._pages():
            other = [row for row in rows if there.get(row.digest) != row]
            await self.target.metadata.write(tables.put_blobs(other))
            self._copied += len(other)
            self._see(rows)

    async def _gone(self) -> AsyncIterator[BlobRow]:
        """What an earlier round has copied, and somebody has deleted at the source since."""
        last = ""
        while rows := await self.target.metadata.read_much(tables.blobs_after(last)):
            kept = await self.source.metadata.read_much(tables.blobs_between(last, rows[-1].digest))
            for row in rows:
                if row.digest not in kept:
                    yield row
            last = rows[-1].digest

    async def _remove(self, row: BlobRow) -> None:
        await self.target.metadata.write(tables.delete_blobs([row.digest]))
        if row.location is not None and not self.keeps_store:
            await self.target.store.delete(row.location)

    async def _copy_if_absent(self, row: BlobRow, there: BlobRow | None) -> None:
        if there is None or there.location is None or not await self._is_there(there):
            if row.location is None:
                await self._record(row, None)
            else:
                await self._copy(row, row.location)
        self._under_way.pop(row.digest, None)
        self._see([row])

    def _see(self, rows: Sequence[BlobRow]) -> None:
        self._seen += len(rows)
        self._seen_bytes += sum(row.size for row in rows)
        self._tell()

    def _tell(self) -> None:
        size = self._seen_bytes + sum(self._under_way.values())
        self.listener(Progress(Step.BYTES, self._seen, self._total, size, self._total_bytes))

    async def _is_there(self, row: BlobRow) -> bool:
        if not self._looks_at_bytes:
            return True
        try:
            return await self.target.store.stat(str(row.location)) == row.size
        except Corrupt:
            return False

    async def _copy(self, row: BlobRow, location: str) -> None:
        try:
            await self._copy_bytes(row, StoredBlob(Digest(row.digest), row.size, location))
        except (Corrupt, DigestInvalid) as error:
            self._damaged[row.digest] = Finding(row.digest, location, error.message)
            await self._record(row, None)
            return
        self._copied, self._copied_bytes = self._copied + 1, self._copied_bytes + row.size

    async def _copy_bytes(self, row: BlobRow, blob: StoredBlob) -> None:
        upload = await self.target.store.begin_upload()
        try:
            async with self._opened(blob) as pieces:
                await upload.write(pieces)
            async with self.target.store.guard():
                stored = await upload.commit(blob.digest)
                await self._record(row, stored.location)
            await upload.recorded()
        except BaseException:
            await upload.cancel()
            raise
        finally:
            await upload.close()

    @asynccontextmanager
    async def _opened(self, blob: StoredBlob) -> AsyncIterator[AsyncIterator[bytes]]:
        """A disk that cannot read one file any more is damage; one that is gone as a whole is not."""
        async with AsyncExitStack() as stack:
            try:
                pieces = await stack.enter_async_context(self.source.store.open(blob))
            except Unavailable as error:
                raise await self._unreadable(error) from error
            yield self._read(blob, pieces)

    async def _read(self, blob: StoredBlob, pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        try:
            async for piece in pieces:
                yield piece
                self._under_way[blob.digest] = self._under_way.get(blob.digest, 0) + len(piece)
                self._tell()
        except Unavailable as error:
            raise await self._unreadable(error) from error

    async def _unreadable(self, error: Unavailable) -> Corrupt:
        await self.source.store.check()
        return Corrupt(f"its bytes cannot be read: {error.message}")

    async def _record(self, row: BlobRow, location: str | None) -> None:
        await self.target.metadata.write(tables.put_blobs([row._replace(location=location)]))


async def _each(rows: AsyncIterator[tuple[BlobRow, BlobRow | None]], work: _Work, *, at_once: int) -> None:
    turn = asyncio.Lock()

    async def run() -> None:
        while True:
            async with turn:
                item = await anext(rows, None)
            if item is None:
                return
            await work(*item)

    async with Crew() as crew:
        for _ in range(at_once):
            crew.start(run())
