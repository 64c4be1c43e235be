"""Whole tables, read and written a page at a time: what moving to another database takes.

Rows go over by what they mean, not by their ids, so that each database numbers its own: a link names its repository
and its blob by name and digest. Every page can be written twice without harm.

Blobs come with their own operations, because what is moved with them is bytes; open uploads and leases stay behind.
"""

# ruff: noqa: S608  (what is put into the statements is ours)

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from entrepot.metadata.base import Steps, operation

BLOBS_PER_PAGE = 500
_BEYOND = "~"  # comes after every digest
_DELETED_AT_ONCE = 2000

Values = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Table:
    """How the rows of one table are read in the order of ``key``, from behind ``first`` on, and written elsewhere.

    ``weigh``, where rows may be large, selects the bytes of each of the rows that ``select`` would read.
    ``is_held``: whether it stands still while writers are held off; the others are copies of what content says.
    """

    name: str
    select: str
    columns: tuple[str, ...]
    key: tuple[str, ...]
    first: Values
    insert: str
    delete: str
    weigh: str | None = None
    is_held: bool = True


_REPOSITORY = "(SELECT id FROM repositories WHERE name = :name)"
_MANIFEST = """(SELECT m.id FROM manifests m JOIN repositories r ON r.id = m.repository_id
    WHERE r.name = :name AND m.digest = :manifest)"""

REPOSITORIES = Table(
    "repositories",
    select="SELECT name, created_at FROM repositories WHERE name > :name ORDER BY name LIMIT :limit",
    columns=("name", "created_at"),
    key=("name",),
    first={"name": ""},
    insert="INSERT INTO repositories (name, created_at) VALUES (:name, :created_at) ON CONFLICT DO NOTHING",
    delete="DELETE FROM repositories WHERE id IN (SELECT id FROM repositories LIMIT :limit) RETURNING id",
)
LINKS = Table(
    "links",
    select="""
        SELECT l.repository_id, l.digest, r.name, b.digest, l.created_at FROM links l
        JOIN repositories r ON r.id = l.repository_id JOIN blobs b ON b.id = l.blob_id
        WHERE (l.repository_id, l.digest) > (:repository_id, :digest)
        ORDER BY l.repository_id, l.digest LIMIT :limit
    """,
    columns=("repository_id", "digest", "name", "blob", "created_at"),
    key=("repository_id", "digest"),
    first={"repository_id": 0, "digest": ""},
    insert=f"""
        INSERT INTO links (repository_id, digest, blob_id, created_at)
        VALUES ({_REPOSITORY}, :digest, (SELECT id FROM blobs WHERE digest = :blob), :created_at)
        ON CONFLICT DO NOTHING
    """,
    delete="""
        DELETE FROM links WHERE (repository_id, digest) IN (SELECT repository_id, digest FROM links LIMIT :limit)
        RETURNING repository_id
    """,
)
MANIFESTS = Table(
    "manifests",
    select="""
        SELECT m.id, r.name, m.digest, m.media_type, m.size, m.subject, m.artifact_type, m.referrer, m.created_at,
            m.content
        FROM manifests m JOIN repositories r ON r.id = m.repository_id
        WHERE m.id > :id ORDER BY m.id LIMIT :limit
    """,
    columns=(
        *("id", "name", "digest", "media_type", "size", "subject", "artifact_type", "referrer", "created_at"),
        "content",
    ),
    key=("id",),
    first={"id": 0},
    weigh="SELECT length(content) FROM manifests WHERE id > :id ORDER BY id LIMIT :limit",
    insert=f"""
        INSERT INTO manifests
            (repository_id, digest, media_type, size, subject, artifact_type, referrer, created_at, content)
        VALUES ({_REPOSITORY}, :digest, :media_type, :size, :subject, :artifact_type, :referrer, :created_at, :content)
        ON CONFLICT DO NOTHING
    """,
    # its edges, tags and origins go with it
    delete="DELETE FROM manifests WHERE id IN (SELECT id FROM manifests LIMIT :limit) RETURNING id",
)
EDGES = Table(
    "edges",
    select="""
        SELECT e.manifest_id, e.digest, r.name, m.digest FROM edges e
        JOIN manifests m ON m.id = e.manifest_id JOIN repositories r ON r.id = m.repository_id
        WHERE (e.manifest_id, e.digest) > (:manifest_id, :digest)
        ORDER BY e.manifest_id, e.digest LIMIT :limit
    """,
    columns=("manifest_id", "digest", "name", "manifest"),
    key=("manifest_id", "digest"),
    first={"manifest_id": 0, "digest": ""},
    insert=f"INSERT INTO edges (manifest_id, digest) VALUES ({_MANIFEST}, :digest) ON CONFLICT DO NOTHING",
    delete="""
        DELETE FROM edges WHERE (manifest_id, digest) IN (SELECT manifest_id, digest FROM edges LIMIT :limit)
        RETURNING manifest_id
    """,
)
TAGS = Table(
    "tags",
    select="""
        SELECT t.repository_id, t.name, r.name, m.digest, t.updated_at FROM tags t
        JOIN repositories r ON r.id = t.repository_id JOIN manifests m ON m.id = t.manifest_id
        WHERE (t.repository_id, t.name) > (:repository_id, :tag)
        ORDER BY t.repository_id, t.name LIMIT :limit
    """,
    columns=("repository_id", "tag", "name", "manifest", "updated_at"),
    key=("repository_id", "tag"),
    first={"repository_id": 0, "tag": ""},
    insert=f"""
        INSERT INTO tags (repository_id, name, manifest_id, updated_at)
        VALUES ({_REPOSITORY}, :tag, {_MANIFEST}, :updated_at) ON CONFLICT DO NOTHING
    """,
    delete="""
        DELETE FROM tags WHERE (repository_id, name) IN (SELECT repository_id, name FROM tags LIMIT :limit)
        RETURNING name
    """,
)
ORIGINS = Table(
    "origins",
    select="""
        SELECT o.manifest_id, r.name, m.digest, o.at FROM origins o
        JOIN manifests m ON m.id = o.manifest_id JOIN repositories r ON r.id = m.repository_id
        WHERE o.manifest_id > :manifest_id ORDER BY o.manifest_id LIMIT :limit
    """,
    columns=("manifest_id", "name", "manifest", "at"),
    key=("manifest_id",),
    first={"manifest_id": 0},
    insert=f"INSERT INTO origins (manifest_id, at) VALUES ({_MANIFEST}, :at) ON CONFLICT DO NOTHING",
    delete="""
        DELETE FROM origins WHERE manifest_id IN (SELECT manifest_id FROM origins LIMIT :limit) RETURNING manifest_id
    """,
)
LAYERS = Table(
    "layers",
    select="SELECT digest, diff_id, size FROM layers WHERE digest > :digest ORDER BY digest LIMIT :limit",
    columns=("digest", "diff_id", "size"),
    key=("digest",),
    first={"digest": ""},
    insert="INSERT INTO layers (digest, diff_id, size) VALUES (:digest, :diff_id, :size) ON CONFLICT DO NOTHING",
    delete="DELETE FROM layers WHERE digest IN (SELECT digest FROM layers LIMIT :limit) RETURNING digest",
    is_held=False,
)
CONFIGS = Table(
    "configs",
    select="SELECT digest, created, labels FROM configs WHERE digest > :digest ORDER BY digest LIMIT :limit",
    columns=("digest", "created", "labels"),
    key=("digest",),
    first={"digest": ""},
    insert="INSERT INTO configs (digest, created, labels) VALUES (:digest, :created, :labels) ON CONFLICT DO NOTHING",
    delete="DELETE FROM configs WHERE digest IN (SELECT digest FROM configs LIMIT :limit) RETURNING digest",
    is_held=False,
)
PUSHES = Table(
    "pushes",
    select="""
        SELECT repository, digest, location, updated_at FROM pushes
        WHERE (repository, digest) > (:repository, :digest) ORDER BY repository, digest LIMIT :limit
    """,
    columns=("repository", "digest", "location", "updated_at"),
    key=("repository", "digest"),
    first={"repository": "", "digest": ""},
    insert="""
        INSERT INTO pushes (repository, digest, location, updated_at)
        VALUES (:repository, :digest, :location, :updated_at) ON CONFLICT DO NOTHING
    """,
    delete="""
        DELETE FROM pushes WHERE (repository, digest) IN (SELECT repository, digest FROM pushes LIMIT :limit)
        RETURNING digest
    """,
)

# All but blobs, each after those that it refers to.
TABLES = (REPOSITORIES, LINKS, MANIFESTS, EDGES, TAGS, ORIGINS, LAYERS, CONFIGS, PUSHES)


class BlobRow(NamedTuple):
    """A blob as it is recorded; without a location its bytes are in quarantine, or not there yet."""

    digest: str
    size: int
    location: str | None
    created_at: int


_COUNTS = {name: f"SELECT count(*) FROM {name}" for name in ("blobs", "uploads", *(table.name for table in TABLES))}
SELECT_BLOBS = """
    SELECT digest, size, location, created_at FROM blobs WHERE digest > :digest ORDER BY digest LIMIT :limit
"""
SELECT_BLOBS_BETWEEN = """
    SELECT digest, size, location, created_at FROM blobs WHERE digest > :digest AND digest <= :until ORDER BY digest
"""
PUT_BLOB = """
    INSERT INTO blobs (digest, size, location, created_at) VALUES (:digest, :size, :location, :created_at)
    ON CONFLICT (digest) DO UPDATE SET size = excluded.size, location = excluded.location
"""
DELETE_BLOB = "DELETE FROM blobs WHERE digest = :digest"


@operation
def count_rows(table: str) -> Steps[int]:
    """How many rows a table has; it is ``blobs``, ``uploads`` or one of ``TABLES``."""
    rows = yield _COUNTS[table], {}
    count: int = rows[0][0]
    return count


@operation
def read_page(table: Table, after: Values, *, limit: int, most_bytes: int) -> Steps[list[Values]]:
    """The next rows, at most ``limit``, and of large ones as many as have ``most_bytes``, but one at least."""
    behind = {name: after[name] for name in table.key}
    if table.weigh is not None:
        weights = yield table.weigh, {**behind, "limit": limit}
        limit = _fitting([weight for (weight,) in weights], most_bytes)
    rows = yield table.select, {**behind, "limit": limit}
    return [dict(zip(table.columns, row, strict=True)) for row in rows]


@operation
def write_page(table: Table, rows: Sequence[Values]) -> Steps[None]:
    """Record rows that ``read_page`` has read elsewhere; what they refer to has to be there."""
    if rows:
        yield table.insert, rows


@operation
def delete_some(table: Table) -> Steps[bool]:
    """Remove some rows; False when none were left."""
    rows = yield table.delete, {"limit": _DELETED_AT_ONCE}
    return bool(rows)


@operation
def blobs_after(digest: str, *, limit: int = BLOBS_PER_PAGE) -> Steps[list[BlobRow]]:
    """Blobs in the order of their digests."""
    rows = yield SELECT_BLOBS, {"digest": digest, "limit": limit}
    return [BlobRow(*row) for row in rows]


@operation
def blobs_between(digest: str, until: str | None) -> Steps[dict[str, BlobRow]]:
    """Blobs behind ``digest``, up to and with ``until``, or all of them when that is None."""
    rows = yield SELECT_BLOBS_BETWEEN, {"digest": digest, "until": until or _BEYOND}
    return {row[0]: BlobRow(*row) for row in rows}


@operation
def put_blobs(rows: Sequence[BlobRow]) -> Steps[None]:
    """Record blobs; of one that is recorded already, its new place."""
    if rows:
        yield PUT_BLOB, [row._asdict() for row in rows]


@operation
def delete_blobs(digests: Sequence[str]) -> Steps[None]:
    """Forget blobs that nothing refers to."""
    if digests:
        yield DELETE_BLOB, [{"digest": digest} for digest in digests]


def _fitting(weights: Sequence[int], most_bytes: int) -> int:
    total = 0
    for count, weight in enumerate(weights):
        total += weight
        if total > most_bytes and count > 0:
            return count
    return len(weights)
