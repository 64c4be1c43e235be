"""Blobs of a registry elsewhere: read with resumption, every byte in its place (distribution-spec, "Pulling blobs")."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from dataclasses import dataclass, field

from entrepot.auth.scope import Scope
from entrepot.digest import Digest
from entrepot.errors import BlobUnknown, RangeInvalid, SizeInvalid, Unsupported
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
    """Where the bytes of one blob come from; learnt with the first answer and shared by all who read it."""

    etag: str | None = None
    ranges: bool | None = None  # whether parts can be had; None while nobody has asked


@dataclass(frozen=True, slots=True)
class RemoteBlob:
    """A blob of a registry. ``size`` is what was announced: more or fewer bytes are an error.

    ``etag`` is what the bytes that are there already came with; when the registry has other bytes now, it sends
    them from the beginning, and ``open`` skips what was asked to be skipped all the same: the digest decides.
    """

    transport: Transport
    domain: str
    name: str
    digest: Digest
    size: int
    source: Source = field(default_factory=Source)

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
            try:
                async with self.transport.open(self._call(position, end)) as answer:
                    skip = self._skipped(answer, position, end, may_skip)
                    async for piece in self._exactly(answer, skip, end - position, is_cut=end < self.size):
                        position += len(piece)
                        yield piece
                        if position - good_until > GOOD_PROGRESS:
                            good_until = position
                            tries.progressed()
                if position < end:
                    raise ConnectionFailed(f"{self.digest} broke off after {position} of {self.size} bytes")
            except ConnectionFailed as error:
                await tries.wait_after(error)

    async def _exactly(self, answer: Answer, skip: int, length: int, *, is_cut: bool) -> AsyncIterator[bytes]:
        async for piece in answer.pieces():
            if skip:
                kept = piece[skip:]
                skip -= len(piece) - len(kept)
                piece = kept
            if len(piece) > length and is_cut:  # asked for a part, given all
                yield piece[:length]
                return
            if len(piece) > length:
                raise SizeInvalid(
                    f"{self.digest} was announced with {self.size} bytes, and more came", expected=self.size
                )
            length -= len(piece)
            if piece:
                yield piece

    def _call(self, start: int, end: int) -> Call:
        headers = {"accept": "*/*", "accept-encoding": "identity"}
        if start or end < self.size:
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
            pull=True,
            by_digest=True,
        )

    def _skipped(self, answer: Answer, start: int, end: int, may_skip: bool) -> int:
        """How many bytes of the answer come before the wanted ones. Raises SizeInvalid, RangesUnsupported."""
        etag = answer.headers.get("etag", "")
        if etag and not etag.startswith("W/"):
            self.source.etag = etag
        if answer.status == 206:
            self.source.ranges = True
            return self._skipped_in_part(answer, start)
        if start or end < self.size:
            self.source.ranges = False
            if not may_skip:
                raise RangesUnsupported(f"{self.domain} sends no parts of blobs", registry=self.domain)
        self._require_length(answer)
        return start

    def _skipped_in_part(self, answer: Answer, start: int) -> int:
        span = parse_content_range_206(answer.headers.get("content-range", ""))
        if span is None or span[0] != start or (span[2] is not None and span[2] != self.size):
            raise RangeInvalid(
                f"asked {self.domain} for bytes from {start} of the {self.size} of {self.digest}, and it sent "
                f"{answer.headers.get('content-range', 'other ones')!r}",
                size=self.size,
            )
        return 0

    def _require_length(self, answer: Answer) -> None:
        length = answer.headers.get("content-length", "")
        if length.isdigit() and int(length) != self.size:
            raise SizeInvalid(
                f"{self.digest} was announced with {self.size} bytes, and {self.domain} has {int(length)}",
                expected=self.size,
                actual=int(length),
            )
