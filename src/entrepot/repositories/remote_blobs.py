"""Blobs of a registry elsewhere: read with resumption, every byte in its place (distribution-spec, "Pulling blobs")."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from dataclasses import dataclass, field

from entrepot.auth.scope import Scope
from entrepot.digest import Digest
from entrepot.errors import BlobUnknown, RangeInvalid, RegistryError, SizeInvalid, Unsupported
from entrepot.progress import Kind
from entrepot.transport.base import ConnectionFailed
from entrepot.transport.client import Answer, Call, Transport
from entrepot.transport.retry import GOOD_PROGRESS
from entrepot.wire.responses import parse_content_range_206
from entrepot.wire.routes import blob_path


class RangesUnsupported(Unsupported):
    """The registry sends blobs from their beginning only."""


@dataclass(slots=True)
class Source:
    """Where the bytes of one blob come from; learnt with the first answer and shared by all who read it.

    ``etag`` is what the bytes that are there already came with, also those of an earlier run. When the registry has
    others now it sends them from the beginning; those that are there are passed over then, and the digest decides.
    """

    etag: str | None = None
    ranges: bool = True  # False once a part was asked for and another one came
    mirrors: bool = True  # False once a mirror's bytes broke off or were wrong


@dataclass(frozen=True, slots=True)
class RemoteBlob:
    """A blob of a registry. ``size`` is what was announced: more or fewer bytes are an error."""

    transport: Transport
    domain: str
    name: str
    digest: Digest
    size: int
    source: Source = field(default_factory=Source)

    @property
    def validator(self) -> str | None:
        """The ETag of what came last."""
        return self.source.etag

    def expect(self, validator: str | None) -> None:
        """The ETag of the bytes that are there already."""
        self.source.etag = validator

    def open(self, *, start: int = 0, end: int | None = None) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        return self._open(start, self.size if end is None else min(end, self.size), may_skip=True)

    def open_span(self, start: int, end: int) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """Like ``open``, but raises RangesUnsupported instead of reading past what is not wanted."""
        return self._open(start, end, may_skip=False)

    @asynccontextmanager
    async def _open(self, start: int, end: int, *, may_skip: bool) -> AsyncIterator[AsyncIterator[bytes]]:
        async with aclosing(self._read(start, end, may_skip)) as pieces:
            yield pieces

    async def _read(self, start: int, end: int, may_skip: bool) -> AsyncGenerator[bytes, None]:
        tries = self.transport.retry.begin(kind=Kind.LAYER, digest=self.digest)
        position = good_until = start
        while position < end:
            answer: Answer | None = None
            try:
                async with self.transport.open(self._call(position, end, may_skip)) as answer:
                    skip = self._skipped(answer, position, end, may_skip)
                    async for piece in self._exactly(answer, skip, end - position, is_cut=end < self.size):
                        position += len(piece)
                        yield piece
                        if position - good_until > GOOD_PROGRESS:
                            good_until = position
                            tries.progressed()
                if position < end:
                    raise ConnectionFailed(f"{self.digest} broke off after {position} of {self.size} bytes")
            except (ConnectionFailed, SizeInvalid, RangeInvalid) as error:
                if isinstance(error, ConnectionFailed) and position >= end:
                    return  # it broke when all was there
                if isinstance(error, RangeInvalid) and not may_skip:
                    raise RangesUnsupported(error.message, registry=self.domain) from error
                self._require_hope(error, answer)
                await tries.wait_after(error)

    def _require_hope(self, error: RegistryError, answer: Answer | None) -> None:
        """Raises ``error`` when the same would come again; otherwise sees to it that something else is tried."""
        if answer is not None and answer.is_mirror:
            self.source.mirrors, self.source.etag, self.source.ranges = False, None, True
        elif isinstance(error, RangeInvalid) and self.source.ranges:
            self.source.ranges = False
        elif answer is None or not isinstance(error, ConnectionFailed):  # the transport has tried it often enough
            raise error

    async def _exactly(self, answer: Answer, skip: int, length: int, *, is_cut: bool) -> AsyncIterator[bytes]:
        async for piece in answer.pieces():
            if skip:
                kept = piece[skip:]
                skip -= len(piece) - len(kept)
                piece = kept
            if len(piece) > length and not is_cut:
                raise SizeInvalid(
                    f"{self.digest} was announced with {self.size} bytes, and more came",
                    digest=self.digest,
                    expected=self.size,
                )
            wanted = piece[:length]
            length -= len(wanted)
            if wanted:
                yield wanted
            if is_cut and not length:
                return  # a part was asked for; maybe all of it comes

    def _call(self, start: int, end: int, may_skip: bool) -> Call:
        headers = {"accept": "*/*", "accept-encoding": "identity"}
        if (start or end < self.size) and (self.source.ranges or not may_skip):
            headers["range"] = f"bytes={start}-{end - 1 if end < self.size else ''}"
            if self.source.etag:
                headers["if-range"] = self.source.etag
        return Call(
            method="GET",
            domain=self.domain,
            name=self.name,
            path=lambda name: blob_path(name, self.digest),
            headers=headers,
            scopes=frozenset({Scope.pull(self.name)}),
            accept=frozenset({200, 206}),
            absent=BlobUnknown,
            pull=self.source.mirrors,
            by_digest=True,
        )

    def _skipped(self, answer: Answer, start: int, end: int, may_skip: bool) -> int:
        """How many bytes of the answer come before the wanted ones. Raises SizeInvalid, RangeInvalid."""
        etag = answer.headers.get("etag", "")
        if etag and not etag.startswith("W/"):
            self.source.etag = etag
        if answer.status == 206:
            self._require_part(answer, start)
            return 0
        if (start or end < self.size) and not may_skip:
            raise RangeInvalid(f"{self.domain} sends no parts of blobs", size=self.size, registry=self.domain)
        self._require_length(answer)
        return start

    def _require_part(self, answer: Answer, start: int) -> None:
        sent = answer.headers.get("content-range", "")
        span = parse_content_range_206(sent)
        if span is None or span[0] != start or span[2] not in (None, self.size):
            raise RangeInvalid(
                f"asked {self.domain} for the bytes from {start} of the {self.size} of {self.digest}, and it sent "
                f"{sent[:80] or 'others'!r}",
                size=self.size,
                digest=self.digest,
            )

    def _require_length(self, answer: Answer) -> None:
        if answer.length not in (None, self.size):
            raise SizeInvalid(
                f"{self.digest} was announced with {self.size} bytes, and {self.domain} has {answer.length}",
                digest=self.digest,
                expected=self.size,
                actual=answer.length,
            )
