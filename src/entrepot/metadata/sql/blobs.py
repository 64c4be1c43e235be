"""The statements of ``metadata/blobs.py``."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy import bindparam, func, select

from entrepot.metadata.schema import blobs, edges, links, manifests, repositories
from entrepot.metadata.sql.statements import upsert

_BLOB = (blobs.c.id, blobs.c.digest, blobs.c.size, blobs.c.location)

SELECT_LINKED = (
    select(*_BLOB)
    .join_from(repositories, links, links.c.repository_id == repositories.c.id)
    .join(blobs, blobs.c.id == links.c.blob_id)
    .where(
        repositories.c.name == bindparam("name"),
        links.c.digest == bindparam("digest"),
        blobs.c.location.is_not(None),
    )
)

SELECT_LINKED_ANYWHERE = (
    select(*_BLOB)
    .join_from(links, blobs, blobs.c.id == links.c.blob_id)
    .where(links.c.digest == bindparam("digest"), blobs.c.location.is_not(None))
    .order_by(links.c.repository_id)  # the order of the index, so that none of many is searched for elsewhere
    .limit(1)
)

_insert_blob = upsert(blobs).values(
    digest=bindparam("digest"), size=bindparam("size"), location=bindparam("location"), created_at=bindparam("now")
)

# Bytes that are there already stay in force, so that nobody who reads them is disturbed.
INSERT_BLOB = _insert_blob.on_conflict_do_update(
    index_elements=["digest"], set_={"location": func.coalesce(blobs.c.location, _insert_blob.excluded.location)}
).returning(*_BLOB)

SELECT_BLOB = select(*_BLOB).where(blobs.c.digest == bindparam("digest"), blobs.c.location.is_not(None))

MOVE_BLOB = (
    sa.update(blobs)
    .where(
        blobs.c.digest == bindparam("moved"),
        (blobs.c.location == bindparam("was_at")) | blobs.c.location.is_(None),
    )
    .values(location=bindparam("is_at"))
)

INSERT_LINK = (
    upsert(links)
    .values(
        repository_id=bindparam("repository_id"),
        digest=bindparam("digest"),
        blob_id=bindparam("blob_id"),
        created_at=bindparam("now"),
    )
    .on_conflict_do_nothing()
)

DELETE_LINK = (
    sa.delete(links)
    .where(links.c.repository_id == bindparam("repository_id"), links.c.digest == bindparam("digest"))
    .returning(links.c.blob_id)
)

# The function keeps it from looking at all manifests anywhere that name the blob: those of one repository are fewer.
SELECT_USER = (
    select(manifests.c.digest)
    .join_from(manifests, edges, manifests.c.id == edges.c.manifest_id)
    .where(
        manifests.c.repository_id == bindparam("repository_id"),
        sa.func.substr(edges.c.digest, 1) == bindparam("digest"),
    )
    .limit(1)
)
