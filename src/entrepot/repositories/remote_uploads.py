"""Uploads to a registry elsewhere (distribution-spec, "Pushing blobs"); ``remote_push.py`` sends blobs by them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import urlsplit

from entrepot.auth.scope import Scope
from entrepot.digest import CANONICAL, Digest
from entrepot.errors import (
    AccessDenied,
    BlobUnknown,
    Invalid,
    NotFound,
    RegistryError,
    Unauthenticated,
    Unsupported,
    UploadInvalid,
    UploadRangeInvalid,
    UploadUnknown,
)
from entrepot.reference import RepositoryName
from entrepot.repositories.base import Chunk
from entrepot.transport.base import Body
from entrepot.transport.client import Answer, Call, Transport
from entrepot.transport.redirects import require_allowed, resolved
from entrepot.wire import routes
from entrepot.wire.errors import decode
from entrepot.wire.responses import parse_upload_range

_DISCARD_SECONDS = 2.0
_NOT_MOUNTED = (AccessDenied, Invalid, NotFound, Unauthenticated, Unsupported)  # then it has to be sent
_CONFLICT = 416
_GONE = 404


@dataclass(slots=True)
class _Known:
    """What the registry has said last of an upload."""

    url: str
    size: int = 0


@dataclass(slots=True)
class RemoteUploads:
    """The uploads of one repository.

    The id of an upload is the name of the repository, ``@``, and the first address that the registry gave it.
    """

    transport: Transport
    domain: str
    name: RepositoryName
    _known: dict[str, _Known] = field(default_factory=dict)

    async def put(self, digest: Digest, chunk: Chunk) -> int:
        """A blob whose bytes can be had once only. Returns its size."""
        upload_id = await self.begin(digest.algorithm)
        try:
            size = await self.append(upload_id, chunk)
            await self.close(upload_id, digest)
        except BaseException:
            await self.discard(upload_id)
            raise
        return size

    async def mount(self, digest: Digest, source: RepositoryName | None) -> bool:
        """Whether the registry has taken the blob over from ``source``."""
        query = {"mount": str(digest), **({"from": str(source)} if source else {})}
        scopes = {Scope.push(self.name), *([Scope.pull(source)] if source else [])}
        call = self._call("POST", query=query, accept=frozenset({201, 202}), scopes=frozenset(scopes))
        try:
            async with self.transport.open(call) as answer:
                if answer.status == 201:
                    return True
                upload_id = self._begun(answer)
        except _NOT_MOUNTED:  # registries refuse it in many ways; an upload will say what is really wrong
            return False
        await self.discard(upload_id)
        return False

    async def begin(self, algorithm: str = CANONICAL) -> str:
        query = {} if algorithm == CANONICAL else {"digest-algorithm": algorithm}
        async with self.transport.open(self._call("POST", query=query, accept=frozenset({202}))) as answer:
            return self._begun(answer)

    async def offset(self, upload_id: str) -> int:
        """How many bytes the registry has kept. Raises UploadUnknown."""
        return await self.status(upload_id) or 0

    async def status(self, upload_id: str) -> int | None:
        """How many bytes the registry has kept, None when it does not say. Raises UploadUnknown.

        Of 0 and 1 it may be the other one: the wire has the same words for both.
        """
        async with self._open("GET", upload_id, accept=frozenset({200, 202, 204})) as answer:
            kept = parse_upload_range(answer.headers.get("range", ""), sent=self._at(upload_id).size)
        if kept is not None:
            self._at(upload_id).size = kept
        return kept

    async def append(self, upload_id: str, chunk: Chunk) -> int:
        """As in the contract. Pieces that are an iterable, no iterator, may be sent again after a new login."""
        headers = {"content-type": "application/octet-stream"}
        if chunk.start is not None and chunk.length:
            headers["content-range"] = f"{chunk.start}-{chunk.start + chunk.length - 1}"
        elif chunk.start is not None:  # cannot be said in a header: there is no end
            await self._require_offset(upload_id, chunk.start)
        counted = _Counted(chunk)
        body = Body(chunk.length, counted.pieces, is_repeatable=not isinstance(chunk.pieces, AsyncIterator))
        accept = frozenset({202, 204, _CONFLICT})
        async with self._open("PATCH", upload_id, headers=headers, body=body, accept=accept, retry=False) as answer:
            refusal = await _read_refusal(answer) if answer.status == _CONFLICT else None
            kept = parse_upload_range(answer.headers.get("range", ""), sent=counted.size)
        if refusal is not None:
            raise await self._conflict(upload_id, refusal, kept)
        self._at(upload_id).size = counted.size if kept is None else kept
        return self._at(upload_id).size

    async def finish(self, upload_id: str, digest: Digest, chunk: Chunk) -> None:
        """As in the contract."""
        rest = await _unless_empty(chunk)
        if rest is not None:
            await self.append(upload_id, rest)
        elif chunk.start is not None:
            await self._require_offset(upload_id, chunk.start)
        await self.close(upload_id, digest)

    async def close(self, upload_id: str, digest: Digest, body: Body | None = None) -> None:
        """Make a blob of what was sent, and of ``body`` after that. Raises UploadUnknown, DigestInvalid."""
        async with self._open(
            "PUT",
            upload_id,
            headers={"content-type": "application/octet-stream"} if body else {},
            query={"digest": str(digest)},
            body=body or Body.of(b""),
            accept=frozenset({201, 202, 204}),
            accept_when_repeated=frozenset({_GONE}),
            retry=body is None,
        ) as answer:
            is_gone = answer.status == _GONE
        if is_gone and not await self.has(digest):  # if it is there, the answer that was lost said so
            raise UploadUnknown(f"upload {upload_id} has ended and left no blob", name=self.name, upload=upload_id)
        self._known.pop(upload_id, None)

    async def cancel(self, upload_id: str) -> None:
        async with self._open("DELETE", upload_id, accept=frozenset({200, 202, 204})):
            pass
        self._known.pop(upload_id, None)

    async def discard(self, upload_id: str) -> None:
        """Cancel it if that can be done at once; registries forget uploads that nobody goes on with."""
        with suppress(RegistryError, TimeoutError):
            async with asyncio.timeout(_DISCARD_SECONDS):
                async with self._open("DELETE", upload_id, accept=frozenset({200, 202, 204}), retry=False):
                    pass
        self._known.pop(upload_id, None)

    async def has(self, digest: Digest) -> bool:
        """Whether the blob is there. Raises when the registry cannot tell."""
        call = replace(self._call("HEAD", absent=BlobUnknown), path=lambda name: routes.blob_path(name, digest))
        try:
            async with self.transport.open(call):
                return True
        except NotFound:
            return False

    def id_of(self, address: str) -> str:
        """The id of an upload of an earlier run."""
        return f"{self.name}@{address}"

    def address(self, upload_id: str) -> str:
        """Where the upload goes on now."""
        return self._at(upload_id).url

    async def _require_offset(self, upload_id: str, start: int) -> None:
        offset = await self.offset(upload_id)
        if offset != start:
            raise UploadRangeInvalid(f"the upload ends at byte {offset}, not at {start}", offset=offset)

    async def _conflict(self, upload_id: str, refusal: Exception, kept: int | None) -> UploadRangeInvalid:
        if isinstance(refusal, UploadRangeInvalid):
            return refusal
        offset = await self.offset(upload_id) if kept is None else kept
        return UploadRangeInvalid(f"{self.domain} wants the upload to go on at byte {offset}", offset=offset)

    @asynccontextmanager
    async def _open(self, method: str, upload_id: str, **more: Any) -> AsyncIterator[Answer]:
        known = self._at(upload_id)
        try:
            async with self.transport.open(self._call(method, url=known.url, **more)) as answer:
                known.url = _location(answer) or known.url
                yield answer
        except UploadUnknown as error:
            self._known.pop(upload_id, None)
            error.detail["upload"] = upload_id
            raise

    def _call(self, method: str, **more: Any) -> Call:
        options: dict[str, Any] = {"scopes": frozenset({Scope.push(self.name)}), "absent": UploadUnknown, **more}
        return Call(method=method, domain=self.domain, name=self.name, path=routes.uploads_path, **options)

    def _begun(self, answer: Answer) -> str:
        location = _location(answer)
        if location is None:
            raise UploadInvalid(f"{self.domain} began an upload and did not say where: no Location", header="Location")
        return self.id_of(location)

    def _at(self, upload_id: str) -> _Known:
        name, _, url = upload_id.partition("@")
        if name != self.name or not url:
            raise UploadUnknown(f"no upload {upload_id} in {self.name}", name=self.name, upload=upload_id)
        return self._known.setdefault(upload_id, _Known(url))


class _Counted:
    """A chunk's pieces, counted from where the chunk begins."""

    def __init__(self, chunk: Chunk) -> None:
        self._chunk = chunk
        self.size = chunk.start or 0

    async def pieces(self) -> AsyncIterator[bytes]:
        self.size = self._chunk.start or 0
        async for piece in self._chunk.pieces:
            self.size += len(piece)
            yield piece


async def _unless_empty(chunk: Chunk) -> Chunk | None:
    """The chunk, None when it has no bytes: some registries refuse a PATCH without any."""
    if chunk.length is not None:
        return chunk if chunk.length else None
    pieces = aiter(chunk.pieces)
    async for first in pieces:
        if first:
            return replace(chunk, pieces=_chained(first, pieces))
    return None


async def _chained(first: bytes, rest: AsyncIterable[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for piece in rest:
        yield piece


async def _read_refusal(answer: Answer) -> Exception:
    return decode(answer.status, await answer.read_beginning(), absent=UploadUnknown)


def _location(answer: Answer) -> str | None:
    """Where the upload goes on. Raises AccessDenied for an address that a registry has no business to name."""
    location = answer.headers.get("location")
    if not location or answer.status == 201:  # then it is where the blob is
        return None
    old, new = urlsplit(answer.url), urlsplit(resolved(answer.url, location))
    if new.hostname == old.hostname and (old.scheme, new.scheme) == ("https", "http"):
        new = new._replace(scheme="https", netloc=old.netloc)  # the registry does not know of the TLS in front of it
    require_allowed(old, new)
    return new._replace(fragment="").geturl()
