"""What a writer that died has left of an upload.

Its multipart uploads that are open, and its remainders, can be seen in listings. What cannot is an object that was
made of the parts and whose record below ``blobs/`` was not put any more: it looks like the bytes of any blob. Whether
it is one is told by its digest, and that only by reading it.
"""

from __future__ import annotations

from entrepot.digest import CANONICAL
from entrepot.store.base import IsRecorded, StoredBlob
from entrepot.store.claims import HeldClaim
from entrepot.store.s3_bucket import S3Bucket
from entrepot.store.s3_keys import Session, record_location
from entrepot.store.s3_open_uploads import walk_sessions
from entrepot.store.s3_session import abort


async def remove_remains(bucket: S3Bucket, upload_id: str, is_recorded: IsRecorded, claim: HeldClaim) -> None:
    """Remove it all, but for bytes of blobs. Raises UploadBusy when the claim is lost, Corrupt when bytes vanish."""
    async for state in walk_sessions(bucket, upload_id):
        await abort(bucket, state.id, Session.parse(state.session))
    await _remove_objects(bucket, upload_id, is_recorded, claim)
    async for key, _ in bucket.list_objects(bucket.keys.upload_tails(upload_id)):
        if bucket.keys.parse_tail(key) == upload_id:
            await bucket.delete(key)


async def _remove_objects(bucket: S3Bucket, upload_id: str, is_recorded: IsRecorded, claim: HeldClaim) -> None:
    async for key, size in bucket.list_objects(bucket.keys.upload_data(upload_id)):
        found = bucket.keys.parse_data(key)
        if found is None or found[0] != upload_id:
            continue
        stored = await _as_blob(bucket, key, size, upload_id, Session(found[1], ""))
        if await _is_kept(bucket, stored) or await is_recorded(stored):
            continue
        claim.require()
        await bucket.delete(key)


async def _as_blob(bucket: S3Bucket, key: str, size: int, upload_id: str, session: Session) -> StoredBlob:
    digest = (await bucket.hash(key))[CANONICAL]
    return StoredBlob(digest, size, record_location(digest, upload_id, session, size))


async def _is_kept(bucket: S3Bucket, stored: StoredBlob) -> bool:
    """Whether it has a record, also one that was taken out because the bytes are damaged."""
    if await bucket.size_of(bucket.keys.record(stored.location)) is not None:
        return True
    name, _, _ = stored.location.rpartition("/")[2].partition(".")  # the size may be another now
    return any([f"/{name}." in key async for key, _ in bucket.list_objects(bucket.keys.quarantined)])
