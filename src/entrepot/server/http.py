"""Requests and responses, as little around ASGI as the handlers need."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import dataclass
from typing import Any

from entrepot.errors import ClientGone, ManifestTooLarge, RequestTimeout, SizeInvalid
from entrepot.wire.headers import parse_content_length, parse_query

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Header = tuple[bytes, bytes]

_DRAIN_BYTES = 32 * 1024 * 1024
_DRAIN_SECONDS = 5.0


class Request:
    """One HTTP request; nothing of it is parsed before it is asked for."""

    __slots__ = ("_idle_seconds", "_is_over", "_query", "_receive", "bytes_in", "is_read", "method", "path", "scope")

    def __init__(self, scope: Scope, receive: Receive, *, idle_seconds: float) -> None:
        self.scope = scope
        self.method: str = scope["method"]
        self.path: str = scope["raw_path"].decode("latin-1")
        self.bytes_in = 0
        self.is_read = False
        self._is_over = False  # nothing more will come, whatever was announced
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
            message = await self._next()
            self.is_read = not message.get("more_body", False)
            if body := message.get("body", b""):
                self.bytes_in += len(body)
                yield body

    async def _next(self) -> MutableMapping[str, Any]:
        try:
            async with asyncio.timeout(self._idle_seconds):
                message = await self._receive()
        except TimeoutError:
            self._is_over = True
            raise RequestTimeout(
                f"expected more of the body, nothing came for {self._idle_seconds:g} seconds",
                after_bytes=self.bytes_in,
            ) from None
        if message["type"] == "http.disconnect":
            self._is_over = True
            raise ClientGone(
                f"expected more of the body, the connection ended after {self.bytes_in} bytes",
                after_bytes=self.bytes_in,
            )
        return message

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
        """Take in the rest of the body, up to a limit, after the answer is out.

        A connection that is closed while bytes still arrive is reset, and then a peer that writes before it
        reads never sees the answer.
        """
        if not self._has_rest():
            return
        start = self.bytes_in
        with suppress(SizeInvalid, ClientGone, RequestTimeout, TimeoutError):
            announced = self.content_length
            async with asyncio.timeout(_DRAIN_SECONDS):
                async for _ in self.pieces():
                    if self.bytes_in - start > _DRAIN_BYTES or self.bytes_in == announced:
                        break

    def _has_rest(self) -> bool:
        if self.is_read or self._is_over:
            return False
        if self.bytes_in == 0 and self.header(b"expect") is not None:  # has waited for our word, and got another one
            return False
        return self.header(b"transfer-encoding") is not None or self.header(b"content-length") not in (None, "0")

    async def hung_up(self) -> None:
        """Return when the peer has gone. For after the body has been read."""
        while (await self._receive())["type"] != "http.disconnect":
            pass


@dataclass(slots=True)
class Response:
    """An answer: ``body``, or the pieces of ``stream``. The headers carry the Content-Length."""

    status: int
    headers: list[Header]
    body: bytes = b""
    stream: AbstractAsyncContextManager[AsyncIterator[bytes]] | None = None
