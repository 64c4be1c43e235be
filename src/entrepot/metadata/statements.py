"""Pieces that several families of operations are made of: repositories, and SQL both databases understand."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy import bindparam, select
from sqlalchemy.dialects.postgresql import insert

from entrepot.errors import RegistryError, RepositoryUnknown
from entrepot.metadata.base import Operation
from entrepot.metadata.schema import links, manifests, repositories
from entrepot.reference import RepositoryName

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

DELETE_REPOSITORY_IF_EMPTY = sa.delete(repositories).where(
    repositories.c.id == bindparam("repository_id"),
    ~sa.exists().where(links.c.repository_id == bindparam("repository_id")),
    ~sa.exists().where(manifests.c.repository_id == bindparam("repository_id")),
)


def find_repository(name: RepositoryName) -> Operation[int]:
    """The repository's id. Raises RepositoryUnknown."""
    rows = yield SELECT_REPOSITORY, {"name": name}
    if not rows:
        raise RepositoryUnknown(
            f"no repository {name}: nothing has been pushed there, or everything in it was deleted", name=name
        )
    found: int = rows[0][0]
    return found


def make_repository(name: RepositoryName, now: int) -> Operation[int]:
    """The repository's id, created if need be."""
    rows = yield SELECT_REPOSITORY, {"name": name}
    if not rows:
        rows = yield INSERT_REPOSITORY, {"name": name, "now": now}
    found: int = rows[0][0]
    return found


def absent(name: RepositoryName, error: RegistryError) -> Operation[RegistryError]:
    """``error``, or RepositoryUnknown when there is no such repository in the first place."""
    try:
        yield from find_repository(name)
    except RepositoryUnknown as unknown:
        return unknown
    return error
