"""Sends a blob to a registry elsewhere, however often the connection breaks.

A small one goes in one PUT. A larger one goes in one PATCH that may break off: then the registry is asked how much it
has kept, and the rest is sent; also by a later run of the program, when the address of the upload was remembered.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Protocol

from entrepot.digest import Digest
from entrepot.errors import (
    DigestInvalid,
    NotFound,
    RegistryError,
    RequestTimeout,
    Unavailable,
    UploadInvalid,
    UploadRangeInvalid,
    UploadUnknown,
)
from entrepot.progress import Kind
from entrepot.repositories.base import Blob, Chunk, Sent
from entrepot.repositories.remote_uploads import RemoteUploads
from entrepot.transport.base import Body
from entrepot.transport.retry import GOOD_PROGRESS, Tries

IN_ONE_REQUEST = 1024 * 1024  # bytes of a blob that is not worth an upload that can be resumed
_LATER = (Unavailable, RequestTimeout)
# after a broken request some registries find their own upload invalid, and take a new one
_WORTH_A_RETRY = (*_LATER, UploadRangeInvalid, UploadInvalid)


class PushMemory(Protocol):
    """Remembers the addresses of unfinished uploads from one run to the next."""

    async def find(self, domain: str, name: str, digest: Digest) -> str | None: ...

    async def remember(self, domain: str, name: str, digest: Digest, location: str) -> None: ...

    async def forget(self, domain: str, name: str, digest: Digest) -> None: ...


async def push_blob(uploads: RemoteUploads, memory: PushMemory | None, blob: Blob, sent: Sent) -> None:
    """Send a blob that can be read again from any place. Raises what the registry says when it refuses it."""
    if blob.size <= IN_ONE_REQUEST:
        await _push_small(uploads, blob)
        sent(blob.size)
    else:
        await _Push(uploads, memory, blob, sent).run()


async def _push_small(uploads: RemoteUploads, blob: Blob) -> None:
    tries = uploads.transport.retry.begin(kind=Kind.LAYER, digest=blob.digest)
    while True:
        upload_id = await uploads.begin(blob.digest.algorithm)
        try:
            await uploads.close(upload_id, blob.digest, Body(blob.size, lambda: _read(blob, 0)))
            return
        except (*_WORTH_A_RETRY, UploadUnknown) as error:
            if await uploads.has(blob.digest):
                return
            await uploads.discard(upload_id)
            await tries.wait_after(error)
        except BaseException:
            await uploads.discard(upload_id)
            raise


@dataclass(slots=True)
class _Push:
    """The upload of one large blob. ``upload_id`` is empty as long as there is none."""

    uploads: RemoteUploads
    memory: PushMemory | None
    blob: Blob
    sent: Sent
    upload_id: str = ""
    offset: int = 0
    was_resumed: bool = False

    async def run(self) -> None:
        tries = self.uploads.transport.retry.begin(kind=Kind.LAYER, digest=self.blob.digest)
        await self._take_up()
        while not await self._try(tries):
            pass
        await self._forget()

    async def _try(self, tries: Tries) -> bool:
        """Send what is missing. Whether the blob is there now; raises when another try is not worth it."""
        before = self.offset
        try:
            if not self.upload_id:
                await self._begin()
            await self._send_rest()
            await self.uploads.close(self.upload_id, self.blob.digest)
            return True
        except UploadUnknown as error:  # expired, or closed by a request whose answer was lost
            if await self.uploads.has(self.blob.digest):
                return True
            await self._start_over()
            await tries.wait_after(error)
        except _WORTH_A_RETRY as error:
            await tries.wait_after(error)
            return await self._ask(tries, before)
        except DigestInvalid as error:
            was_resumed = self.was_resumed
            await self._start_over()
            if not was_resumed:
                raise
            await tries.wait_after(error)  # what was kept may be what is wrong
        except RegistryError:
            await self._start_over()
            raise
        return False

    async def _take_up(self) -> None:
        """Go on with the upload of an earlier run, if it is still there."""
        known = await self.memory.find(*self._key) if self.memory else None
        if known is None:
            return
        self.upload_id = self.uploads.id_of(known)
        try:
            kept = await self.uploads.status(self.upload_id)
        except _LATER:
            raise
        except RegistryError:  # gone, or the registry does not tell
            kept = None
        if not self._go_on_at(kept):
            await self._start_over()

    async def _begin(self) -> None:
        self.upload_id = await self.uploads.begin(self.blob.digest.algorithm)
        self.offset, self.was_resumed = 0, False
        await self._remember()

    async def _send_rest(self) -> None:
        missing = self.blob.size - self.offset
        if missing:  # a first chunk needs no place, and is taken then by registries that know no chunks
            chunk = Chunk(_Rest(self), start=self.offset or None, length=missing)
            self.offset = await self.uploads.append(self.upload_id, chunk)
            await self._remember()
        if self.offset != self.blob.size:
            raise UploadRangeInvalid(
                f"the registry has {self.offset} of {self.blob.size} bytes of {self.blob.digest}", offset=self.offset
            )

    async def pieces(self) -> AsyncIterator[bytes]:
        """The bytes that are to be sent now."""
        done = self.offset
        self.sent(done)
        async for piece in _read(self.blob, done):
            yield piece
            done += len(piece)
            self.sent(done)

    async def _ask(self, tries: Tries, before: int) -> bool:
        """Find out what was kept, to go on there or to start over. Whether the blob is there already."""
        if not self.upload_id:
            return False
        try:
            kept = await self.uploads.status(self.upload_id)
        except NotFound:
            if await self.uploads.has(self.blob.digest):
                return True
            kept = None
        except _LATER:
            raise
        except RegistryError:  # registries need not tell
            kept = None
        if not self._go_on_at(kept):
            await self._start_over()
        elif self.offset - before > GOOD_PROGRESS:
            tries.progressed()
        return False

    def _go_on_at(self, kept: int | None) -> bool:
        """Whether so many bytes make sense; one or none is not worth it, and one cannot tell which it is."""
        if kept is None or not 1 < kept <= self.blob.size:
            return False
        self.offset, self.was_resumed = kept, True
        return True

    async def _start_over(self) -> None:
        if self.upload_id:
            await self.uploads.discard(self.upload_id)
        self.upload_id, self.offset = "", 0
        await self._forget()

    @property
    def _key(self) -> tuple[str, str, Digest]:
        return self.uploads.domain, self.uploads.name, self.blob.digest

    async def _remember(self) -> None:
        if self.memory is not None:
            await self.memory.remember(*self._key, self.uploads.address(self.upload_id))

    async def _forget(self) -> None:
        if self.memory is not None:
            await self.memory.forget(*self._key)


@dataclass(frozen=True, slots=True)
class _Rest:
    """The bytes that a push has to send now, from their beginning each time they are asked for."""

    push: _Push

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self.push.pieces()


async def _read(blob: Blob, start: int) -> AsyncIterator[bytes]:
    async with blob.open(start=start) as pieces:
        async for piece in pieces:
            yield piece
