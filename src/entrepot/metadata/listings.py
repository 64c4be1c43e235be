"""Operations that list: tags, repositories, search."""

from __future__ import annotations

from entrepot.metadata.base import Steps, operation
from entrepot.metadata.named import Named
from entrepot.metadata.statements import find_repository
from entrepot.reference import RepositoryName

SELECT_TAGS = Named("listings.SELECT_TAGS")
SELECT_REPOSITORIES = Named("listings.SELECT_REPOSITORIES")
SEARCH_REPOSITORIES = Named("listings.SEARCH_REPOSITORIES")


@operation
def list_tags(repository: RepositoryName, *, last: str, limit: int) -> Steps[list[str]]:
    """Tags after ``last``, in byte order. Raises RepositoryUnknown."""
    repository_id = yield from find_repository(repository)
    rows = yield SELECT_TAGS, {"repository_id": repository_id, "last": last, "limit": limit}
    return [row[0] for row in rows]


@operation
def list_repositories(*, last: str, limit: int) -> Steps[list[str]]:
    """Names of repositories after ``last``, in byte order."""
    rows = yield SELECT_REPOSITORIES, {"last": last, "limit": limit}
    return [row[0] for row in rows]


@operation
def search_repositories(text: str, *, limit: int) -> Steps[list[str]]:
    """Names that contain ``text``, in byte order."""
    literal = text.lower().replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    rows = yield SEARCH_REPOSITORIES, {"pattern": f"%{literal}%", "limit": limit}
    return [row[0] for row in rows]
