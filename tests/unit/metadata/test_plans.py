"""No statement looks at more rows the more there are: PostgreSQL is asked what it did, SQLite what it would do."""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import asyncpg  # type: ignore[import-untyped]  # it comes without types
import pytest
from bench.rows import LARGE, POPULAR, SUBJECT, TABLES, Size, digest, fill, repository, repository_of

from entrepot.metadata import postgres_texts, texts
from entrepot.metadata.migrate_postgresql import upgrade
from entrepot.metadata.named import Named
from entrepot.metadata.postgres_options import PostgresOptions
from tests.services.postgresql import PostgresqlServer

pytestmark = pytest.mark.timeout(900)  # the first waits for all those rows

SIZE = Size(int(os.environ.get("PLANS_MANIFESTS", "30000")))
PAGE = 100
MOST_ROWS = 5 * PAGE  # that a statement with pages of 100 may look at
MOST_BLOCKS = 5 * PAGE  # of 8 KiB, in indexes and tables

# They look at everything, away from requests: what a job counts, and a search in the middle of names.
NOT_BOUNDED = {
    "listings.SEARCH_REPOSITORIES",
    "statistics.COUNT_BLOBS",
    "statistics.COUNT_MANIFESTS",
    "statistics.COUNT_REPOSITORIES",
    "statistics.COUNT_UPLOADS",
}

MANIFEST = 4711  # an ordinary one
OWNER = repository_of(MANIFEST, SIZE)
LAYER = digest("b", 1 + (MANIFEST * 4 + 1) % SIZE.blobs)
REFERRERS = {"name": repository(LARGE), "subject": digest("m", SUBJECT), "last": "sha256:8", "until": "sha256:81"}
AN_IMAGE = {
    "repository_id": OWNER,
    "digest": digest("m", -1),
    "media_type": "application/json",
    "size": 2,
    "content": b"{}",
    "subject": None,
    "artifact_type": None,
    "referrer": None,
    "now": 1,
}
UPLOAD = {"id": "u", "repository": repository(OWNER), "state": "{}", "now": 1, "most": 10}

VALUES: Mapping[str, Mapping[str, Any]] = {
    "audit.CLEAR_LOCATION": {"lost": digest("b", 5), "was_at": "sha256/5"},
    "audit.RESTORE_LOCATION": {"kept": digest("b", 5), "is_at": "sha256/5"},
    "audit.SELECT_CHILDREN": {"manifest_id": MANIFEST},
    "audit.SELECT_LINK": {"repository_id": OWNER, "digest": digest("b", POPULAR)},
    "audit.SELECT_BLOB_LINK": {"blob_id": POPULAR},
    "audit.SELECT_BLOBS": {"last": 1000, "limit": PAGE},
    "audit.SELECT_LOCATION": {"digest": LAYER},
    "audit.SELECT_MANIFEST": {"repository_id": LARGE, "digest": digest("b", POPULAR)},
    "audit.SELECT_MANIFESTS": {"last": 1000, "limit": PAGE},
    "blobs.DELETE_LINK": {"repository_id": OWNER, "digest": digest("b", POPULAR)},
    "blobs.INSERT_BLOB": {"digest": digest("b", -1), "size": 1, "location": "new", "now": 1},
    "blobs.INSERT_LINK": {"repository_id": OWNER, "digest": digest("b", -1), "blob_id": POPULAR, "now": 1},
    "blobs.MOVE_BLOB": {"moved": LAYER, "was_at": "sha256/5", "is_at": "new"},
    "blobs.SELECT_BLOB": {"digest": LAYER},
    "blobs.SELECT_LINKED": {"name": repository(OWNER), "digest": digest("b", POPULAR)},
    "blobs.SELECT_LINKED_ANYWHERE": {"digest": digest("b", POPULAR)},
    "blobs.SELECT_USER": {"repository_id": OWNER, "digest": digest("b", POPULAR)},
    "leases.DELETE_ENDED": {"name": "job", "now": 9},
    "leases.DELETE_LEASE": {"name": "job", "holder": "me"},
    "leases.END_LEASE": {"lease": "job", "current": "me"},
    "leases.RENEW_LEASE": {"lease": "job", "current": "me", "until": 9},
    "leases.SELECT_ENDED": {"after": "upload:", "until": "upload:g", "before": 9, "limit": PAGE},
    "leases.SELECT_LEASE": {"name": "job"},
    "leases.TAKE_LEASE": {"name": "job", "holder": "me", "now": 1, "too_late": 9, "expires_at": 2},
    "listings.SELECT_REPOSITORIES": {"last": repository(5), "limit": PAGE},
    "listings.SELECT_TAGS": {"repository_id": LARGE, "last": "v5", "limit": PAGE},
    "manifests.DELETE_MANIFEST": {"repository_id": OWNER, "digest": digest("m", MANIFEST)},
    "manifests.DELETE_TAG": {"repository_id": OWNER, "tag": f"v{MANIFEST}"},
    "manifests.INSERT_EDGE": {"manifest_id": MANIFEST, "digest": digest("b", -1)},
    "manifests.INSERT_MANIFEST": AN_IMAGE,
    "manifests.PUT_TAG": {"repository_id": LARGE, "tag": "v10", "manifest_id": 20, "now": 1},
    "manifests.SELECT_BY_DIGEST": {"name": repository(OWNER), "reference": digest("m", MANIFEST)},
    "manifests.SELECT_BY_TAG": {"name": repository(OWNER), "reference": f"v{MANIFEST}"},
    "manifests.SELECT_HEAD_BY_DIGEST": {"name": repository(OWNER), "reference": digest("m", MANIFEST)},
    "manifests.SELECT_HEAD_BY_TAG": {"name": repository(LARGE), "reference": "v10"},
    "manifests.SELECT_LINKED_SIZE": {"repository_id": OWNER, "digest": digest("b", POPULAR)},
    "manifests.SELECT_MANIFEST_SIZE": {"repository_id": LARGE, "digest": digest("m", 10)},
    "manifests.SELECT_REFERRERS": REFERRERS,
    "manifests.SELECT_REFERRERS_OF_TYPE": {**REFERRERS, "artifact_type": "application/b"},
    "manifests.SELECT_REFERRER_SIZES": {**REFERRERS, "limit": PAGE},
    "manifests.SELECT_REFERRER_SIZES_OF_TYPE": {**REFERRERS, "limit": PAGE, "artifact_type": "application/b"},
    "manifests.SELECT_TAG_DIGEST": {"repository_id": LARGE, "tag": "v10"},
    "statements.DELETE_REPOSITORY_IF_EMPTY": {"repository_id": LARGE},
    "statements.INSERT_REPOSITORY": {"name": "new", "now": 1},
    "statements.SELECT_REPOSITORY": {"name": repository(5)},
    "uploads.COUNT_UPLOADS": {"repository": repository(5)},
    "uploads.DELETE_UPLOAD": {"id": "u"},
    "uploads.INSERT_UPLOAD": UPLOAD,
    "uploads.SELECT_EXPIRED": {"before": 1, "limit": PAGE},
    "uploads.SELECT_UPLOAD": {"id": "u", "repository": repository(5)},
    "uploads.SELECT_UPLOAD_EXISTS": {"id": "u"},
    "uploads.UPDATE_UPLOAD": {"upload_id": "u", "new_state": "{}", "now": 1},
}


def test_every_statement_is_looked_at() -> None:
    assert set(VALUES) | NOT_BOUNDED == set(postgres_texts.texts())


# PostgreSQL: what it did


@pytest.fixture(scope="module")
def large_database(postgresql_server: PostgresqlServer) -> Iterator[str]:
    """With generated rows; PLANS_MANIFESTS says how many."""
    name = postgresql_server.new_database()
    url = postgresql_server.url(name)
    asyncio.run(_prepare(url))
    yield url
    postgresql_server.drop_database(name)


async def _prepare(url: str) -> None:
    await upgrade(PostgresOptions(url))
    await fill(url, SIZE)


@pytest.fixture
async def connection(large_database: str) -> AsyncIterator[Any]:
    connection = await asyncpg.connect(large_database)
    yield connection
    await connection.close()


async def explain(connection: Any, text: str, arguments: list[Any]) -> dict[str, Any]:
    """What the statement really did; it is rolled back."""
    transaction = connection.transaction()
    await transaction.start()
    try:
        await connection.execute(f"PREPARE tried AS {text}")
        values = f"({', '.join(map(literal, arguments))})" if arguments else ""
        [[found]] = await connection.fetch(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) EXECUTE tried {values}")
        plan: dict[str, Any] = json.loads(found)[0]["Plan"]
        return plan
    finally:
        await transaction.rollback()
        await connection.execute("DEALLOCATE tried")


def literal(value: Any) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, bytes):
        return f"'\\x{value.hex()}'"
    return str(value) if isinstance(value, int) else f"'{value}'"


def nodes(plan: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield plan
    for child in plan.get("Plans", ()):
        yield from nodes(child)


def looked_at(plan: Mapping[str, Any]) -> float:
    """Rows that its nodes have read, those that did not match included."""
    columns = ("Actual Rows", "Rows Removed by Filter", "Rows Removed by Index Recheck", "Rows Removed by Join Filter")
    return float(sum(node.get(column, 0) * node["Actual Loops"] for node in nodes(plan) for column in columns))


@pytest.mark.parametrize("mode", ["force_custom_plan", "force_generic_plan"])
@pytest.mark.parametrize("name", VALUES)
async def test_statement_looks_at_few_rows_in_postgresql(connection: Any, name: str, mode: str) -> None:
    await connection.execute(f"SET plan_cache_mode = {mode}")
    text = postgres_texts.text_of(Named(name))
    for _ in range(2):  # the first time it may have to look into the catalogue, and tidies up what it finds
        plan = await explain(connection, text.text, text.arguments(VALUES[name]))
    scanned = {node["Relation Name"] for node in nodes(plan) if node["Node Type"] == "Seq Scan"}
    told = json.dumps(plan, indent=1)
    assert not scanned & set(TABLES), told
    assert looked_at(plan) <= MOST_ROWS, told
    assert plan["Shared Hit Blocks"] + plan["Shared Read Blocks"] <= MOST_BLOCKS, told


# SQLite: what it would do


@pytest.mark.parametrize("name", VALUES)
def test_statement_searches_by_an_index_in_sqlite(database: Path, name: str) -> None:
    text, values = texts.with_values(Named(name), VALUES[name])
    with closing(sqlite3.connect(database)) as connection:
        steps = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {text}", values)]
    assert [step for step in steps if step.startswith("SCAN") and step.split()[1] not in ("CONSTANT", "1")] == []
    assert [step for step in steps if "TEMP B-TREE" in step] == []
