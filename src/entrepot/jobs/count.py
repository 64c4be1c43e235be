"""Counts what many replicas share, for their metrics: by one of them, a page at a time."""

from __future__ import annotations

from dataclasses import dataclass

from entrepot.jobs.runner import Keep
from entrepot.metadata.base import Metadata
from entrepot.metadata.statistics import (
    COUNTED_TABLES,
    Statistics,
    count_page,
    count_uploads,
    record_counts,
)


@dataclass(frozen=True, slots=True)
class Count:
    """The job. ``page`` rows are looked at in one statement, so that none takes long."""

    metadata: Metadata
    page: int = 100_000

    async def run(self, keep: Keep) -> None:
        rows, sizes = {}, {}
        for table in COUNTED_TABLES:
            rows[table], sizes[table] = await self._count(table, keep)
        uploads = await self.metadata.read(count_uploads())
        counted = Statistics(rows["blobs"], sizes["blobs"], rows["manifests"], rows["repositories"], uploads)
        await self.metadata.write(record_counts(counted), durable=False)

    async def _count(self, table: str, keep: Keep) -> tuple[int, int]:
        rows, size, last = 0, 0, 0
        while True:
            await keep()
            page = await self.metadata.read_much(count_page(table, last, limit=self.page))
            rows, size = rows + page.rows, size + page.bytes
            if page.last is None:
                return rows, size
            last = page.last
