"""The statements of ``metadata/listings.py``."""

from __future__ import annotations

from sqlalchemy import bindparam, select

from entrepot.metadata.schema import repositories, tags

SELECT_TAGS = (
    select(tags.c.name)
    .where(tags.c.repository_id == bindparam("repository_id"), tags.c.name > bindparam("last"))
    .order_by(tags.c.name)
    .limit(bindparam("limit"))
)

SELECT_REPOSITORIES = (
    select(repositories.c.name)
    .where(repositories.c.name > bindparam("last"))
    .order_by(repositories.c.name)
    .limit(bindparam("limit"))
)

SEARCH_REPOSITORIES = (
    select(repositories.c.name)
    .where(repositories.c.name.like(bindparam("pattern"), escape="\\"))
    .order_by(repositories.c.name)
    .limit(bindparam("limit"))
)
