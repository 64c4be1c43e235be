"""The statements of ``metadata/manifests.py``."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy import bindparam, func, select

from entrepot.metadata.schema import blobs, edges, links, manifests, repositories, tags
from entrepot.metadata.sql.statements import upsert

_HEAD = (manifests.c.digest, manifests.c.media_type, manifests.c.size)

_by_digest = (
    (repositories.c.name == bindparam("name")) & (manifests.c.digest == bindparam("reference"))
)  # fmt: skip

_by_tag = (repositories.c.name == bindparam("name")) & (tags.c.name == bindparam("reference"))

_from_digest = repositories.join(manifests, manifests.c.repository_id == repositories.c.id)

_from_tag = repositories.join(tags, tags.c.repository_id == repositories.c.id).join(
    manifests, manifests.c.id == tags.c.manifest_id
)

SELECT_BY_DIGEST = select(*_HEAD, manifests.c.content).select_from(_from_digest).where(_by_digest)

SELECT_BY_TAG = select(*_HEAD, manifests.c.content).select_from(_from_tag).where(_by_tag)

SELECT_HEAD_BY_DIGEST = select(*_HEAD).select_from(_from_digest).where(_by_digest)

SELECT_HEAD_BY_TAG = select(*_HEAD).select_from(_from_tag).where(_by_tag)

# One at a time, for several digests at once: of a list PostgreSQL does not know how long it is, and may rather look at
# the whole repository.
SELECT_LINKED_SIZE = (
    select(links.c.digest, blobs.c.size)
    .join_from(links, blobs, blobs.c.id == links.c.blob_id)
    .where(
        links.c.repository_id == bindparam("repository_id"),
        links.c.digest == bindparam("digest"),
        blobs.c.location.is_not(None),
    )
)

SELECT_MANIFEST_SIZE = select(manifests.c.digest, manifests.c.size).where(
    manifests.c.repository_id == bindparam("repository_id"),
    manifests.c.digest == bindparam("digest"),
)

_OVERWRITTEN = ("media_type", "size", "content", "subject", "artifact_type", "referrer")

_insert_manifest = upsert(manifests).values(
    repository_id=bindparam("repository_id"),
    digest=bindparam("digest"),
    media_type=bindparam("media_type"),
    size=bindparam("size"),
    content=bindparam("content"),
    subject=bindparam("subject"),
    artifact_type=bindparam("artifact_type"),
    referrer=bindparam("referrer"),
    created_at=bindparam("now"),
)

# The same bytes pushed again may come under another Content-Type; the last one counts. The bytes are written
# anew as well, which heals a damaged row.
INSERT_MANIFEST = _insert_manifest.on_conflict_do_update(
    index_elements=["repository_id", "digest"],
    set_={name: _insert_manifest.excluded[name] for name in _OVERWRITTEN},
).returning(manifests.c.id)

INSERT_EDGE = (
    upsert(edges).values(manifest_id=bindparam("manifest_id"), digest=bindparam("digest")).on_conflict_do_nothing()
)

SELECT_TAG_DIGEST = (
    select(manifests.c.digest)
    .join_from(tags, manifests, manifests.c.id == tags.c.manifest_id)
    .where(tags.c.repository_id == bindparam("repository_id"), tags.c.name == bindparam("tag"))
)

_insert_tag = upsert(tags).values(
    repository_id=bindparam("repository_id"),
    name=bindparam("tag"),
    manifest_id=bindparam("manifest_id"),
    updated_at=bindparam("now"),
)

PUT_TAG = _insert_tag.on_conflict_do_update(
    index_elements=["repository_id", "name"],
    set_={"manifest_id": _insert_tag.excluded.manifest_id, "updated_at": _insert_tag.excluded.updated_at},
)

DELETE_MANIFEST = (
    sa.delete(manifests)
    .where(manifests.c.repository_id == bindparam("repository_id"), manifests.c.digest == bindparam("digest"))
    .returning(manifests.c.id)
)

DELETE_TAG = (
    sa.delete(tags)
    .where(tags.c.repository_id == bindparam("repository_id"), tags.c.name == bindparam("tag"))
    .returning(tags.c.name)
)

# Not a join: PostgreSQL would not see that the index has the order that is asked for, and sort all referrers.
_repository = select(repositories.c.id).where(repositories.c.name == bindparam("name")).scalar_subquery()

_refers = (manifests.c.repository_id == _repository) & (manifests.c.subject == bindparam("subject"))

_is_of_type = manifests.c.artifact_type == bindparam("artifact_type")

SELECT_REFERRER_SIZES = (
    select(manifests.c.digest, func.length(manifests.c.referrer))
    .where(_refers, manifests.c.digest > bindparam("last"))
    .order_by(manifests.c.digest)
    .limit(bindparam("limit"))
)

SELECT_REFERRERS = (
    select(manifests.c.referrer)
    .where(_refers, manifests.c.digest > bindparam("last"), manifests.c.digest <= bindparam("until"))
    .order_by(manifests.c.digest)
)

SELECT_REFERRER_SIZES_OF_TYPE = SELECT_REFERRER_SIZES.where(_is_of_type)

SELECT_REFERRERS_OF_TYPE = SELECT_REFERRERS.where(_is_of_type)
