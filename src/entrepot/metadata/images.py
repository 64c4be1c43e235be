"""Operations of the user's image store: manifests with their tags, copies between repositories, removal.

All statements are plain SQL, so that ``entrepot images`` starts without SQLAlchemy.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from entrepot.digest import Digest
from entrepot.metadata import locks
from entrepot.metadata.base import Row, Steps, operation
from entrepot.reference import RepositoryName, Tag
from entrepot.store.base import StoredBlob

SELECT_REPOSITORY = "SELECT id FROM repositories WHERE name = :name"
# More than belongs to the image store, but not everything that a server may hold in the same root.
_CANDIDATES = """
    r.name = :also OR r.name LIKE '%.%/%' OR r.name LIKE '%\\_\\_%/%' ESCAPE '\\' OR r.name LIKE 'ip6-%/%'
    OR r.name LIKE 'localhost/%'
"""
INSERT_REPOSITORY = """
    INSERT INTO repositories (name, created_at) VALUES (:name, :now)
    ON CONFLICT (name) DO UPDATE SET name = excluded.name RETURNING id
"""
SELECT_MANIFESTS = """
    SELECT m.id, m.digest, m.media_type, m.subject, m.content, o.at
    FROM manifests m LEFT JOIN origins o ON o.manifest_id = m.id
    WHERE m.repository_id = :repository_id ORDER BY m.id
"""
SELECT_TAGS = "SELECT manifest_id, name, updated_at FROM tags WHERE repository_id = :repository_id ORDER BY name"
SELECT_REPOSITORIES = f"SELECT r.id, r.name FROM repositories r WHERE {_CANDIDATES} ORDER BY r.name"  # noqa: S608
SELECT_ALL_MANIFESTS = f"""
    SELECT m.repository_id, m.id, m.digest, m.media_type, m.subject, m.content, o.at
    FROM repositories r JOIN manifests m ON m.repository_id = r.id LEFT JOIN origins o ON o.manifest_id = m.id
    WHERE {_CANDIDATES} ORDER BY m.id
"""  # noqa: S608
SELECT_ALL_TAGS = f"""
    SELECT t.repository_id, t.manifest_id, t.name, t.updated_at
    FROM repositories r JOIN tags t ON t.repository_id = r.id WHERE {_CANDIDATES} ORDER BY t.name
"""  # noqa: S608
SELECT_BLOB = """
    SELECT b.digest, b.size, b.location FROM links l JOIN blobs b ON b.id = l.blob_id
    WHERE l.repository_id = :repository_id AND l.digest = :digest AND b.location IS NOT NULL
"""
SELECT_LINKS = """
    SELECT l.repository_id, l.digest, b.size FROM links l JOIN blobs b ON b.id = l.blob_id WHERE b.location IS NOT NULL
"""
SELECT_LOCATIONS = "SELECT location FROM blobs WHERE location IS NOT NULL"
SELECT_UNNAMED_LINKS = """
    SELECT l.digest FROM links l
    WHERE l.repository_id = :repository_id AND l.created_at < :before AND NOT EXISTS (
        SELECT 1 FROM edges e JOIN manifests m ON m.id = e.manifest_id
        WHERE e.digest = l.digest AND m.repository_id = l.repository_id)
"""

COPY_MANIFEST = """
    INSERT INTO manifests
        (repository_id, digest, media_type, size, subject, artifact_type, referrer, created_at, content)
    SELECT CAST(:target AS BIGINT), digest, media_type, size, subject, artifact_type, referrer, CAST(:now AS BIGINT),
        content
    FROM manifests WHERE repository_id = :source AND digest = :digest
    ON CONFLICT (repository_id, digest) DO UPDATE SET media_type = excluded.media_type
    RETURNING id
"""
COPY_EDGES = """
    INSERT INTO edges (manifest_id, digest)
    SELECT CAST(:copy AS BIGINT), e.digest FROM edges e JOIN manifests m ON m.id = e.manifest_id
    WHERE m.repository_id = :source AND m.digest = :digest
    ON CONFLICT DO NOTHING
"""
COPY_LINKS = """
    INSERT INTO links (repository_id, digest, blob_id, created_at)
    SELECT CAST(:target AS BIGINT), l.digest, l.blob_id, CAST(:now AS BIGINT)
    FROM manifests m JOIN edges e ON e.manifest_id = m.id
    JOIN links l ON l.digest = e.digest AND l.repository_id = m.repository_id
    WHERE m.repository_id = :source AND m.digest = :digest
    ON CONFLICT DO NOTHING
"""
SELECT_CHILDREN = """
    SELECT child.digest FROM manifests m JOIN edges e ON e.manifest_id = m.id
    JOIN manifests child ON child.digest = e.digest AND child.repository_id = m.repository_id
    WHERE m.repository_id = :source AND m.digest = :digest
"""
PUT_TAG = """
    INSERT INTO tags (repository_id, name, manifest_id, updated_at)
    VALUES (:repository_id, :tag, :manifest_id, :now)
    ON CONFLICT (repository_id, name)
    DO UPDATE SET manifest_id = excluded.manifest_id, updated_at = excluded.updated_at
"""

DELETE_TAG = "DELETE FROM tags WHERE repository_id = :repository_id AND name = :tag"
SELECT_EDGES = "SELECT digest FROM edges WHERE manifest_id = :manifest_id"
DELETE_MANIFEST = "DELETE FROM manifests WHERE id = :manifest_id"
UNLINK = """
    DELETE FROM links WHERE repository_id = :repository_id AND digest = :digest AND NOT EXISTS (
        SELECT 1 FROM edges e JOIN manifests m ON m.id = e.manifest_id
        WHERE e.digest = :digest AND m.repository_id = :repository_id)
    RETURNING blob_id
"""
DELETE_REPOSITORY_IF_EMPTY = """
    DELETE FROM repositories WHERE id = :repository_id
    AND NOT EXISTS (SELECT 1 FROM links WHERE repository_id = :repository_id)
    AND NOT EXISTS (SELECT 1 FROM manifests WHERE repository_id = :repository_id)
"""
DELETE_BLOB_IF_UNLINKED = """
    DELETE FROM blobs WHERE id = :blob_id AND NOT EXISTS (SELECT 1 FROM links WHERE links.blob_id = blobs.id)
    RETURNING digest, size, location
"""
DELETE_UNLINKED_BLOBS = """
    DELETE FROM blobs WHERE NOT EXISTS (SELECT 1 FROM links WHERE links.blob_id = blobs.id)
    RETURNING digest, size, location
"""
SELECT_BLOB_AT = "SELECT 1 FROM blobs WHERE digest = :digest AND location = :location"
FORGET_LAYER = "DELETE FROM layers WHERE digest = :digest"
FORGET_CONFIG = "DELETE FROM configs WHERE digest = :digest"


class ManifestRow(NamedTuple):
    """A manifest of a repository; ``origin_at`` is when it was last known to be at its registry."""

    id: int
    digest: str
    media_type: str
    subject: str | None
    content: bytes
    origin_at: int | None


class TagRow(NamedTuple):
    """A tag; ``updated_at`` in seconds since 1970."""

    manifest_id: int
    name: str
    updated_at: int


class LinkRow(NamedTuple):
    """A blob as a repository sees it; ``size`` in bytes."""

    repository_id: int
    digest: str
    size: int


class Holding(NamedTuple):
    """What a repository holds."""

    repository_id: int
    name: str
    manifests: list[ManifestRow]
    tags: list[TagRow]


@operation
def find_repository_id(name: RepositoryName) -> Steps[int | None]:
    """The repository's id, None when there is none."""
    rows = yield SELECT_REPOSITORY, {"name": name}
    return rows[0][0] if rows else None


@operation
def list_repository(name: RepositoryName) -> Steps[Holding | None]:
    """What one repository holds, None when there is none of that name."""
    repository_id = yield from find_repository_id(name)
    if repository_id is None:
        return None
    manifests = yield SELECT_MANIFESTS, {"repository_id": repository_id}
    tags = yield SELECT_TAGS, {"repository_id": repository_id}
    return Holding(repository_id, name, [ManifestRow(*row) for row in manifests], [TagRow(*row) for row in tags])


@operation
def list_everything(also: RepositoryName) -> Steps[list[Holding]]:
    """Every repository whose name may begin with a registry, and ``also``, by name, with all that is in it."""
    names = {"also": also}
    rows = yield SELECT_REPOSITORIES, names
    held = {row[0]: Holding(row[0], row[1], [], []) for row in rows}
    rows = yield SELECT_ALL_MANIFESTS, names
    for repository_id, *columns in rows:
        held[repository_id].manifests.append(ManifestRow(*columns))
    rows = yield SELECT_ALL_TAGS, names
    for repository_id, *columns in rows:
        held[repository_id].tags.append(TagRow(*columns))
    return list(held.values())


@operation
def list_links() -> Steps[list[LinkRow]]:
    """Every blob that any repository sees."""
    rows = yield SELECT_LINKS, {}
    return [LinkRow(*row) for row in rows]


@operation
def list_locations() -> Steps[set[str]]:
    """Where the bytes are that have a row."""
    rows = yield SELECT_LOCATIONS, {}
    return {row[0] for row in rows}


@operation
def find_blob(repository_id: int, digest: str) -> Steps[StoredBlob | None]:
    """A blob of the repository, None when it is not there."""
    rows = yield SELECT_BLOB, {"repository_id": repository_id, "digest": digest}
    return _stored(rows[0]) if rows else None


@operation
def tag_manifest(source_id: int, digest: str, target: RepositoryName, tag: Tag | None, now: int) -> Steps[int | None]:
    """Let ``target`` have a manifest of another repository, with all below it that is there, under ``tag``.

    None when the source has no such manifest; otherwise the id of the copy.
    """
    yield locks.adding_to(target)
    yield locks.writing_tags(target, alone=False)
    rows = yield INSERT_REPOSITORY, {"name": target, "now": now}
    target_id: int = rows[0][0]
    manifest_id = yield from _copy_graph(source_id, target_id, digest, now)
    if manifest_id is None:
        yield DELETE_REPOSITORY_IF_EMPTY, {"repository_id": target_id}
    elif tag is not None:
        yield PUT_TAG, {"repository_id": target_id, "tag": tag, "manifest_id": manifest_id, "now": now}
    return manifest_id


def _copy_graph(source_id: int, target_id: int, digest: str, now: int) -> Steps[int | None]:
    top: int | None = None
    seen, waiting = {digest}, [digest]
    while waiting:
        current = waiting.pop()
        values = {"source": source_id, "target": target_id, "digest": current, "now": now}
        rows = yield COPY_MANIFEST, values
        if not rows:
            return None
        top = rows[0][0] if current == digest else top
        yield COPY_EDGES, {**values, "copy": rows[0][0]}
        yield COPY_LINKS, values
        children = yield SELECT_CHILDREN, values
        waiting += [child for (child,) in children if child not in seen]
        seen.update(child for (child,) in children)
    return top


@operation
def remove_tag(repository_id: int, tag: str) -> Steps[None]:
    """Take a tag away; its manifest stays."""
    yield DELETE_TAG, {"repository_id": repository_id, "tag": tag}


@operation
def remove_manifests(repository_id: int, manifest_ids: Sequence[int]) -> Steps[list[StoredBlob]]:
    """Delete manifests with their tags, and what only they named; the blobs returned have no row any more.

    Their bytes are for the caller to delete, who must keep commits away from before this until then.
    """
    named: dict[str, None] = {}
    for manifest_id in manifest_ids:
        rows = yield SELECT_EDGES, {"manifest_id": manifest_id}
        named.update((digest, None) for (digest,) in rows)
        yield DELETE_MANIFEST, {"manifest_id": manifest_id}
    gone = yield from unlink(repository_id, named)
    yield DELETE_REPOSITORY_IF_EMPTY, {"repository_id": repository_id}
    return gone


@operation
def unlink(repository_id: int, digests: Iterable[str]) -> Steps[list[StoredBlob]]:
    """Take blobs out of a repository unless a manifest of it names them; returns those that no one sees any more."""
    gone: list[StoredBlob] = []
    for digest in digests:
        rows = yield UNLINK, {"repository_id": repository_id, "digest": digest}
        for (blob_id,) in rows:
            found = yield DELETE_BLOB_IF_UNLINKED, {"blob_id": blob_id}
            gone += [_stored(row) for row in found if row[2] is not None]
            yield from _forget_facts([digest] if found else [])
    return gone


@operation
def unlink_unnamed(repository_id: int, before: int) -> Steps[list[StoredBlob]]:
    """Take out the blobs that came before ``before`` and that no manifest of the repository names."""
    rows = yield SELECT_UNNAMED_LINKS, {"repository_id": repository_id, "before": before}
    gone = yield from unlink(repository_id, [digest for (digest,) in rows])
    yield DELETE_REPOSITORY_IF_EMPTY, {"repository_id": repository_id}
    return gone


@operation
def remove_unlinked_blobs() -> Steps[list[StoredBlob]]:
    """Delete the rows of blobs that no repository sees; as with ``remove_manifests`` the bytes are still there."""
    rows = yield DELETE_UNLINKED_BLOBS, {}
    yield from _forget_facts([row[0] for row in rows])
    return [_stored(row) for row in rows if row[2] is not None]


@operation
def is_recorded(blob: StoredBlob) -> Steps[bool]:
    """Whether there is a row for bytes found in the store."""
    rows = yield SELECT_BLOB_AT, {"digest": blob.digest, "location": blob.location}
    return bool(rows)


def _forget_facts(digests: Iterable[str]) -> Steps[None]:
    for digest in digests:
        yield FORGET_LAYER, {"digest": digest}
        yield FORGET_CONFIG, {"digest": digest}


def _stored(row: Row) -> StoredBlob:
    digest, size, location = row
    return StoredBlob(Digest(digest), size, location)
