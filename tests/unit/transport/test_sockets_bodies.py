"""Bodies that come slower than they are read, and faster."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from entrepot.transport.base import ConnectionFailed, Request
from tests.unit.transport.servers import HOST, answering, exchange, read_head, serving


async def test_read_chunk_whose_end_comes_later_goes_on_behind_it() -> None:
    has_come = asyncio.Event()

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc")
        await has_come.wait()
        writer.write(b"\r\n2\r\nde\r\n0\r\n\r\n")
        await writer.drain()

    over, came = exchange(), bytearray()
    async with serving(handler) as port:
        async with over.send(Request("GET", f"http://{HOST}:{port}/")) as response:
            async for piece in response.pieces():
                came += piece
                has_come.set()
        await over.close()
    assert came == b"abcde"


async def test_read_body_that_broke_off_before_it_was_read_gives_all_that_came() -> None:
    content = bytes(range(256)) * 4000
    over, came = exchange(), bytearray()
    async with serving(answering(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n" + content)) as port:
        async with asyncio.timeout(60), over.send(Request("GET", f"http://{HOST}:{port}/")) as response:
            while response._response.content.exception() is None:
                await asyncio.sleep(0.01)
            with pytest.raises(ConnectionFailed, match="unexpected EOF"):
                await collect(response.pieces(), came)
        await over.close()
    assert came == content


async def collect(pieces: AsyncIterator[bytes], came: bytearray) -> None:
    async for piece in pieces:
        came += piece
