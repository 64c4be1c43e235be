"""Uploads to a registry elsewhere (distribution-spec, "Pushing blobs").

A small blob goes in one PUT. A larger one goes in one PATCH that may break off: then the registry is asked how much it
has kept, and the rest is sent; also by a later run of the program, when the address of the upload was remembered.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import urljoin, urlsplit, urlunsplit

from entrepot.auth.scope import Scope
from entrepot.digest import CANONICAL, Digest
from entrepot.errors import (
    BlobUnknown,
    NotFound,
    RegistryError,
    RequestTimeout,
    SizeInvalid,
    Unavailable,
    UploadInvalid,
    UploadRangeInvalid,
    UploadUnknown,
)
from entrepot.progress import Kind
from entrepot.reference import RepositoryName
from entrepot.repositories.base import Blob, Chunk, Sent
from entrepot.transport.base import Body
from entrepot.transport.client import Answer, Call, Transport
from entrepot.transport.redirects import require_allowed
from entrepot.transport.retry import GOOD_PROGRESS, Tries
from entrepot.wire import routes
from entrepot.wire.responses import parse_upload_range

IN_ONE_REQUEST = 1024 * 1024  # bytes of a blob that is not worth an upload that can be resumed
_WORTH_A_RETRY = (Unavailable, RequestTimeout, UploadRangeInvalid)


class PushMemory(Protocol):
    """Remembers the addresses of unfinished uploads from one run to the next."""

    async def find(self, domain: str, name: str, digest: Digest) -> str | None: ...

    async def remember(self, domain: str, name: str, digest: Digest, location: str) -> None: ...

    async def forget(self, domain: str, name: str, digest: Digest) -> None: ...


@dataclass(slots=True)
class RemoteUploads:
    """The uploads of one repository. The id of an upload is the first address that the registry gave it."""

    transport: Transport
    domain: str
    name: RepositoryName
    memory: PushMemory | None = None
    _current: dict[str, str] = field(default_factory=dict)  # latest address by the first

    async def push(self, blob: Blob, sent: Sent) -> None:
        """Send a blob that can be read again from any place."""
        if blob.size <= IN_ONE_REQUEST:
            await self._push_small(blob)
            sent(blob.size)
        else:
            await _Push(self, blob, sent).run()

    async def _push_small(self, blob: Blob) -> None:
        tries = self.transport.retry.begin(kind=Kind.LAYER, digest=blob.digest)
        while True:
            try:
                upload_id = await self.begin(blob.digest.algorithm)
                await self._finish(upload_id, blob.digest, Body(blob.size, lambda: _read(blob, 0)))
                return
            except (*_WORTH_A_RETRY, UploadUnknown) as error:
                if await self.has(blob.digest):
                    return
                await tries.wait_after(error)

    async def put(self, digest: Digest, chunk: Chunk) -> int:
        """A blob whose bytes can be had once only. Returns its size."""
        upload_id = await self.begin(digest.algorithm)
        size = await self.append(upload_id, chunk)
        await self._finish(upload_id, digest, None)
        return size

    async def mount(self, digest: Digest, source: RepositoryName | None) -> bool:
        """Whether the registry has taken the blob over from ``source``."""
        query = {"mount": str(digest), **({"from": str(source)} if source else {})}
        scopes = {Scope.push(self.name), *([Scope.pull(source)] if source else [])}
        call = self._call("POST", query=query, accept=frozenset({201, 202}), scopes=frozenset(scopes))
        async with self.transport.open(call) as answer:
            if answer.status == 201:
                return True
            upload_id = self._begun(answer)
        await self.cancel(upload_id)
        return False

    async def begin(self, algorithm: str = CANONICAL) -> str:
        query = {} if algorithm == CANONICAL else {"digest-algorithm": algorithm}
        async with self.transport.open(self._call("POST", query=query, accept=frozenset({202}))) as answer:
            return self._begun(answer)

    async def offset(self, upload_id: str) -> int:
        """How many bytes the registry has kept. Raises UploadUnknown."""
        call = self._call("GET", upload_id, accept=frozenset({204, 200, 202}))
        async with self.transport.open(call) as answer:
            self._moved(upload_id, answer)
            return parse_upload_range(answer.headers.get("range", "")) or 0

    async def append(self, upload_id: str, chunk: Chunk) -> int:
        counted = _Counted(chunk)
        headers = {"content-type": "application/octet-stream"}
        if chunk.start is not None and chunk.length is None:  # cannot be said in a header: no end is known
            await self._require_offset(upload_id, chunk.start)
        elif chunk.start is not None and chunk.length:
            headers["content-range"] = f"{chunk.start}-{chunk.start + chunk.length - 1}"
        body = Body(chunk.length, lambda: counted.pieces())
        call = self._call("PATCH", upload_id, headers=headers, body=body, accept=frozenset({202, 204}), retry=False)
        async with self.transport.open(call) as answer:
            self._moved(upload_id, answer)
            kept = parse_upload_range(answer.headers.get("range", ""), sent=counted.size)
            return counted.size if kept is None else kept

    async def _require_offset(self, upload_id: str, start: int) -> None:
        offset = await self.offset(upload_id)
        if offset != start:
            raise UploadRangeInvalid(f"the upload ends at byte {offset}, not at {start}", offset=offset)

    async def finish(self, upload_id: str, digest: Digest, chunk: Chunk) -> None:
        await self.append(upload_id, chunk)
        await self._finish(upload_id, digest, None)

    async def cancel(self, upload_id: str) -> None:
        call = self._call("DELETE", upload_id, accept=frozenset({200, 202, 204}))
        async with self.transport.open(call):
            self._current.pop(upload_id, None)

    async def has(self, digest: Digest) -> bool:
        """Whether the blob is there. Raises when the registry cannot tell."""
        call = self._call("HEAD", scopes=frozenset({Scope.push(self.name)}), absent=BlobUnknown)
        call = _at(call, lambda name: routes.blob_path(name, digest))
        try:
            async with self.transport.open(call):
                return True
        except NotFound:
            return False

    async def _finish(self, upload_id: str, digest: Digest, body: Body | None) -> None:
        headers = {"content-type": "application/octet-stream"} if body else {"content-length": "0"}
        call = self._call(
            "PUT",
            upload_id,
            headers=headers,
            query={"digest": str(digest)},
            body=body or Body.of(b""),
            accept=frozenset({201, 202, 204}),
            retry=body is None,
        )
        async with self.transport.open(call):
            self._current.pop(upload_id, None)

    def _call(self, method: str, upload_id: str | None = None, **more: Any) -> Call:
        url = self._current.get(upload_id, upload_id) if upload_id else None
        options: dict[str, Any] = {"scopes": frozenset({Scope.push(self.name)}), "absent": UploadUnknown, **more}
        return Call(method=method, domain=self.domain, name=self.name, path=routes.uploads_path, url=url, **options)

    def _begun(self, answer: Answer) -> str:
        location = _location(answer)
        if location is None:
            raise UploadInvalid(f"{self.domain} began an upload and did not say where: no Location", header="Location")
        return location

    def _moved(self, upload_id: str, answer: Answer) -> None:
        location = _location(answer)
        if location is not None:
            self._current[upload_id] = location

    def address(self, upload_id: str) -> str:
        """Where the upload goes on now."""
        return self._current.get(upload_id, upload_id)


class _Push:
    """The upload of one large blob, however often it breaks off."""

    def __init__(self, uploads: RemoteUploads, blob: Blob, sent: Sent) -> None:
        self._uploads = uploads
        self._blob = blob
        self._sent = sent
        self._upload_id = ""
        self._offset = 0

    async def run(self) -> None:
        tries = self._uploads.transport.retry.begin(kind=Kind.LAYER, digest=self._blob.digest)
        await self._take_up()
        while True:
            before = self._offset
            try:
                if not self._upload_id:
                    await self._begin()
                await self._send_rest()
                await self._close()
                return
            except UploadUnknown as error:  # expired, or closed by a request whose answer was lost
                if await self._uploads.has(self._blob.digest):
                    await self._forget()
                    return
                self._upload_id, self._offset = "", 0
                await tries.wait_after(error)
            except _WORTH_A_RETRY as error:
                await tries.wait_after(error)
                await self._ask(tries, before)

    async def _take_up(self) -> None:
        """Go on with the upload of an earlier run, if it is still there."""
        memory, uploads = self._uploads.memory, self._uploads
        if memory is None:
            return
        known = await memory.find(uploads.domain, uploads.name, self._blob.digest)
        if known is None:
            return
        try:
            self._offset = await uploads.offset(known)
            self._upload_id = known
        except RegistryError:  # gone, or the registry does not tell: begin anew
            await self._forget()
        if self._offset > self._blob.size:
            self._upload_id, self._offset = "", 0

    async def _begin(self) -> None:
        self._upload_id = await self._uploads.begin(self._blob.digest.algorithm)
        self._offset = 0
        await self._remember()

    async def _send_rest(self) -> None:
        if self._offset < self._blob.size:
            chunk = Chunk(self._pieces(), start=self._offset, length=self._blob.size - self._offset)
            self._offset = await self._uploads.append(self._upload_id, chunk)
            await self._remember()
        if self._offset != self._blob.size:
            raise UploadRangeInvalid(
                f"the registry has {self._offset} of {self._blob.size} bytes of {self._blob.digest}",
                offset=self._offset,
            )

    async def _pieces(self) -> AsyncIterator[bytes]:
        done = self._offset
        self._sent(done)
        async for piece in _read(self._blob, done):
            yield piece
            done += len(piece)
            self._sent(done)

    async def _close(self) -> None:
        await self._uploads._finish(self._upload_id, self._blob.digest, None)
        await self._forget()

    async def _ask(self, tries: Tries, before: int) -> None:
        """Find out what was kept; an upload that is gone begins again."""
        try:
            self._offset = await self._uploads.offset(self._upload_id) if self._upload_id else 0
        except NotFound:
            if not await self._uploads.has(self._blob.digest):
                self._upload_id = ""
            self._offset = 0 if not self._upload_id else self._offset
        if self._offset > self._blob.size:
            raise SizeInvalid(
                f"the registry says it has {self._offset} bytes of a blob of {self._blob.size}",
                expected=self._blob.size,
                actual=self._offset,
            )
        if self._offset - before > GOOD_PROGRESS:
            tries.progressed()

    async def _remember(self) -> None:
        memory, uploads = self._uploads.memory, self._uploads
        if memory is not None:
            await memory.remember(uploads.domain, uploads.name, self._blob.digest, uploads.address(self._upload_id))

    async def _forget(self) -> None:
        memory, uploads = self._uploads.memory, self._uploads
        if memory is not None:
            await memory.forget(uploads.domain, uploads.name, self._blob.digest)


class _Counted:
    """A chunk's pieces, counted and held to the announced length."""

    def __init__(self, chunk: Chunk) -> None:
        self._chunk = chunk
        self.size = chunk.start or 0

    async def pieces(self) -> AsyncIterator[bytes]:
        async for piece in self._chunk.pieces:
            self.size += len(piece)
            yield piece


async def _read(blob: Blob, start: int) -> AsyncIterator[bytes]:
    async with blob.open(start=start) as pieces:
        async for piece in pieces:
            yield piece


def _at(call: Call, path: Any) -> Call:
    return Call(**{name: getattr(call, name) for name in Call.__slots__} | {"path": path, "url": None})


def _location(answer: Answer) -> str | None:
    """Where the upload goes on. Raises AccessDenied for an address that a registry has no business to name."""
    location = answer.headers.get("location")
    if not location:
        return None
    old, new = urlsplit(answer.url), urlsplit(urljoin(answer.url, location))
    if new.hostname == old.hostname and (old.scheme, new.scheme) == ("https", "http"):
        new = new._replace(scheme="https", netloc=old.netloc)  # the registry does not know of the TLS in front of it
    require_allowed(old, new)
    return urlunsplit(new)
