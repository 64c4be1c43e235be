"""The statements of ``metadata/statements.py``."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy import bindparam, select
from sqlalchemy.dialects.postgresql import insert

from entrepot.metadata.schema import links, manifests, repositories

# PostgreSQL and SQLite share the grammar of ON CONFLICT and RETURNING, and SQLAlchemy's construct for the one
# compiles for the other.
upsert = insert

SELECT_REPOSITORY = select(repositories.c.id).where(repositories.c.name == bindparam("name"))

INSERT_REPOSITORY = (
    upsert(repositories)
    .values(name=bindparam("name"), created_at=bindparam("now"))
    .on_conflict_do_update(index_elements=["name"], set_={"name": bindparam("name")})
    .returning(repositories.c.id)
)

# In the order of an index, so that the first one ends the search, wherever it lies.
_first_link = (
    select(links.c.digest).where(links.c.repository_id == bindparam("repository_id")).order_by(links.c.digest).limit(1)
)

_first_manifest = (
    select(manifests.c.digest)
    .where(manifests.c.repository_id == bindparam("repository_id"))
    .order_by(manifests.c.digest)
    .limit(1)
)

DELETE_REPOSITORY_IF_EMPTY = sa.delete(repositories).where(
    repositories.c.id == bindparam("repository_id"),
    _first_link.scalar_subquery().is_(None),
    _first_manifest.scalar_subquery().is_(None),
)
