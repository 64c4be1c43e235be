"""Repositories to copy between, and what watches them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from entrepot.digest import Digest
from entrepot.errors import ManifestUnknown
from entrepot.manifest import StoredManifest
from entrepot.reference import RepositoryName, Tag
from entrepot.repositories.base import Blob, Chunk, Repository
from entrepot.testing.images import Content, Image, Index, walk_blobs, walk_manifests

NAME = RepositoryName.parse("team/app")
V1, V2 = Tag.parse("v1"), Tag.parse("v2")


async def push(repository: Repository, image: Image | Index, *tags: Tag) -> None:
    """Put an image with all its parts into a repository."""
    for blob in walk_blobs(image):
        await put_blob(repository, blob.data)
    for manifest in walk_manifests(image):
        names = tags if manifest is image.manifest else ()
        await repository.put_manifest(manifest.digest, manifest.data, manifest.media_type, tags=names)


async def put_blob(repository: Repository, content: bytes) -> None:
    """Put bytes into a repository."""
    await repository.put_blob(Digest.of(content), chunk(content))


def chunk(content: bytes) -> Chunk:
    """All of some bytes."""

    async def pieces() -> AsyncIterator[bytes]:
        yield content

    return Chunk(pieces(), length=len(content))


async def require_whole(repository: Repository, image: Image | Index, reference: Tag | Digest) -> None:
    """The image is there, byte for byte."""
    assert (await repository.get_manifest(reference)).digest == image.digest
    for manifest in walk_manifests(image):
        assert (await repository.get_manifest(manifest.digest)).content == manifest.data
    for blob in walk_blobs(image):
        async with (await repository.find_blob(blob.digest)).open() as pieces:
            assert b"".join([bytes(piece) async for piece in pieces]) == blob.data


class Shelf:
    """Manifests under the digests that a test gives them, right or wrong: a source nobody checks."""

    def __init__(self, *manifests: Content) -> None:
        self.manifests = {manifest.digest: manifest for manifest in manifests}
        self.asked: list[str] = []

    def put(self, digest: Digest, manifest: Content) -> None:
        """Let ``manifest`` be found under a digest that is not its own."""
        self.manifests[digest] = manifest

    async def get_manifest(self, reference: Tag | Digest) -> StoredManifest:
        self.asked.append(reference)
        await asyncio.sleep(0)
        found = self.manifests.get(Digest(reference))
        if found is None:
            raise ManifestUnknown(f"no {reference}", reference=reference)
        return StoredManifest(Digest(reference), found.media_type, found.data)


class Watched:
    """A repository whose blobs are opened under watch; ``on_open`` may wait or raise for a digest."""

    def __init__(self, inner: Repository, on_open: Callable[[Digest], Any] | None = None) -> None:
        self._inner = inner
        self._on_open = on_open
        self.open_now = 0
        self.most_open = 0
        self.opened: list[Digest] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def find_blob(self, digest: Digest) -> WatchedBlob:
        return WatchedBlob(self, await self._inner.find_blob(digest))

    @asynccontextmanager
    async def watch(self, blob: Blob, start: int, end: int | None) -> AsyncIterator[AsyncIterator[bytes]]:
        self.opened.append(blob.digest)
        self.open_now += 1
        self.most_open = max(self.most_open, self.open_now)
        try:
            if self._on_open is not None:
                await self._on_open(blob.digest)
            async with blob.open(start=start, end=end) as pieces:
                yield pieces
        finally:
            self.open_now -= 1


class WatchedBlob:
    """A blob of a Watched repository."""

    def __init__(self, watched: Watched, blob: Blob) -> None:
        self._watched = watched
        self._blob = blob
        self.digest = blob.digest
        self.size = blob.size

    def open(self, *, start: int = 0, end: int | None = None) -> Any:
        """As in the contract."""
        return self._watched.watch(self._blob, start, end)
