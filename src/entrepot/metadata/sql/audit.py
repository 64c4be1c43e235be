"""The statements of ``metadata/audit.py``."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy import bindparam, select

from entrepot.metadata.schema import blobs, edges, links, manifests, repositories

SELECT_BLOBS = (
    select(blobs.c.id, blobs.c.digest, blobs.c.size, blobs.c.location)
    .where(blobs.c.id > bindparam("last"))
    .order_by(blobs.c.id)
    .limit(bindparam("limit"))
)

# A range of one, in its order: for a blob that is in many repositories PostgreSQL would rather read the table until it
# meets one of them.
SELECT_BLOB_LINK = (
    select(links.c.blob_id)
    .where(links.c.blob_id >= bindparam("blob_id"), links.c.blob_id <= bindparam("blob_id"))
    .order_by(links.c.blob_id)
    .limit(1)
)

SELECT_MANIFESTS = (
    select(manifests.c.id, repositories.c.name, manifests.c.digest, manifests.c.content)
    .join_from(manifests, repositories, repositories.c.id == manifests.c.repository_id)
    .where(manifests.c.id > bindparam("last"))
    .order_by(manifests.c.id)
    .limit(bindparam("limit"))
)

SELECT_CHILDREN = (
    select(manifests.c.repository_id, edges.c.digest)
    .join_from(edges, manifests, manifests.c.id == edges.c.manifest_id)
    .where(edges.c.manifest_id == bindparam("manifest_id"))
)

# One at a time, as in ``manifests.py``: in one statement PostgreSQL may look at all links of a layer, or of a
# repository.
SELECT_LINK = select(links.c.digest).where(
    links.c.repository_id == bindparam("repository_id"), links.c.digest == bindparam("digest")
)

SELECT_MANIFEST = select(manifests.c.digest).where(
    manifests.c.repository_id == bindparam("repository_id"), manifests.c.digest == bindparam("digest")
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
