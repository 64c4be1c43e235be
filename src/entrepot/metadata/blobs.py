"""Operations on blobs: which there are, and which repository may see them."""

from __future__ import annotations

from dataclasses import dataclass

from entrepot.digest import Digest
from entrepot.errors import BlobInUse, BlobUnknown
from entrepot.metadata import locks
from entrepot.metadata.base import Row, Steps, operation
from entrepot.metadata.named import Named
from entrepot.metadata.statements import (
    DELETE_REPOSITORY_IF_EMPTY,
    absent,
    find_repository,
    make_repository,
)
from entrepot.reference import RepositoryName
from entrepot.store.base import StoredBlob

SELECT_LINKED = Named("blobs.SELECT_LINKED")
SELECT_LINKED_ANYWHERE = Named("blobs.SELECT_LINKED_ANYWHERE")
INSERT_BLOB = Named("blobs.INSERT_BLOB")
SELECT_BLOB = Named("blobs.SELECT_BLOB")
MOVE_BLOB = Named("blobs.MOVE_BLOB")
INSERT_LINK = Named("blobs.INSERT_LINK")
DELETE_LINK = Named("blobs.DELETE_LINK")
SELECT_USER = Named("blobs.SELECT_USER")


@dataclass(frozen=True, slots=True)
class LinkedBlob:
    """A blob as one repository sees it: the name it was asked for by, and the bytes behind it."""

    name: Digest
    stored: StoredBlob


@operation
def find_blob(repository: RepositoryName, digest: Digest) -> Steps[LinkedBlob]:
    """Raises BlobUnknown or RepositoryUnknown."""
    rows = yield SELECT_LINKED, {"name": repository, "digest": digest}
    if rows:
        return LinkedBlob(digest, _stored(rows[0]))
    error = BlobUnknown(f"no blob {digest} in {repository}", name=repository, digest=digest)
    raise (yield from absent(repository, error))


@operation
def find_blob_anywhere(digest: Digest) -> Steps[StoredBlob | None]:
    """The bytes of that name in any repository; None when there are none."""
    rows = yield SELECT_LINKED_ANYWHERE, {"digest": digest}
    return _stored(rows[0]) if rows else None


@operation
def put_blob(repository: RepositoryName, digest: Digest, stored: StoredBlob, now: int) -> Steps[StoredBlob]:
    """Record bytes that are durable, and let the repository see them as ``digest``.

    Returns the bytes in force: those that were recorded under that digest before, if there are any.
    """
    yield locks.adding_to(repository)
    repository_id = yield from make_repository(repository, now)
    values = {"digest": stored.digest, "size": stored.size, "location": stored.location, "now": now}
    rows = yield INSERT_BLOB, values
    yield from _link(repository_id, digest, rows[0][0], now)
    return _stored(rows[0])


@operation
def move_blob(gone: StoredBlob, to: StoredBlob) -> Steps[StoredBlob | None]:
    """Let the blob be at ``to``, if it is at ``gone`` still, or nowhere.

    Returns the bytes in force then; None when nobody knows the blob any more.
    """
    yield MOVE_BLOB, {"moved": gone.digest, "was_at": gone.location, "is_at": to.location}
    rows = yield SELECT_BLOB, {"digest": gone.digest}
    return _stored(rows[0]) if rows else None


@operation
def mount_blob(
    target: RepositoryName, digest: Digest, source: RepositoryName | None, now: int
) -> Steps[LinkedBlob | None]:
    """Let ``target`` see a blob of ``source``, or of any repository when that is None. None when there is none."""
    yield locks.adding_to(target)
    if source is None:
        rows = yield SELECT_LINKED_ANYWHERE, {"digest": digest}
    else:
        rows = yield SELECT_LINKED, {"name": source, "digest": digest}
    if not rows:
        return None
    repository_id = yield from make_repository(target, now)
    yield from _link(repository_id, digest, rows[0][0], now)
    return LinkedBlob(digest, _stored(rows[0]))


@operation
def unlink_blob(repository: RepositoryName, digest: Digest, *, protect_used: bool) -> Steps[None]:
    """Take a blob out of one repository. Raises BlobUnknown, RepositoryUnknown, or BlobInUse if protected."""
    yield locks.removing_from(repository)
    repository_id = yield from find_repository(repository)
    if protect_used:
        yield from _require_unused(repository, repository_id, digest)
    rows = yield DELETE_LINK, {"repository_id": repository_id, "digest": digest}
    if not rows:
        raise BlobUnknown(f"no blob {digest} in {repository}", name=repository, digest=digest)
    yield DELETE_REPOSITORY_IF_EMPTY, {"repository_id": repository_id}


def _require_unused(repository: RepositoryName, repository_id: int, digest: Digest) -> Steps[None]:
    rows = yield SELECT_USER, {"repository_id": repository_id, "digest": digest}
    if rows:
        raise BlobInUse(
            f"blob {digest} is used by manifest {rows[0][0]}; delete that first",
            name=repository,
            digest=digest,
            manifest=rows[0][0],
        )


def _link(repository_id: int, digest: Digest, blob_id: int, now: int) -> Steps[None]:
    yield INSERT_LINK, {"repository_id": repository_id, "digest": digest, "blob_id": blob_id, "now": now}


def _stored(row: Row) -> StoredBlob:
    _, digest, size, location = row
    return StoredBlob(Digest(digest), size, location)
