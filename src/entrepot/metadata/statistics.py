"""Counts for the metrics.

Counting looks at every row. What one machine holds is counted whenever somebody asks; what many replicas share may be
too much for that, so a job counts it a page at a time, records the sums, and everybody reads those.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from typing import NamedTuple

from entrepot.metadata.base import Steps, operation
from entrepot.metadata.named import Named

COUNT_BLOBS = Named("statistics.COUNT_BLOBS")
COUNT_MANIFESTS = Named("statistics.COUNT_MANIFESTS")
COUNT_REPOSITORIES = Named("statistics.COUNT_REPOSITORIES")
COUNT_UPLOADS = Named("statistics.COUNT_UPLOADS")

# Of the rows after :last at most :limit: how many, the sum of their sizes, and the last one's id.
_PAGE_OF_BLOBS = """
    SELECT count(*), CAST(COALESCE(sum(size), 0) AS BIGINT), max(id)
    FROM (SELECT id, size FROM blobs WHERE id > :last AND location IS NOT NULL ORDER BY id LIMIT :limit) AS page
"""
_PAGE_OF_MANIFESTS = """
    SELECT count(*), 0, max(id) FROM (SELECT id FROM manifests WHERE id > :last ORDER BY id LIMIT :limit) AS page
"""
_PAGE_OF_REPOSITORIES = """
    SELECT count(*), 0, max(id) FROM (SELECT id FROM repositories WHERE id > :last ORDER BY id LIMIT :limit) AS page
"""
_PAGES = {"blobs": _PAGE_OF_BLOBS, "manifests": _PAGE_OF_MANIFESTS, "repositories": _PAGE_OF_REPOSITORIES}
COUNTED_TABLES = tuple(_PAGES)
PUT_COUNT = """
    INSERT INTO counts (name, value) VALUES (:name, :value) ON CONFLICT (name) DO UPDATE SET value = excluded.value
"""
SELECT_COUNTS = "SELECT name, value FROM counts"


@dataclass(frozen=True, slots=True)
class Statistics:
    """What the registry holds; ``blob_bytes`` counts each blob once, however many repositories see it."""

    blobs: int
    blob_bytes: int
    manifests: int
    repositories: int
    uploads: int


@operation
def count_everything() -> Steps[Statistics]:
    """The statistics as of now."""
    (held,) = yield COUNT_BLOBS, {}
    (manifest_rows,) = yield COUNT_MANIFESTS, {}
    (repository_rows,) = yield COUNT_REPOSITORIES, {}
    (upload_rows,) = yield COUNT_UPLOADS, {}
    blob_bytes = int(held[1])  # a sum is a Decimal in PostgreSQL
    return Statistics(held[0], blob_bytes, manifest_rows[0], repository_rows[0], upload_rows[0])


class CountedPage(NamedTuple):
    """Rows of a table: how many, the sum of their sizes, and where the next page begins, None after the last."""

    rows: int
    bytes: int
    last: int | None


@operation
def count_page(table: str, last: int, *, limit: int) -> Steps[CountedPage]:
    """Count the rows of one of ``COUNTED_TABLES`` with an id greater than ``last``, at most ``limit``."""
    rows = yield _PAGES[table], {"last": last, "limit": limit}
    count, size, end = rows[0]
    return CountedPage(count, size, end if count == limit else None)


@operation
def count_uploads() -> Steps[int]:
    """The uploads that are open: few."""
    rows = yield COUNT_UPLOADS, {}
    count: int = rows[0][0]
    return count


@operation
def record_counts(counted: Statistics) -> Steps[None]:
    """Let everybody see what was counted."""
    yield PUT_COUNT, list(_named(counted))


@operation
def recorded_counts() -> Steps[Statistics]:
    """What was counted last; nothing before the first time, or what a later version counts as well."""
    rows = yield SELECT_COUNTS, {}
    values = dict.fromkeys((each.name for each in fields(Statistics)), 0)
    return Statistics(**values | {name: value for name, value in rows if name in values})


def _named(counted: Statistics) -> Iterator[dict[str, object]]:
    for name, value in asdict(counted).items():
        yield {"name": name, "value": value}
