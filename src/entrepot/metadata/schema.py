"""The tables. ``migrations/`` creates them; a test holds the two against each other.

Names are compared byte by byte everywhere (SQLite's default; ``COLLATE "C"`` on PostgreSQL), as ``last``
in listings demands. Times are whole seconds since 1970, UTC.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    text,
)

METADATA = MetaData()

Key = BigInteger().with_variant(Integer, "sqlite")  # SQLite numbers rows by itself only in INTEGER columns
Name = Text().with_variant(Text(collation="C"), "postgresql")


def _column(name: str, kind: Any, *constraints: Any, nullable: bool = False) -> Column[Any]:
    return Column(name, kind, *constraints, nullable=nullable)


# A repository is there as long as it holds a blob or a manifest.
repositories = Table(
    "repositories",
    METADATA,
    Column("id", Key, primary_key=True),
    _column("name", Name),
    _column("created_at", BigInteger),
    Index("repositories_name", "name", unique=True),
)

# Bytes in the store, under their canonical digest. Without a location the bytes are gone (quarantined), and the
# blob counts as absent until somebody pushes it again.
blobs = Table(
    "blobs",
    METADATA,
    Column("id", Key, primary_key=True),
    _column("digest", Name),
    _column("size", BigInteger),
    _column("location", Text, nullable=True),
    _column("created_at", BigInteger),
    Index("blobs_digest", "digest", unique=True),
)

# Which repository may see which blob, under the digest it was pushed with (sha512 names lead to the same blob).
links = Table(
    "links",
    METADATA,
    _column("repository_id", Key, ForeignKey("repositories.id")),
    _column("digest", Name),
    _column("blob_id", Key, ForeignKey("blobs.id")),
    _column("created_at", BigInteger),
    PrimaryKeyConstraint("repository_id", "digest"),
    Index("links_digest", "digest", "repository_id"),
    Index("links_blob", "blob_id"),
    sqlite_with_rowid=False,
)

# Manifests with their exact bytes. ``referrer`` is the descriptor that the referrers list shows, as JSON text.
manifests = Table(
    "manifests",
    METADATA,
    Column("id", Key, primary_key=True),
    _column("repository_id", Key, ForeignKey("repositories.id")),
    _column("digest", Name),
    _column("media_type", Text),
    _column("size", BigInteger),
    _column("subject", Name, nullable=True),
    _column("artifact_type", Name, nullable=True),
    _column("referrer", Text, nullable=True),
    _column("created_at", BigInteger),
    _column("content", LargeBinary),
    Index("manifests_digest", "repository_id", "digest", unique=True),
    Index(
        "manifests_subject",
        "repository_id",
        "subject",
        "digest",
        sqlite_where=text("subject IS NOT NULL"),
        postgresql_where=text("subject IS NOT NULL"),
    ),
)

# What a manifest names: config, layers, children of an index. Not its subject, which it does not keep alive.
edges = Table(
    "edges",
    METADATA,
    _column("manifest_id", Key, ForeignKey("manifests.id", ondelete="CASCADE")),
    _column("digest", Name),
    PrimaryKeyConstraint("manifest_id", "digest"),
    Index("edges_digest", "digest"),
    sqlite_with_rowid=False,
)

tags = Table(
    "tags",
    METADATA,
    _column("repository_id", Key, ForeignKey("repositories.id")),
    _column("name", Name),
    _column("manifest_id", Key, ForeignKey("manifests.id", ondelete="CASCADE")),
    _column("updated_at", BigInteger),
    PrimaryKeyConstraint("repository_id", "name"),
    Index("tags_manifest", "manifest_id"),
    sqlite_with_rowid=False,
)

# Uploads that were begun and not ended; ``state`` is JSON (see ``uploads.py``).
uploads = Table(
    "uploads",
    METADATA,
    _column("id", Text),
    _column("repository", Name),
    _column("state", Text),
    _column("updated_at", BigInteger),
    PrimaryKeyConstraint("id"),
    Index("uploads_repository", "repository"),
    Index("uploads_updated", "updated_at"),
    sqlite_with_rowid=False,
)

# Who may run a job until when. ``fence`` grows with every change of hands.
leases = Table(
    "leases",
    METADATA,
    _column("name", Text),
    _column("holder", Text),
    _column("fence", BigInteger),
    _column("expires_at", BigInteger),
    PrimaryKeyConstraint("name"),
    sqlite_with_rowid=False,
)

# Of the user's image store: what a layer is when it is not compressed. ``size`` in bytes.
layers = Table(
    "layers",
    METADATA,
    _column("digest", Name),
    _column("diff_id", Name),
    _column("size", BigInteger),
    PrimaryKeyConstraint("digest"),
    sqlite_with_rowid=False,
)

# What listing images needs of a config, so that it need not open a file for each: ``created`` as the config has it,
# ``labels`` a JSON object. A copy of what the blob says, made when it is first asked for.
configs = Table(
    "configs",
    METADATA,
    _column("digest", Name),
    _column("created", Text, nullable=True),
    _column("labels", Text),
    PrimaryKeyConstraint("digest"),
    sqlite_with_rowid=False,
)

# Manifests known to be at the registry their repository is named after: they were pulled from it or pushed to it.
origins = Table(
    "origins",
    METADATA,
    _column("manifest_id", Key, ForeignKey("manifests.id", ondelete="CASCADE")),
    _column("at", BigInteger),
    PrimaryKeyConstraint("manifest_id"),
    sqlite_with_rowid=False,
)

# Uploads to other registries that were interrupted: where to go on.
pushes = Table(
    "pushes",
    METADATA,
    _column("repository", Name),
    _column("digest", Name),
    _column("location", Text),
    _column("updated_at", BigInteger),
    PrimaryKeyConstraint("repository", "digest"),
    sqlite_with_rowid=False,
)

# One row: the oldest revision that a program must know to work with these tables. Later ones have only added to them.
compatibility = Table(
    "compatibility",
    METADATA,
    _column("least", Name),
    PrimaryKeyConstraint("least"),
    sqlite_with_rowid=False,
)

# What the metrics show of a database that several replicas share; see ``jobs/count.py``.
counts = Table(
    "counts",
    METADATA,
    _column("name", Name),
    _column("value", BigInteger),
    PrimaryKeyConstraint("name"),
    sqlite_with_rowid=False,
)
