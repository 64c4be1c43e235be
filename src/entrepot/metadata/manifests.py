"""Operations on manifests, tags and referrers."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from entrepot.digest import Digest
from entrepot.errors import (
    ManifestBlobUnknown,
    ManifestInvalid,
    ManifestUnknown,
    PreconditionFailed,
    RegistryError,
    RegistryErrors,
)
from entrepot.manifest import Descriptor, Manifest, ManifestHead, StoredManifest, TagCondition
from entrepot.metadata import locks
from entrepot.metadata.base import Row, Steps, operation
from entrepot.metadata.named import Named
from entrepot.metadata.statements import (
    DELETE_REPOSITORY_IF_EMPTY,
    absent,
    find_repository,
    make_repository,
)
from entrepot.reference import RepositoryName, Tag

SELECT_BY_DIGEST = Named("manifests.SELECT_BY_DIGEST")
SELECT_BY_TAG = Named("manifests.SELECT_BY_TAG")
SELECT_HEAD_BY_DIGEST = Named("manifests.SELECT_HEAD_BY_DIGEST")
SELECT_HEAD_BY_TAG = Named("manifests.SELECT_HEAD_BY_TAG")
SELECT_LINKED_SIZE = Named("manifests.SELECT_LINKED_SIZE")
SELECT_MANIFEST_SIZE = Named("manifests.SELECT_MANIFEST_SIZE")
INSERT_MANIFEST = Named("manifests.INSERT_MANIFEST")
INSERT_EDGE = Named("manifests.INSERT_EDGE")
SELECT_TAG_DIGEST = Named("manifests.SELECT_TAG_DIGEST")
PUT_TAG = Named("manifests.PUT_TAG")
DELETE_MANIFEST = Named("manifests.DELETE_MANIFEST")
DELETE_TAG = Named("manifests.DELETE_TAG")
SELECT_REFERRER_SIZES = Named("manifests.SELECT_REFERRER_SIZES")
SELECT_REFERRERS = Named("manifests.SELECT_REFERRERS")
SELECT_REFERRER_SIZES_OF_TYPE = Named("manifests.SELECT_REFERRER_SIZES_OF_TYPE")
SELECT_REFERRERS_OF_TYPE = Named("manifests.SELECT_REFERRERS_OF_TYPE")


@dataclass(frozen=True, slots=True)
class ReferrersPage:
    """Descriptors as JSON text, and the digest to go on after; None at the end."""

    descriptors: list[str]
    last: str | None


@operation
def find_manifest(repository: RepositoryName, reference: Tag | Digest) -> Steps[StoredManifest]:
    """Raises ManifestUnknown or RepositoryUnknown."""
    statement = SELECT_BY_DIGEST if isinstance(reference, Digest) else SELECT_BY_TAG
    rows = yield statement, {"name": repository, "reference": reference}
    if rows:
        digest, media_type, _, content = rows[0]
        return StoredManifest(Digest(digest), media_type, content)
    raise (yield from absent(repository, _unknown(repository, reference)))


@operation
def find_manifest_head(repository: RepositoryName, reference: Tag | Digest) -> Steps[ManifestHead]:
    """As ``find_manifest``, without the content."""
    statement = SELECT_HEAD_BY_DIGEST if isinstance(reference, Digest) else SELECT_HEAD_BY_TAG
    rows = yield statement, {"name": repository, "reference": reference}
    if rows:
        digest, media_type, size = rows[0]
        return ManifestHead(Digest(digest), media_type, size)
    raise (yield from absent(repository, _unknown(repository, reference)))


@operation
def put_manifest(
    repository: RepositoryName,
    digest: Digest,
    manifest: Manifest,
    names: Sequence[Tag],
    now: int,
    *,
    condition: TagCondition | None = None,
    allow_missing: bool = False,
    allow_partial_index: bool = False,
) -> Steps[None]:
    """Store a manifest and let ``names`` point to it.

    Raises RegistryErrors with one ManifestBlobUnknown for each absent child (unless ``allow_missing``, or for the
    manifests that an index names ``allow_partial_index``) and one
    ManifestInvalid for each whose size is not as stated; PreconditionFailed when ``condition`` does not hold.
    """
    yield locks.adding_to(repository)
    if names:
        yield locks.writing_tags(repository, alone=condition is not None)
    repository_id = yield from make_repository(repository, now)
    if condition is not None:
        yield from _require(condition, repository_id, names)
    yield from _require_children(
        repository, repository_id, manifest, allow_missing=allow_missing, allow_partial=allow_partial_index
    )
    rows = yield INSERT_MANIFEST, _values(repository_id, digest, manifest, now)
    manifest_id: int = rows[0][0]
    # in order, so that of two that write the same ones none waits for the other in a circle
    children = sorted({child.digest for child in (*manifest.blobs, *manifest.manifests)})
    if children:
        yield INSERT_EDGE, [{"manifest_id": manifest_id, "digest": child} for child in children]
    for tag in sorted(names):
        yield PUT_TAG, {"repository_id": repository_id, "tag": tag, "manifest_id": manifest_id, "now": now}


@operation
def delete_manifest(repository: RepositoryName, digest: Digest) -> Steps[None]:
    """Delete a manifest with all tags that point to it. Raises ManifestUnknown or RepositoryUnknown."""
    yield locks.removing_from(repository)
    repository_id = yield from find_repository(repository)
    rows = yield DELETE_MANIFEST, {"repository_id": repository_id, "digest": digest}
    if not rows:
        raise _unknown(repository, digest)
    yield DELETE_REPOSITORY_IF_EMPTY, {"repository_id": repository_id}


@operation
def delete_tag(repository: RepositoryName, tag: Tag) -> Steps[None]:
    """Delete a tag and leave its manifest. Raises ManifestUnknown or RepositoryUnknown."""
    yield locks.writing_tags(repository, alone=False)
    repository_id = yield from find_repository(repository)
    rows = yield DELETE_TAG, {"repository_id": repository_id, "tag": tag}
    if not rows:
        raise _unknown(repository, tag)


@operation
def list_referrers(
    repository: RepositoryName,
    subject: str,
    artifact_type: str | None,
    *,
    last: str,
    limit: int,
    most_bytes: int,
) -> Steps[ReferrersPage]:
    """Manifests with that subject, by digest, after the digest ``last``; at most ``limit``, and one at least."""
    sizes, contents = SELECT_REFERRER_SIZES, SELECT_REFERRERS
    values: dict[str, Any] = {"name": repository, "subject": subject, "last": last}
    if artifact_type is not None:
        sizes, contents = SELECT_REFERRER_SIZES_OF_TYPE, SELECT_REFERRERS_OF_TYPE
        values["artifact_type"] = artifact_type
    rows = yield sizes, {**values, "limit": limit + 1}
    fitting = _fitting(rows[:limit], most_bytes)
    if not fitting:
        return ReferrersPage([], None)
    until: str = fitting[-1][0]
    found = yield contents, {**values, "until": until}
    return ReferrersPage([row[0] for row in found], until if len(fitting) < len(rows) else None)


def _fitting(rows: Sequence[Row], most_bytes: int) -> Sequence[Row]:
    total = 0
    for count, (_, size) in enumerate(rows):
        total += size
        if total > most_bytes and count > 0:
            return rows[:count]
    return rows


def referrer_descriptor(digest: Digest, manifest: Manifest) -> dict[str, Any]:
    """The entry of a referrers list (distribution-spec, "Listing Referrers")."""
    descriptor: dict[str, Any] = {
        "mediaType": manifest.media_type,
        "digest": digest,
        "size": len(manifest.content),
    }
    if manifest.referrer_artifact_type:
        descriptor["artifactType"] = manifest.referrer_artifact_type
    if manifest.annotations:
        descriptor["annotations"] = manifest.annotations
    return descriptor


def _values(repository_id: int, digest: Digest, manifest: Manifest, now: int) -> dict[str, Any]:
    return {
        "repository_id": repository_id,
        "digest": digest,
        "media_type": manifest.media_type,
        "size": len(manifest.content),
        "content": manifest.content,
        "subject": manifest.subject.digest if manifest.subject else None,
        "artifact_type": manifest.referrer_artifact_type if manifest.subject else None,
        "referrer": json.dumps(referrer_descriptor(digest, manifest)) if manifest.subject else None,
        "now": now,
    }


def _require(condition: TagCondition, repository_id: int, names: Sequence[Tag]) -> Steps[None]:
    for tag in names:
        rows = yield SELECT_TAG_DIGEST, {"repository_id": repository_id, "tag": tag}
        current = rows[0][0] if rows else None
        if condition.must_be_absent and current is not None:
            raise PreconditionFailed(f"tag {tag} is already there, at {current}", tag=tag, current=current)
        is_another = condition.digests is not None and current not in condition.digests
        if is_another or (condition.must_exist and current is None):
            raise PreconditionFailed(
                f"tag {tag} points to {current or 'nothing'}, not to what If-Match names", tag=tag, current=current
            )


def _require_children(
    repository: RepositoryName, repository_id: int, manifest: Manifest, *, allow_missing: bool, allow_partial: bool
) -> Steps[None]:
    linked = yield from _sizes(SELECT_LINKED_SIZE, repository_id, manifest.blobs)
    errors = list(_faults(repository, manifest.blobs, linked, "blob", allow_missing=allow_missing))
    children = yield from _sizes(SELECT_MANIFEST_SIZE, repository_id, manifest.manifests)
    # build caches keep layers in an index, so what is no manifest may still be a blob
    others = [child for child in manifest.manifests if child.digest not in children]
    children |= yield from _sizes(SELECT_LINKED_SIZE, repository_id, others)
    may_lack = allow_missing or allow_partial
    errors += _faults(repository, manifest.manifests, children, "manifest", allow_missing=may_lack)
    if errors:
        raise RegistryErrors(errors)


def _sizes(statement: Any, repository_id: int, children: Sequence[Descriptor]) -> Steps[dict[str, int]]:
    digests = {child.digest for child in children}
    if not digests:
        return {}
    rows = yield statement, [{"repository_id": repository_id, "digest": digest} for digest in sorted(digests)]
    return {row[0]: row[1] for row in rows}


def _faults(
    repository: RepositoryName,
    children: Sequence[Descriptor],
    sizes: dict[str, int],
    kind: str,
    *,
    allow_missing: bool,
) -> Iterator[RegistryError]:
    for digest, stated in dict.fromkeys((child.digest, child.size) for child in children):
        actual = sizes.get(digest)
        if actual is None and not allow_missing:
            yield ManifestBlobUnknown(
                f"the manifest names {kind} {digest}, which is not in {repository}; push it first",
                name=repository,
                digest=digest,
            )
        elif actual is not None and actual != stated:
            yield ManifestInvalid(
                f"the manifest says {digest} has {stated} bytes; it has {actual}",
                digest=digest,
                expected=actual,
                actual=stated,
            )


def _unknown(repository: RepositoryName, reference: Tag | Digest) -> ManifestUnknown:
    kind = "manifest" if isinstance(reference, Digest) else "tag"
    return ManifestUnknown(f"no {kind} {reference} in {repository}", name=repository, reference=reference)
