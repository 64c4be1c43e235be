"""Operations on blobs: which there are, and which repository may see them."""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy import bindparam, select

from entrepot.digest import Digest
from entrepot.errors import BlobInUse, BlobUnknown
from entrepot.metadata.base import Operation, Row
from entrepot.metadata.schema import blobs, edges, links, manifests, repositories
from entrepot.metadata.statements import (
    DELETE_REPOSITORY_IF_EMPTY,
    absent,
    find_repository,
    make_repository,
    upsert,
)
from entrepot.reference import RepositoryName
from entrepot.store.base import StoredBlob

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
    .limit(1)
)

_insert_blob = upsert(blobs).values(
    digest=bindparam("digest"), size=bindparam("size"), location=bindparam("location"), created_at=bindparam("now")
)
INSERT_BLOB = _insert_blob.on_conflict_do_update(
    index_elements=["digest"], set_={"location": _insert_blob.excluded.location}
).returning(blobs.c.id)

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

SELECT_USER = (
    select(manifests.c.digest)
    .join_from(edges, manifests, manifests.c.id == edges.c.manifest_id)
    .where(edges.c.digest == bindparam("digest"), manifests.c.repository_id == bindparam("repository_id"))
    .limit(1)
)


@dataclass(frozen=True, slots=True)
class LinkedBlob:
    """A blob as one repository sees it: the name it was asked for by, and the bytes behind it."""

    name: Digest
    stored: StoredBlob


def find_blob(repository: RepositoryName, digest: Digest) -> Operation[LinkedBlob]:
    """Raises BlobUnknown or RepositoryUnknown."""
    rows = yield SELECT_LINKED, {"name": repository, "digest": digest}
    if rows:
        return LinkedBlob(digest, _stored(rows[0]))
    error = BlobUnknown(f"no blob {digest} in {repository}", name=repository, digest=digest)
    raise (yield from absent(repository, error))


def find_blob_anywhere(digest: Digest) -> Operation[StoredBlob | None]:
    """The bytes of that name in any repository; None when there are none."""
    rows = yield SELECT_LINKED_ANYWHERE, {"digest": digest}
    return _stored(rows[0]) if rows else None


def put_blob(repository: RepositoryName, digest: Digest, stored: StoredBlob, now: int) -> Operation[None]:
    """Record bytes that are durable, and let the repository see them as ``digest``."""
    repository_id = yield from make_repository(repository, now)
    values = {"digest": stored.digest, "size": stored.size, "location": stored.location, "now": now}
    rows = yield INSERT_BLOB, values
    yield from _link(repository_id, digest, rows[0][0], now)


def mount_blob(
    target: RepositoryName, digest: Digest, source: RepositoryName | None, now: int
) -> Operation[LinkedBlob | None]:
    """Let ``target`` see a blob of ``source``, or of any repository when that is None. None when there is none."""
    if source is None:
        rows = yield SELECT_LINKED_ANYWHERE, {"digest": digest}
    else:
        rows = yield SELECT_LINKED, {"name": source, "digest": digest}
    if not rows:
        return None
    repository_id = yield from make_repository(target, now)
    yield from _link(repository_id, digest, rows[0][0], now)
    return LinkedBlob(digest, _stored(rows[0]))


def unlink_blob(repository: RepositoryName, digest: Digest, *, protect_used: bool) -> Operation[None]:
    """Take a blob out of one repository. Raises BlobUnknown, RepositoryUnknown, or BlobInUse if protected."""
    repository_id = yield from find_repository(repository)
    if protect_used:
        yield from _require_unused(repository, repository_id, digest)
    rows = yield DELETE_LINK, {"repository_id": repository_id, "digest": digest}
    if not rows:
        raise BlobUnknown(f"no blob {digest} in {repository}", name=repository, digest=digest)
    yield DELETE_REPOSITORY_IF_EMPTY, {"repository_id": repository_id}


def _require_unused(repository: RepositoryName, repository_id: int, digest: Digest) -> Operation[None]:
    rows = yield SELECT_USER, {"repository_id": repository_id, "digest": digest}
    if rows:
        raise BlobInUse(
            f"blob {digest} is used by manifest {rows[0][0]}; delete that first",
            name=repository,
            digest=digest,
            manifest=rows[0][0],
        )


def _link(repository_id: int, digest: Digest, blob_id: int, now: int) -> Operation[None]:
    yield INSERT_LINK, {"repository_id": repository_id, "digest": digest, "blob_id": blob_id, "now": now}


def _stored(row: Row) -> StoredBlob:
    _, digest, size, location = row
    return StoredBlob(Digest(digest), size, location)
