"""A registry on loopback that sends exactly the bytes a test says, and an image store that pulls from it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from entrepot.client import Access, Client
from entrepot.reference import ImageReference
from entrepot.testing.images import Image, Index, walk_blobs, walk_manifests

HOST = "127.0.0.1"
NAME = "team/app"
_PATIENCE_SECONDS = 600.0

Misbehaviour = Callable[[asyncio.StreamWriter], Awaitable[None]]
Answer = bytes | Misbehaviour


@dataclass(frozen=True)
class Asked:
    """A request as it came."""

    line: str
    headers: Mapping[str, str]


@dataclass
class HostileRegistry:
    """Answers by request line without query, e.g. ``GET /v2/team/app/manifests/v1``; what is not there is 404.

    Bytes are sent as they are; a function is given the connection. Then the connection is closed.
    """

    answers: dict[str, Answer] = field(default_factory=dict)
    port: int = 0
    asked: list[Asked] = field(default_factory=list)

    @property
    def reference(self) -> ImageReference:
        return ImageReference.parse(f"{HOST}:{self.port}/{NAME}:v1")

    def offer(self, image: Image | Index) -> None:
        """Serve an image honestly, under the tag ``v1`` as well."""
        for manifest in walk_manifests(image):
            headers = (f"Content-Type: {manifest.media_type}", f"Docker-Content-Digest: {manifest.digest}")
            self.answers[manifest_line(manifest.digest)] = ok(manifest.data, *headers)
        self.answers[manifest_line("v1")] = self.answers[manifest_line(image.digest)]
        for blob in walk_blobs(image):
            self.answers[blob_line(blob.digest)] = ok(blob.data)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[HostileRegistry]:
        """Listen until the block is left."""
        tasks: set[asyncio.Task[None]] = set()

        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            tasks.add(task)
            try:
                with suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
                    await self._answer(reader, writer)
            finally:
                tasks.discard(task)
                writer.close()

        server = await asyncio.start_server(handle, HOST, self.port, limit=1024 * 1024)
        async with server:
            self.port = server.sockets[0].getsockname()[1]
            yield self
            for task in list(tasks):
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        method, target, _ = head[0].split(" ")
        line = f"{method} {target.partition('?')[0]}"
        headers = dict(each.lower().split(": ", 1) for each in head[1:] if each)
        self.asked.append(Asked(line, headers))
        answer = self.answers.get(line, NOT_FOUND)
        if isinstance(answer, bytes):
            writer.write(answer)
            await writer.drain()
        else:
            await answer(writer)


def manifest_line(reference: str) -> str:
    return f"GET /v2/{NAME}/manifests/{reference}"


def blob_line(digest: str) -> str:
    return f"GET /v2/{NAME}/blobs/{digest}"


def ok(body: bytes, *headers: str, status: str = "200 OK", length: str | None = None) -> bytes:
    """A whole answer; ``length`` is what to announce instead of the truth."""
    announced = str(len(body)) if length is None else length
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {announced}", "Connection: close", *headers, "", ""]
    return "\r\n".join(lines).encode("latin-1") + body


NOT_FOUND = ok(b"", status="404 Not Found")


def endless(head: bytes, piece: bytes) -> Misbehaviour:
    """``head``, and then ``piece`` until the client has gone."""

    async def send(writer: asyncio.StreamWriter) -> None:
        writer.write(head)
        while True:
            writer.write(piece)
            await writer.drain()

    return send


def stalling(head: bytes) -> Misbehaviour:
    """``head``, and then nothing, with the connection left open."""

    async def send(writer: asyncio.StreamWriter) -> None:
        writer.write(head)
        await writer.drain()
        await asyncio.Event().wait()

    return send


def chunk(content: bytes) -> bytes:
    """A chunk of HTTP's chunked coding."""
    return b"%x\r\n%b\r\n" % (len(content), content)


async def pull(
    root: Path,
    registry: HostileRegistry,
    *,
    attempts: int = 1,
    idle_seconds: float = _PATIENCE_SECONDS,
    **access: str,
) -> None:
    """Pull ``v1``, as ``entrepot pull`` does."""
    settings = Access(home=root.parent, attempts=attempts, idle_seconds=idle_seconds, environment=access)
    async with Client(root, settings) as client:
        pulling = client.pull(registry.reference)
        found = await pulling.read(registry.reference)
        await pulling.run(registry.reference, found)
