"""Proxies that count what a server asks of PostgreSQL and of S3, by reading along what is sent."""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import threading
from collections import Counter
from collections.abc import Coroutine
from typing import Any, Protocol
from urllib.parse import parse_qs, urlsplit

_PIECE = 256 * 1024
_TYPED_HEAD = 5  # one byte of type, four of length; the first messages of a connection have no type
_STARTUP = 196608  # protocol 3.0

Counts = Counter[str]


class Reader(Protocol):
    """Reads along what one client sends over one connection."""

    def feed(self, piece: bytes) -> None: ...

    def turn(self) -> None:
        """The server has answered something since the client sent something."""


class CountingProxy:
    """Forwards a free port of loopback to ``upstream_port``; ``counts`` is by what was asked."""

    def __init__(self, upstream_port: int, reader: type[PostgresqlReader] | type[S3Reader]) -> None:
        self.counts: Counts = Counter()
        self._upstream_port = upstream_port
        self._reader = reader
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port: int = self._listener.getsockname()[1]
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, daemon=True).start()
        self._call(asyncio.start_server(self._serve, sock=self._listener, limit=_PIECE))

    def close(self) -> None:
        self._call(self._cancel_all())
        self._loop.call_soon_threadsafe(self._loop.stop)

    def take(self) -> Counts:
        """What was counted since this was asked for the last time."""
        taken: Counts = self._call(self._take())
        return taken

    def _call(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(20)

    async def _take(self) -> Counts:
        taken, self.counts = self.counts, Counter()
        return taken

    async def _cancel_all(self) -> None:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        along = self._reader(self)
        with contextlib.suppress(OSError, asyncio.CancelledError):
            up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self._upstream_port, limit=_PIECE)
            try:
                await asyncio.gather(
                    _forward(reader, up_writer, along.feed), _forward(up_reader, writer, lambda _: along.turn())
                )
            finally:
                up_writer.close()
        writer.close()


async def _forward(source: asyncio.StreamReader, target: asyncio.StreamWriter, see: Any) -> None:
    while piece := await source.read(_PIECE):
        see(piece)
        target.write(piece)
        await target.drain()
    with contextlib.suppress(OSError, RuntimeError):
        target.write_eof()


class PostgresqlReader:
    """Counts round trips, statements that are run, and by itself each statement's text (protocol 3.0).

    A round trip begins with the first message that is sent after the server has said something.
    """

    def __init__(self, proxy: CountingProxy) -> None:
        self._proxy = proxy
        self._rest = b""
        self._is_started = False
        self._is_our_turn = True
        self._texts: dict[bytes, str] = {}
        self._bound = b""

    def turn(self) -> None:
        self._is_our_turn = True

    def feed(self, piece: bytes) -> None:
        if self._is_our_turn and self._is_started:
            self._proxy.counts["round trips"] += 1
        self._is_our_turn = False
        self._rest += piece
        while (message := self._next()) is not None:
            self._see(*message)

    def _next(self) -> tuple[bytes, bytes] | None:
        head = _TYPED_HEAD if self._is_started else _TYPED_HEAD - 1
        if len(self._rest) < head:
            return None
        end = head - 4 + int.from_bytes(self._rest[head - 4 : head])
        if len(self._rest) < end:
            return None
        message, self._rest = self._rest[:end], self._rest[end:]
        return (message[:1] if self._is_started else b"", message[head:])

    def _see(self, kind: bytes, body: bytes) -> None:
        match kind:
            case b"":
                self._is_started = int.from_bytes(body[:4]) == _STARTUP
                self._proxy.counts["connections"] += self._is_started
            case b"Q":
                for statement in filter(None, map(str.strip, body.rstrip(b"\0").decode().split(";"))):
                    self._ran(statement)
            case b"P":
                name, text, _ = body.split(b"\0", 2)
                self._texts[name] = text.decode()
            case b"B":
                self._bound = body.split(b"\0", 2)[1]
            case b"E":
                self._ran(self._texts.get(self._bound, "?"))

    def _ran(self, text: str) -> None:
        self._proxy.counts["statements"] += 1
        self._proxy.counts[f"sql {' '.join(text.split())}"] += 1


class S3Reader:
    """Counts requests by the name S3 has for them."""

    def __init__(self, proxy: CountingProxy) -> None:
        self._proxy = proxy
        self._rest = b""
        self._body_left = 0

    def turn(self) -> None:
        """Of no interest: a request is a round trip."""

    def feed(self, piece: bytes) -> None:
        while piece:
            skipped = min(self._body_left, len(piece))
            self._body_left -= skipped
            self._rest += piece[skipped:]
            head, end, piece = self._rest.partition(b"\r\n\r\n")
            if not end:
                return
            self._rest = b""
            self._see(head.decode("latin-1"))

    def _see(self, head: str) -> None:
        length = re.search(r"(?im)^content-length:\s*(\d+)", head)
        self._body_left = int(length[1]) if length else 0
        self._proxy.counts["requests"] += 1
        self._proxy.counts[f"s3 {s3_operation(head)}"] += 1


def s3_operation(head: str) -> str:
    """What Amazon's reference calls a request, from its first lines."""
    method, target, _ = head.split("\r\n", 1)[0].split(" ", 2)
    address = urlsplit(target)
    asked = parse_qs(address.query, keep_blank_values=True)
    is_copy = "\r\nx-amz-copy-source:" in head.lower()
    is_bucket = address.path.strip("/").count("/") == 0
    if "uploads" in asked:
        return "CreateMultipartUpload" if method == "POST" else "ListMultipartUploads"
    if "uploadId" in asked:
        if method == "PUT":
            return "UploadPartCopy" if is_copy else "UploadPart"
        return {"POST": "CompleteMultipartUpload", "DELETE": "AbortMultipartUpload", "GET": "ListParts"}[method]
    if method == "POST" and "delete" in asked:
        return "DeleteObjects"
    if is_bucket:
        return {"GET": "ListObjects", "HEAD": "HeadBucket", "PUT": "CreateBucket"}.get(method, f"{method} bucket")
    if is_copy:
        return "CopyObject"
    return f"{method.capitalize()}Object"
