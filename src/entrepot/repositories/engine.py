"""A docker engine's images, through its API (``/images/NAME/get`` and ``/images/load``): archives, in and out."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO
from urllib.parse import quote, urlsplit

from entrepot.errors import ConfigInvalid, ManifestInvalid, ManifestUnknown, RegistryError, Unavailable
from entrepot.reference import ImageReference
from entrepot.store.threads import DiskThreads
from entrepot.transport.base import Body, ConnectionFailed, Exchange, Request, Response

IDLE_SECONDS = 900.0  # an engine says nothing while it packs or unpacks an image
DEFAULT_SOCKET = "/var/run/docker.sock"

_PIECE = 1024 * 1024
_MOST_TEXT = 256 * 1024  # bytes of an answer that is not an archive


@dataclass(frozen=True, slots=True)
class EngineAddress:
    """Where an engine listens: on a unix socket, or with an address of its own."""

    title: str
    url: str = "http://docker"
    unix_socket: str | None = None

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> EngineAddress:
        """What ``DOCKER_HOST`` says. Raises ConfigInvalid for what is neither a socket nor a TCP address."""
        host = environment.get("DOCKER_HOST") or f"unix://{DEFAULT_SOCKET}"
        try:
            parts = urlsplit(host)
        except ValueError:  # half an IPv6 address
            parts = urlsplit("")
        if parts.scheme == "unix" and parts.path:
            return cls(host, unix_socket=parts.netloc + parts.path)
        if parts.scheme in ("tcp", "http") and parts.hostname and not environment.get("DOCKER_TLS_VERIFY"):
            return cls(host, f"http://{parts.netloc}")
        raise ConfigInvalid(
            f"expected DOCKER_HOST to be unix:///PATH or tcp://HOST:PORT without TLS, got {host[:200]!r}",
            hint="docker save and docker load with docker-archive: work with any engine",
        )


@dataclass(frozen=True, slots=True)
class Engine:
    """One engine. Its methods raise Unavailable when it cannot be reached, or fails."""

    exchange: Exchange
    address: EngineAddress
    threads: DiskThreads

    async def find(self, reference: ImageReference) -> str | None:
        """The ID of an image, None when there is none."""
        try:
            async with self._open("GET", reference, "json") as response:
                document = json.loads(await _read_end(response))
        except ManifestUnknown:
            return None
        except (ValueError, RecursionError) as error:
            raise ManifestInvalid(f"{self.address.title}: expected JSON about {reference.familiar}") from error
        found = document.get("Id") if isinstance(document, dict) else None
        return found if isinstance(found, str) else None

    async def export(self, reference: ImageReference, file: BinaryIO) -> None:
        """Write the archive of an image to ``file``. Raises ManifestUnknown."""
        try:
            async with self._open("GET", reference, "get") as response:
                async for piece in response.pieces():
                    await self.threads.run(file.write, piece)
        except ManifestUnknown as error:
            raise ManifestUnknown(f"No such image: {reference.familiar}: {error.message}", **error.detail) from error
        await self.threads.run(file.flush)

    async def load(self, file: BinaryIO) -> None:
        """Load the archive in ``file``, with the names it has there. Raises ManifestInvalid when it is refused."""
        body = Body(os.fstat(file.fileno()).st_size, lambda: self._pieces(file))
        headers = {"content-type": "application/x-tar"}
        request = Request("POST", f"{self.address.url}/images/load?quiet=1", headers, body)
        async with self._ask(request) as response:
            text = await _read_end(response)
        for line in _messages(text):
            if line.get("error"):
                raise ManifestInvalid(f"{self.address.title} could not load the image: {line['error']}")

    async def _pieces(self, file: BinaryIO) -> AsyncIterator[bytes]:
        position = 0
        while piece := await self.threads.run(os.pread, file.fileno(), _PIECE, position):
            position += len(piece)
            yield piece

    def _open(self, method: str, reference: ImageReference, what: str) -> AbstractAsyncContextManager[Response]:
        path = quote(reference.with_default_tag().familiar, safe="/:@")
        return self._ask(Request(method, f"{self.address.url}/images/{path}/{what}"))

    @asynccontextmanager
    async def _ask(self, request: Request) -> AsyncIterator[Response]:
        try:
            async with self.exchange.send(request) as response:
                if response.status >= 400:
                    raise _refusal(self.address.title, response.status, await _read_end(response))
                yield response
        except ConnectionFailed as error:
            raise Unavailable(
                f"cannot reach the docker engine at {self.address.title}: {error.message}",
                hint="is it running, and may you use its socket? DOCKER_HOST names another one",
            ) from error


async def _read_end(response: Response) -> bytes:
    """The last part of an answer that is not an archive; what went wrong stands at its end."""
    content = bytearray()
    async for piece in response.pieces():
        content += piece
        del content[:-_MOST_TEXT]
    return bytes(content)


def _refusal(title: str, status: int, content: bytes) -> RegistryError:
    said = next((str(line["message"]) for line in _messages(content) if "message" in line), f"status {status}")
    kind = ManifestUnknown if status == 404 else Unavailable
    return kind(f"{title}: {said[:500]}", status=status)


def _messages(content: bytes) -> Iterator[dict[str, Any]]:
    """The JSON objects of an answer, one a line."""
    for line in content.splitlines():
        try:
            document = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(document, dict):
            yield document
