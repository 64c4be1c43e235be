"""Operations on what is known of registries elsewhere: what is there, and pushes that have not come to their end."""

from __future__ import annotations

from entrepot.digest import Digest
from entrepot.metadata.base import Steps, operation
from entrepot.reference import RepositoryName

PUT_ORIGIN = """
    INSERT INTO origins (manifest_id, at)
    SELECT m.id, CAST(:now AS BIGINT) FROM manifests m JOIN repositories r ON r.id = m.repository_id
    WHERE r.name = :name AND m.digest = :digest
    ON CONFLICT (manifest_id) DO UPDATE SET at = excluded.at
    RETURNING manifest_id
"""
DELETE_ORIGIN = "DELETE FROM origins WHERE manifest_id = :manifest_id"
# A blob is where a manifest is that names it, or an index that names such a manifest.
SELECT_HOLDERS = """
    WITH RECURSIVE above (id, repository_id, digest) AS (
        SELECT m.id, m.repository_id, m.digest FROM edges e JOIN manifests m ON m.id = e.manifest_id
        WHERE e.digest = :digest
        UNION
        SELECT m.id, m.repository_id, m.digest FROM above
        JOIN edges e ON e.digest = above.digest
        JOIN manifests m ON m.id = e.manifest_id AND m.repository_id = above.repository_id
    )
    SELECT r.name FROM above JOIN origins o ON o.manifest_id = above.id
    JOIN repositories r ON r.id = above.repository_id
    GROUP BY r.name ORDER BY max(o.at) DESC, r.name
"""

PUT_PUSH = """
    INSERT INTO pushes (repository, digest, location, updated_at) VALUES (:repository, :digest, :location, :now)
    ON CONFLICT (repository, digest) DO UPDATE SET location = excluded.location, updated_at = excluded.updated_at
"""
SELECT_PUSH = "SELECT location FROM pushes WHERE repository = :repository AND digest = :digest"
DELETE_PUSH = "DELETE FROM pushes WHERE repository = :repository AND digest = :digest"
DELETE_OLD_PUSHES = "DELETE FROM pushes WHERE updated_at < :before"


@operation
def record_origin(repository: RepositoryName, digest: Digest, now: int) -> Steps[bool]:
    """The manifest is at the registry that the repository is named after; False when it is not here."""
    rows = yield PUT_ORIGIN, {"name": repository, "digest": digest, "now": now}
    return bool(rows)


@operation
def forget_origin(manifest_id: int) -> Steps[None]:
    """It is not known any more where the manifest came from."""
    yield DELETE_ORIGIN, {"manifest_id": manifest_id}


@operation
def holders(digest: Digest) -> Steps[list[str]]:
    """Names of repositories whose registry has been seen with the blob, the latest first."""
    rows = yield SELECT_HOLDERS, {"digest": digest}
    return [name for (name,) in rows]


@operation
def put_push(repository: str, digest: Digest, location: str, now: int) -> Steps[None]:
    """Remember where an upload goes on; ``repository`` is the name in full, with its registry."""
    yield PUT_PUSH, {"repository": repository, "digest": digest, "location": location, "now": now}


@operation
def find_push(repository: str, digest: Digest) -> Steps[str | None]:
    """Where an upload that was begun earlier goes on."""
    rows = yield SELECT_PUSH, {"repository": repository, "digest": digest}
    return rows[0][0] if rows else None


@operation
def forget_push(repository: str, digest: Digest) -> Steps[None]:
    """The upload has come to its end."""
    yield DELETE_PUSH, {"repository": repository, "digest": digest}


@operation
def forget_old_pushes(before: int) -> Steps[None]:
    """Forget uploads that nobody has touched since."""
    yield DELETE_OLD_PUSHES, {"before": before}
