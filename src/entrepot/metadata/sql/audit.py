"""The statements of ``metadata/audit.py``."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy import bindparam, exists, select

from entrepot.metadata.schema import blobs, edges, links, manifests, repositories

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

# Not a join: of a layer that all have, PostgreSQL would look at the links of all repositories up to this one.
_repository_id = select(_parent.c.repository_id).where(_parent.c.id == bindparam("manifest_id")).scalar_subquery()

SELECT_ABSENT_CHILDREN = select(edges.c.digest).where(
    edges.c.manifest_id == bindparam("manifest_id"),
    ~exists().where(links.c.repository_id == _repository_id, links.c.digest == edges.c.digest),
    ~exists().where(_child.c.repository_id == _repository_id, _child.c.digest == edges.c.digest),
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
