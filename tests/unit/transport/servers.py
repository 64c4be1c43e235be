"""Servers on loopback that do exactly what a test says, byte by byte."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

from entrepot.transport.base import Request
from entrepot.transport.sockets import SocketExchange

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

HOST = "127.0.0.1"


@asynccontextmanager
async def serving(handler: Handler, *, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """Run ``handler`` for each connection; yields the port."""
    tasks: set[asyncio.Task[None]] = set()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            with suppress(OSError, asyncio.IncompleteReadError):
                await handler(reader, writer)
        finally:
            tasks.discard(task)
            writer.close()

    server = await asyncio.start_server(handle, HOST, 0, ssl=tls, limit=1024 * 1024)
    async with server:
        yield server.sockets[0].getsockname()[1]
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def read_head(reader: asyncio.StreamReader) -> bytes:
    return await reader.readuntil(b"\r\n\r\n")


def answering(answer: bytes) -> Handler:
    """Read the head of a request, send ``answer``, and close."""

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(answer)
        await writer.drain()

    return handler


def ok(body: bytes = b"", *headers: bytes) -> bytes:
    lines = [b"HTTP/1.1 200 OK", b"Content-Length: %d" % len(body), *headers, b"", b""]
    return b"\r\n".join(lines) + body


def exchange(
    *, tls: ssl.SSLContext | bool = True, proxy: str | None = None, idle_seconds: float = 30.0, per_host: int = 0
) -> SocketExchange:
    return SocketExchange(
        tls=lambda _: tls, proxy=lambda _: proxy, connect_seconds=10.0, idle_seconds=idle_seconds, per_host=per_host
    )


async def fetch(over: SocketExchange, request: Request) -> tuple[int, bytes]:
    """Status and body; closes the exchange."""
    try:
        async with over.send(request) as response:
            return response.status, b"".join([piece async for piece in response.pieces()])
    finally:
        await over.close()
