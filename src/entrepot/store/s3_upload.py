"""An upload to S3: parts are sent while more bytes come, and what is too small for a part is kept for later.

Bytes are gathered into a part, and hashed on the way in threads; a full part is sent in the background. Until there
is a full part there is no multipart upload, so that a small blob costs a single PutObject. What remains at the end
of a request is kept in the state, or as an object if it is larger; if it is all there is, it is put right where it
belongs by its digest so far, so that a commit that follows has nothing left to do. A commit never copies.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, Sequence
from contextlib import suppress

from entrepot.digest import CANONICAL, Digest, require_match
from entrepot.errors import Corrupt, Unavailable, UploadBusy, UploadUnknown
from entrepot.store.base import UPLOAD_CLAIM, Checkpoint, Claims, StoredBlob, UploadState
from entrepot.store.claims import HeldClaim
from entrepot.store.s3_body import PartBody
from entrepot.store.s3_bucket import S3Bucket
from entrepot.store.s3_hashes import UploadHashes
from entrepot.store.s3_keys import Session, new_location, new_tail_path, record_location
from entrepot.store.s3_parts import may_be_part, part_size
from entrepot.store.s3_session import MultipartSession, SessionGone

WRITE_PIECE = 256 * 1024
MOST_INLINE = 256 * 1024
CHECKPOINT_BYTES = 64 * 1024 * 1024
CHECKPOINT_SECONDS = 10.0
_BLOBS = "blobs/"


class S3Upload:
    """See ``store.base.Upload``. One writer holds the claim on it, over all replicas."""

    def __init__(
        self, bucket: S3Bucket, claims: Claims, state: UploadState, body: PartBody, claim: HeldClaim | None
    ) -> None:
        self.id = state.id
        self._bucket = bucket
        self._claims = claims
        self._claim = claim
        self._hashes = UploadHashes.resume(state)
        self._parts = MultipartSession(bucket, state.id, _session(state), state.parts)
        self._body = body
        self._size = state.offset
        self._saved = state
        self._is_tail_read = not (state.tail or state.tail_location)
        self._superseded: list[str] = []
        self._pending: list[bytes] = []
        self._pending_size = 0
        self._absorbing: asyncio.Task[None] | None = None
        self._checked_at = asyncio.get_running_loop().time()
        self._checked_offset = state.offset
        self._checked_count = self._parts.count
        self._is_committed = False
        self._may_remain = False  # something in the bucket that no listing tells of
        self._has_lost_claim = False  # then all there is may be another's

    @property
    def size(self) -> int:
        return self._size

    async def write(self, chunks: AsyncIterable[bytes], *, checkpoint: Checkpoint | None = None) -> int:
        try:
            async for chunk in chunks:
                self._pending.append(chunk)
                self._pending_size += len(chunk)
                self._size += len(chunk)
                if self._pending_size >= WRITE_PIECE:
                    await self._absorb_behind()
                    await self._check(checkpoint)
            await self._absorb_behind()
            await self._let_end()
        except asyncio.CancelledError:
            if self._absorbing is not None:
                self._absorbing.cancel()
                await asyncio.wait({self._absorbing})
            raise
        except BaseException:
            await self._let_end()  # a failed write outweighs a peer that left
            await self._absorb(self._take_pending())
            raise
        return self._size

    async def _absorb_behind(self) -> None:
        await self._let_end()
        self._absorbing = asyncio.create_task(self._absorb(self._take_pending()))

    async def _let_end(self) -> None:
        if self._absorbing is not None:
            absorbing, self._absorbing = self._absorbing, None
            await absorbing

    def _take_pending(self) -> list[bytes]:
        pieces, self._pending, self._pending_size = self._pending, [], 0
        return pieces

    async def _absorb(self, pieces: Sequence[bytes]) -> None:
        if not any(pieces):
            return
        await self._read_tail()
        while pieces:
            wanted = part_size(self._parts.count, fixed=self._bucket.options.part_bytes)
            now, pieces = _split(pieces, wanted - self._body.size)
            await self._bucket.threads.run(self._take_in, now)
            if self._body.size == wanted:
                await self._cut()

    def _take_in(self, pieces: Sequence[bytes]) -> None:
        self._body.add(pieces)
        for piece in pieces:
            self._hashes.update(piece)

    async def _cut(self) -> None:
        """Send what is gathered as a part."""
        await self._hold()
        body, self._body = self._body, await self._bucket.new_body()
        await self._parts.send(body, self._hashes.save())

    async def _hold(self) -> None:
        """From when others can see something of the upload, it is claimed. Raises UploadBusy."""
        if self._claim is None:
            self._claim = await HeldClaim.take(self._claims, claim_name(self.id), wait_seconds=0)
        if self._claim is None:
            raise busy(self._saved)
        self._claim.require()

    async def _check(self, checkpoint: Checkpoint | None) -> None:
        if checkpoint is None or self._parts.count == self._checked_count:
            return
        self._checked_count = self._parts.count
        parts, hashes = self._parts.settled()
        offset = sum(part.size for part in parts)
        loop = asyncio.get_running_loop()
        is_due = loop.time() - self._checked_at >= CHECKPOINT_SECONDS and offset > self._checked_offset
        if hashes is None or not (is_due or offset - self._checked_offset >= CHECKPOINT_BYTES):
            return
        self._checked_at, self._checked_offset = loop.time(), offset
        session = str(self._parts.session)
        self._replace(UploadState(self.id, offset, dict(hashes), session, parts))
        await checkpoint(self._saved)  # what earlier states need stays: this request may still be refused

    def _replace(self, state: UploadState) -> None:
        if self._saved.tail_location and self._saved.tail_location != state.tail_location:
            self._superseded.append(self._saved.tail_location)
        self._saved = state

    async def _read_tail(self) -> None:
        if self._is_tail_read:
            return
        state = self._saved
        if state.tail:
            await self._bucket.threads.run(self._body.add, [state.tail])
        else:
            await self._fetch_tail(state)
        self._is_tail_read = True

    async def _fetch_tail(self, state: UploadState) -> None:
        size = state.offset - sum(part.size for part in state.parts)
        key = self._bucket.keys.below(state.tail_location)
        try:
            async with self._bucket.open(key, start=0, end=size, size=size) as pieces:
                async for piece in pieces:
                    await self._bucket.threads.run(self._body.add, [piece])
        except Corrupt as error:
            raise UploadUnknown(f"bytes of upload {self.id} are gone", upload=self.id) from error

    async def hash_again(self) -> None:
        """What a saved state of the hashes did not tell; not possible when there are parts already."""
        if self._hashes.is_known or self._parts.count:
            return
        await self._read_tail()
        self._hashes = UploadHashes({CANONICAL, *self._saved.hashes})
        await self._bucket.threads.run(self._body.update, self._hashes.running)

    async def save(self) -> UploadState:
        await self._hold()
        if self._saved.offset != self._size:
            await self._read_tail()
            fixed = self._bucket.options.part_bytes
            if self._parts.count and may_be_part(self._body.size, self._parts.count, fixed=fixed):
                await self._cut()
            await self._parts.settle()
            self._replace(await self._keep_remainder())
        return self._saved

    async def _keep_remainder(self) -> UploadState:
        parts, _ = self._parts.settled()
        session = str(self._parts.session or "")
        tail, path = b"", ""
        if self._body.size > MOST_INLINE:
            digest = self._hashes.digest()
            path = new_tail_path(self.id) if parts or digest is None else f"{_BLOBS}{new_location(digest)}"
            await self._bucket.put(self._bucket.keys.below(path), self._body)
        elif self._body.size:
            tail = await self._bucket.threads.run(self._body.as_bytes)
        return UploadState(self.id, self._size, self._hashes.save(), session, parts, tail, path)

    async def recorded(self) -> None:
        superseded, self._superseded = self._superseded, []
        for path in superseded:
            with suppress(Unavailable):  # the job that removes leftovers comes by
                await self._bucket.delete(self._bucket.keys.below(path))

    async def commit(self, digest: Digest) -> StoredBlob:
        if self._claim is not None:
            self._claim.require()
        stored = await (self._commit_parts(digest) if self._parts.count else self._commit_whole(digest))
        self._is_committed = True
        self._body.release()
        return stored

    async def _commit_whole(self, digest: Digest) -> StoredBlob:
        actual = self._hashes.digest(digest.algorithm)
        if actual is None:
            await self._read_tail()
            other = UploadHashes({digest.algorithm})
            await self._bucket.threads.run(self._body.update, other.running)
            actual = other.digest(digest.algorithm)
        canonical = self._require(digest, actual)
        path = self._saved.tail_location
        if self._saved.offset == self._size and path.startswith(_BLOBS):
            self._saved = UploadState(self.id, self._size)
            return StoredBlob(canonical, self._size, path.removeprefix(_BLOBS))
        await self._read_tail()
        location = new_location(canonical)
        await self._bucket.put(self._bucket.keys.record(location), self._body)
        self._replace(UploadState(self.id, self._size))
        return StoredBlob(canonical, self._size, location)

    async def _commit_parts(self, digest: Digest) -> StoredBlob:
        actual = self._hashes.digest(digest.algorithm)
        canonical = self._require(digest, actual) if actual is not None else None
        self._may_remain = True  # from when the parts are an object until its record is there
        try:
            await self._finish_parts()
        except SessionGone:  # an earlier commit was done, and only its answer was lost?
            await self._parts.require_complete(self._size)
        if canonical is None:  # no running hash can tell: read it
            digests = await self._parts.hash([CANONICAL, digest.algorithm])
            require_match(digest, Digest(digests[digest.algorithm]), self._size)
            canonical = Digest(digests[CANONICAL])
        assert self._parts.session is not None  # there are parts
        if self._claim is not None:
            self._claim.require()  # else the object may be taken for what a dead writer has left
        location = record_location(canonical, self.id, self._parts.session, self._size)
        await self._bucket.put_empty(self._bucket.keys.record(location))
        self._may_remain = False
        self._replace(UploadState(self.id, self._size))
        return StoredBlob(canonical, self._size, location)

    async def _finish_parts(self) -> None:
        await self._read_tail()
        if self._body.size:
            await self._cut()
        await self._parts.settle()
        await self._parts.complete()

    def _require(self, digest: Digest, actual: Digest | None) -> Digest:
        canonical = self._hashes.digest()
        assert actual is not None  # known by now, as all others
        assert canonical is not None
        require_match(digest, actual, self._size)
        return canonical

    async def cancel(self) -> None:
        await self._stop()
        if self._claim is not None:
            self._has_lost_claim = self._claim.is_lost
        if not self._is_committed and not self._has_lost_claim:
            self._is_committed = True  # nothing of it is there any more
            may_remain, self._may_remain = self._may_remain, True
            await self._parts.abort()
            self._may_remain = may_remain
            self._replace(UploadState(self.id))
            await self.recorded()
        await self.close()

    async def close(self) -> None:
        await self._stop()
        self._body.release()
        if self._claim is not None:
            self._has_lost_claim = self._has_lost_claim or self._claim.is_lost
            claim, self._claim = self._claim, None
            await claim.drop(is_clean=not self._may_remain)

    async def _stop(self) -> None:
        if self._absorbing is not None:
            self._absorbing.cancel()
            await asyncio.wait({self._absorbing})
            self._absorbing = None
        await self._parts.stop()


def claim_name(upload_id: str) -> str:
    return f"{UPLOAD_CLAIM}{upload_id}"


def busy(state: UploadState) -> UploadBusy:
    return UploadBusy(
        f"upload {state.id} is being written by another request; it holds {state.offset} bytes so far",
        offset=state.offset,
        upload=state.id,
    )


def _session(state: UploadState) -> Session | None:
    return Session.parse(state.session) if state.session else None


def _split(pieces: Sequence[bytes], size: int) -> tuple[list[bytes], list[bytes]]:
    """The first ``size`` bytes, and what is left."""
    first: list[bytes] = []
    for index, piece in enumerate(pieces):
        if len(piece) >= size:
            rest = [piece[size:]] if len(piece) > size else []
            return [*first, piece[:size]], [*rest, *pieces[index + 1 :]]
        first.append(piece)
        size -= len(piece)
    return first, []
