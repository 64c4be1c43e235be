"""An S3 server's bad days: some requests are answered with 503, some are cut off in mid-body."""

from __future__ import annotations

import asyncio
import contextlib
import random
import threading
from collections import Counter
from dataclasses import dataclass
from typing import Literal

from .relay import PIECE, Peer, Relay

Fate = Literal["passed", "refused", "request cut", "answer cut"]

_SLOW_DOWN = (
    b'<?xml version="1.0" encoding="UTF-8"?><Error><Code>SlowDown</Code><Message>Please wait.</Message></Error>'
)
_REFUSAL = (
    b"HTTP/1.1 503 Slow Down\r\nContent-Type: application/xml\r\nConnection: close\r\n"
    b"Content-Length: %d\r\n\r\n%s" % (len(_SLOW_DOWN), _SLOW_DOWN)
)
_LARGEST_ANSWER = 1 << 20  # an answer is cut within so many bytes, small numbers being as likely as large ones
_LAST_WORDS_SECONDS = 10.0
_END_OF_ANSWER_SECONDS = 0.2  # of silence; the connection would stay open for the next request


@dataclass(frozen=True, slots=True)
class _Request:
    head: bytes
    body_bytes: int


class FaultyS3Proxy(Relay):
    """Passes requests on, but for the ``share`` of them that meet a fault, drawn by ``seed``: a half is refused, the
    others are cut off, those with a body in it or in the answer. ``fates`` counts what became of them."""

    def __init__(self, upstream_port: int, *, share: float = 0.0, seed: int = 1) -> None:
        super().__init__(upstream_port)
        self.share = share
        self.fates: Counter[Fate] = Counter()
        self._random = random.Random(seed)

    @property
    def endpoint(self) -> str:
        return f"http://{self.host}"

    async def serve(self, client: Peer) -> None:
        server = await self.connect()
        answers = asyncio.ensure_future(_relay_answers(server, client))
        try:
            while not answers.done() and (request := await _read_request(client.reader)) is not None:
                await self.look_at(request)
                fate = self._fate(request)
                self.fates[fate] += 1
                if fate == "refused":
                    await _refuse(client)
                    return
                await server.send(request.head)
                sent = self._random.randrange(request.body_bytes) if fate == "request cut" else request.body_bytes
                await _relay_body(client, server, sent)
                if fate == "passed":
                    continue
                answers.cancel()
                await asyncio.gather(answers, return_exceptions=True)
                if fate == "answer cut":
                    await _relay_some(server, client, int(_LARGEST_ANSWER ** self._random.random()))
                client.reset()
                server.reset()
                return
        finally:
            answers.cancel()
            await asyncio.gather(answers, return_exceptions=True)
            server.close()

    async def look_at(self, request: _Request) -> None:
        """Called with each request that has come, before anything is done with it."""

    def _fate(self, request: _Request) -> Fate:
        if self._random.random() >= self.share:
            return "passed"
        if self._random.random() < 0.5:
            return "refused"
        return "request cut" if request.body_bytes and self._random.random() < 0.5 else "answer cut"


class HoldingS3Proxy(FaultyS3Proxy):
    """Passes requests on, until one comes with ``words`` in its first line, which gets no answer and goes nowhere."""

    def __init__(self, upstream_port: int, words: bytes) -> None:
        super().__init__(upstream_port)
        self.words = words
        self._is_met = threading.Event()

    async def met(self) -> None:
        """Return when it has come."""
        assert await asyncio.to_thread(self._is_met.wait, 90), f"no request has {self.words!r}"

    async def look_at(self, request: _Request) -> None:
        if self.words in request.head.partition(b"\r\n")[0]:
            self._is_met.set()
            await asyncio.Event().wait()


async def _read_request(reader: asyncio.StreamReader) -> _Request | None:
    """None at the end of the connection. S3 clients tell the length of every body they send."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    lengths = [line.partition(b":")[2] for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")]
    return _Request(head, int(lengths[0]) if lengths else 0)


async def _relay_body(client: Peer, server: Peer, left: int) -> None:
    while left:
        piece = await client.reader.read(min(left, PIECE))
        if not piece:
            raise EOFError
        left -= len(piece)
        await server.send(piece)


async def _relay_answers(server: Peer, client: Peer) -> None:
    while piece := await server.reader.read(PIECE):
        await client.send(piece)
    client.end()


async def _relay_some(server: Peer, client: Peer, left: int) -> None:
    """As many bytes of an answer, or all of it if it is shorter."""
    piece = await server.reader.read(min(left, PIECE))
    with contextlib.suppress(TimeoutError):
        while piece:
            left -= len(piece)
            await client.send(piece)
            async with asyncio.timeout(_END_OF_ANSWER_SECONDS):
                piece = await server.reader.read(min(left, PIECE)) if left else b""


async def _refuse(client: Peer) -> None:
    await client.send(_REFUSAL)
    client.end()
    async with asyncio.timeout(_LAST_WORDS_SECONDS):  # a reset while it still sends would lose it the answer
        while await client.reader.read(PIECE):
            pass
