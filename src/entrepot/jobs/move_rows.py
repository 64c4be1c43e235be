"""The rows of a move: all tables but blobs, copied while nothing changes, and compared."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field

from entrepot.digest import Digest
from entrepot.errors import Corrupt
from entrepot.jobs.check import Finding
from entrepot.jobs.move_report import Listener, Progress, Step
from entrepot.metadata import tables
from entrepot.metadata.base import Metadata
from entrepot.metadata.tables import MANIFESTS, TABLES, Table, Values
from entrepot.transfer.tasks import Crew, Slots

_ROWS_PER_PAGE = 1000
_BYTES_PER_PAGE = 8 * 1024 * 1024
_PAGES_AT_ONCE = 4


@dataclass(slots=True)
class RowMove:
    """Copies rows from one database to another, which nobody else uses."""

    source: Metadata
    target: Metadata
    listener: Listener
    _copied: dict[str, int] = field(default_factory=dict)
    _damaged: set[tuple[str, str]] = field(default_factory=set)

    async def clear(self) -> None:
        """Remove what an earlier run has copied: it may be out of date."""
        for table in reversed(TABLES):
            while await self.target.write(tables.delete_some(table)):
                pass

    async def copy(self) -> list[Finding]:
        """Copy everything; manifests whose bytes are not what their digest says."""
        damaged: list[Finding] = []
        slots = Slots(_PAGES_AT_ONCE)
        for table in TABLES:
            self._copied[table.name] = 0
            total = await self.source.read_much(tables.count_rows(table.name))
            async with aclosing(_pages(self.source, table)) as pages, Crew() as crew:
                async for rows in pages:
                    if table is MANIFESTS:
                        damaged += await self._find_damage(rows)
                    await slots.acquire()
                    crew.start(self._write(table, rows, total), then=slots.release)
        return damaged

    async def _write(self, table: Table, rows: list[Values], total: int) -> None:
        await self.target.write(tables.write_page(table, rows))
        self._copied[table.name] += len(rows)
        self.listener(Progress(Step.ROWS, self._copied[table.name], total, table=table.name))

    async def compare(self) -> None:
        """Raises Corrupt unless the target has all rows, and the manifests their bytes."""
        for table in TABLES:
            actual = await self.target.read_much(tables.count_rows(table.name))
            if actual != self._copied[table.name]:
                raise _differs(f"expected {self._copied[table.name]} {table.name}, found {actual}")
        await self._compare_manifests()

    async def _compare_manifests(self) -> None:
        checked = 0
        async with aclosing(_pages(self.target, MANIFESTS)) as pages:
            async for rows in pages:
                for finding in await asyncio.to_thread(_damaged, rows):
                    if (finding.location, finding.digest) not in self._damaged:
                        raise _differs(f"manifest {finding.digest} of {finding.location}: {finding.message}")
                checked += len(rows)
                self.listener(Progress(Step.COMPARING, checked, self._copied[MANIFESTS.name], table=MANIFESTS.name))

    async def _find_damage(self, rows: list[Values]) -> list[Finding]:
        found = await asyncio.to_thread(_damaged, rows)
        self._damaged |= {(finding.location, finding.digest) for finding in found}
        return found


async def _pages(metadata: Metadata, table: Table) -> AsyncGenerator[list[Values], None]:
    """All rows; the next page is read while somebody works on the one before."""
    reading = _begin_reading(metadata, table, table.first)
    try:
        while rows := await reading:
            reading = _begin_reading(metadata, table, rows[-1])
            yield rows
    finally:
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)


def _begin_reading(metadata: Metadata, table: Table, after: Values) -> asyncio.Task[list[Values]]:
    read = tables.read_page(table, after, limit=_ROWS_PER_PAGE, most_bytes=_BYTES_PER_PAGE)

    async def run() -> list[Values]:
        return await metadata.read_much(read)

    return asyncio.create_task(run())


def _damaged(rows: list[Values]) -> list[Finding]:
    actual = [(row, Digest.of(row["content"], Digest(row["digest"]).algorithm)) for row in rows]
    return [
        Finding(row["digest"], row["name"], f"the manifest's bytes are those of {found}")
        for row, found in actual
        if found != row["digest"]
    ]


def _differs(what: str) -> Corrupt:
    return Corrupt(f"what arrived is not what was sent: {what}; start the move once more")
