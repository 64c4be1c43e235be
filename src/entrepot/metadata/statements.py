"""Pieces that several families of operations are made of: what they say of repositories."""

from __future__ import annotations

from entrepot.errors import RegistryError, RepositoryUnknown
from entrepot.metadata.base import Steps, operation
from entrepot.metadata.named import Named
from entrepot.reference import RepositoryName

SELECT_REPOSITORY = Named("statements.SELECT_REPOSITORY")
INSERT_REPOSITORY = Named("statements.INSERT_REPOSITORY")
DELETE_REPOSITORY_IF_EMPTY = Named("statements.DELETE_REPOSITORY_IF_EMPTY")


@operation
def find_repository(name: RepositoryName) -> Steps[int]:
    """The repository's id. Raises RepositoryUnknown."""
    rows = yield SELECT_REPOSITORY, {"name": name}
    if not rows:
        raise RepositoryUnknown(
            f"no repository {name}: nothing has been pushed there, or everything in it was deleted", name=name
        )
    found: int = rows[0][0]
    return found


@operation
def make_repository(name: RepositoryName, now: int) -> Steps[int]:
    """The repository's id, created if need be."""
    rows = yield SELECT_REPOSITORY, {"name": name}
    if not rows:
        rows = yield INSERT_REPOSITORY, {"name": name, "now": now}
    found: int = rows[0][0]
    return found


@operation
def absent(name: RepositoryName, error: RegistryError) -> Steps[RegistryError]:
    """``error``, or RepositoryUnknown when there is no such repository in the first place."""
    try:
        yield from find_repository(name)
    except RepositoryUnknown as unknown:
        return unknown
    return error
