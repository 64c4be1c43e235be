"""Operations of ``admin check``: everything in order of its id, a piece at a time."""

from __future__ import annotations

from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy import bindparam, exists, select

from entrepot.digest import Digest
from entrepot.metadata.base import Operation
from entrepot.metadata.schema import blobs, edges, links, manifests, repositories
from entrepot.store.base import StoredBlob

SELECT_BLOBS = (
    select(blobs.c.id, blobs.c.digest, blobs.c.size, blobs.c.location)
    .where(blobs.c.id > bindparam("last"))
    .where((blobs.c.location.is_not(None)) | exists().where(links.c.blob_id == blobs.c.id))
    .order_by(blobs.c.id)
    .limit(bindparam("limit"))
)
SELECT_MANIFESTS = (
    select(manifests.c.id, repositories.c.name, manifests.c.digest, manifests.c.content)
    .join_from(manifests, repositories, repositories.c.id == manifests.c.repository_id)
    .where(manifests.c.id > bindparam("last"))
    .order_by(manifests.c.id)
    .limit(bindparam("limit"))
)
_parent = manifests.alias("parent")
_child = manifests.alias("child")
SELECT_ABSENT_CHILDREN = (
    select(edges.c.digest)
    .join_from(edges, _parent, _parent.c.id == edges.c.manifest_id)
    .where(
        edges.c.manifest_id == bindparam("manifest_id"),
        ~exists().where(links.c.repository_id == _parent.c.repository_id, links.c.digest == edges.c.digest),
        ~exists().where(_child.c.repository_id == _parent.c.repository_id, _child.c.digest == edges.c.digest),
    )
)
SELECT_LOCATION = select(blobs.c.location).where(blobs.c.digest == bindparam("digest"))
CLEAR_LOCATION = (
    sa.update(blobs)
    .where(blobs.c.digest == bindparam("lost"), blobs.c.location == bindparam("was_at"))
    .values(location=None)
)
RESTORE_LOCATION = (
    sa.update(blobs)
    .where(blobs.c.digest == bindparam("kept"), blobs.c.location.is_(None))
    .values(location=bindparam("is_at"))
)


class BlobRow(NamedTuple):
    """A blob; without a location its bytes are in quarantine."""

    id: int
    digest: str
    size: int
    location: str | None


class ManifestRow(NamedTuple):
    """A manifest with its bytes and the name of its repository."""

    id: int
    repository: str
    digest: str
    content: bytes


def blobs_after(last: int, *, limit: int) -> Operation[list[BlobRow]]:
    """Blobs with a greater id, except those that are gone and that no repository names."""
    rows = yield SELECT_BLOBS, {"last": last, "limit": limit}
    return [BlobRow(*row) for row in rows]


def manifests_after(last: int, *, limit: int) -> Operation[list[ManifestRow]]:
    """Manifests with a greater id."""
    rows = yield SELECT_MANIFESTS, {"last": last, "limit": limit}
    return [ManifestRow(*row) for row in rows]


def absent_children(manifest_id: int) -> Operation[list[str]]:
    """Digests a manifest names that are neither blob nor manifest of its repository."""
    rows = yield SELECT_ABSENT_CHILDREN, {"manifest_id": manifest_id}
    return [row[0] for row in rows]


def location_of(digest: Digest) -> Operation[str | None]:
    """Where the blob of that canonical digest is kept, if it is."""
    rows = yield SELECT_LOCATION, {"digest": digest}
    return rows[0][0] if rows else None


def mark_quarantined(stored: StoredBlob) -> Operation[None]:
    """The bytes are gone from their location; the blob counts as absent until it is pushed again."""
    yield CLEAR_LOCATION, {"lost": stored.digest, "was_at": stored.location}


def mark_kept(stored: StoredBlob) -> Operation[None]:
    """The bytes were good after all."""
    yield RESTORE_LOCATION, {"kept": stored.digest, "is_at": stored.location}
