"""Requests and responses, as little around ASGI as the handlers need."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import dataclass
from typing import Any

from entrepot.errors import ClientGone, ManifestTooLarge, RequestTimeout
from entrepot.store.base import Piece
from entrepot.wire.headers import parse_content_length, parse_query

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Header = tuple[bytes, bytes]

_DRAIN_BYTES = 256 * 1024
_DRAIN_SECONDS = 2.0


class Request:
    """One HTTP request; nothing of it is parsed before it is asked for."""

    __slots__ = ("_idle_seconds", "_query", "_receive", "bytes_in", "is_read", "method", "path", "scope")

    def __init__(self, scope: Scope, receive: Receive, *, idle_seconds: float) -> None:
        self.scope = scope
        self.method: str = scope["method"]
        self.path: str = scope["raw_path"].decode("latin-1")
        self.bytes_in = 0
        self.is_read = False
        self._receive = receive
        self._idle_seconds = idle_seconds
        self._query: dict[str, list[str]] | None = None

    def header(self, name: bytes) -> str | None:
        """The value of a header (lower-case name); the first if it came several times."""
        for key, value in self.scope["headers"]:
            if key == name:
                text: str = value.decode("latin-1")
                return text
        return None

    @property
    def query(self) -> dict[str, list[str]]:
        if self._query is None:
            self._query = parse_query(self.scope["query_string"])
        return self._query

    def parameter(self, name: str) -> str | None:
        """A query parameter; the last one if it came several times."""
        values = self.query.get(name)
        return values[-1] if values else None

    @property
    def content_length(self) -> int | None:
        """The announced size of the body; None when it comes in chunks. Raises SizeInvalid."""
        header = self.header(b"content-length")
        return None if header is None else parse_content_length(header)

    async def pieces(self) -> AsyncIterator[bytes]:
        """The body as it arrives. Raises ClientGone when the peer hangs up, RequestTimeout when it stalls."""
        while not self.is_read:
            try:
                async with asyncio.timeout(self._idle_seconds):
                    message = await self._receive()
            except TimeoutError:
                raise RequestTimeout(
                    f"nothing came for {self._idle_seconds:.0f} seconds", after_bytes=self.bytes_in
                ) from None
            if message["type"] == "http.disconnect":
                raise ClientGone("the connection ended before the body did", after_bytes=self.bytes_in)
            self.is_read = not message.get("more_body", False)
            if body := message.get("body", b""):
                self.bytes_in += len(body)
                yield body

    async def body(self, most: int) -> bytes:
        """The whole body. Raises ManifestTooLarge beyond ``most`` bytes."""
        announced = self.content_length or 0
        content = bytearray()
        if announced <= most:
            async for piece in self.pieces():
                content += piece
                if len(content) > most:
                    break
        if max(announced, len(content)) > most:
            raise ManifestTooLarge(f"a manifest may have {most} bytes here, this one has more", limit=most)
        return bytes(content)

    async def drain(self) -> None:
        """Take in a short rest of the body, so that the peer gets to read the answer instead of a reset."""
        with suppress(ClientGone, RequestTimeout, TimeoutError):
            async with asyncio.timeout(_DRAIN_SECONDS):
                start = self.bytes_in
                async for _ in self.pieces():
                    if self.bytes_in - start > _DRAIN_BYTES:
                        break


@dataclass(slots=True)
class Response:
    """An answer: ``body``, or the pieces of ``stream``. The headers carry the Content-Length."""

    status: int
    headers: list[Header]
    body: bytes = b""
    stream: AbstractAsyncContextManager[AsyncIterator[Piece]] | None = None


async def deliver(response: Response, send: Send, *, head: bool, idle_seconds: float) -> int:
    """Send a response and return the number of body bytes sent. HEAD gets the headers of GET and no body."""
    await send({"type": "http.response.start", "status": response.status, "headers": response.headers})
    if response.stream is None or head:
        body = b"" if head else response.body
        await send({"type": "http.response.body", "body": body})
        return len(body)
    sent = 0
    async with response.stream as pieces:
        async for piece in pieces:
            async with asyncio.timeout(idle_seconds):  # a peer that stopped reading
                await send({"type": "http.response.body", "body": piece, "more_body": True})
            sent += len(piece)
    await send({"type": "http.response.body", "body": b""})
    return sent
