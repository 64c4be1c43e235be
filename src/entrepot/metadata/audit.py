"""Operations of ``admin check``: everything in order of its id, a piece at a time."""

from __future__ import annotations

from typing import NamedTuple

from entrepot.digest import Digest
from entrepot.metadata.base import Steps, operation
from entrepot.metadata.named import Named
from entrepot.store.base import StoredBlob

SELECT_BLOBS = Named("audit.SELECT_BLOBS")
SELECT_BLOB_LINK = Named("audit.SELECT_BLOB_LINK")
SELECT_MANIFESTS = Named("audit.SELECT_MANIFESTS")
SELECT_CHILDREN = Named("audit.SELECT_CHILDREN")
SELECT_LINK = Named("audit.SELECT_LINK")
SELECT_MANIFEST = Named("audit.SELECT_MANIFEST")
SELECT_LOCATION = Named("audit.SELECT_LOCATION")
CLEAR_LOCATION = Named("audit.CLEAR_LOCATION")
RESTORE_LOCATION = Named("audit.RESTORE_LOCATION")


class BlobRow(NamedTuple):
    """A blob; without a location its bytes are in quarantine."""

    id: int
    digest: str
    size: int
    location: str | None


class ManifestRow(NamedTuple):
    """A manifest with its bytes and the name of its repository."""

    id: int
    repository: str
    digest: str
    content: bytes


@operation
def blobs_after(last: int, *, limit: int) -> Steps[list[BlobRow]]:
    """Blobs with a greater id, except those that are gone and that no repository names."""
    while True:
        found = [BlobRow(*row) for row in (yield SELECT_BLOBS, {"last": last, "limit": limit})]
        gone = [{"blob_id": row.id} for row in found if row.location is None]
        named = {row[0] for row in ((yield SELECT_BLOB_LINK, gone) if gone else [])}
        kept = [row for row in found if row.location is not None or row.id in named]
        if kept or len(found) < limit:
            return kept
        last = found[-1].id


@operation
def manifests_after(last: int, *, limit: int) -> Steps[list[ManifestRow]]:
    """Manifests with a greater id."""
    rows = yield SELECT_MANIFESTS, {"last": last, "limit": limit}
    return [ManifestRow(*row) for row in rows]


@operation
def absent_children(manifest_id: int) -> Steps[list[str]]:
    """Digests a manifest names that are neither blob nor manifest of its repository."""
    rows = yield SELECT_CHILDREN, {"manifest_id": manifest_id}
    children = [{"repository_id": repository_id, "digest": digest} for repository_id, digest in rows]
    links = (yield SELECT_LINK, children) if children else []
    manifests = (yield SELECT_MANIFEST, children) if children else []
    there = {digest for (digest,) in (*links, *manifests)}
    return [child["digest"] for child in children if child["digest"] not in there]


@operation
def location_of(digest: Digest) -> Steps[str | None]:
    """Where the blob of that canonical digest is kept, if it is."""
    rows = yield SELECT_LOCATION, {"digest": digest}
    return rows[0][0] if rows else None


@operation
def mark_quarantined(stored: StoredBlob) -> Steps[None]:
    """The bytes are gone from their location; the blob counts as absent until it is pushed again."""
    yield CLEAR_LOCATION, {"lost": stored.digest, "was_at": stored.location}


@operation
def mark_kept(stored: StoredBlob) -> Steps[None]:
    """The bytes were good after all."""
    yield RESTORE_LOCATION, {"kept": stored.digest, "is_at": stored.location}
