"""Artifacts that speak about an image: files as blobs, and a manifest with the image as its subject.

image-spec, "Guidelines for Artifact Usage": the config is the empty descriptor, and so is the only layer of an artifact
without files.
"""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from entrepot import hashing
from entrepot.digest import CANONICAL, Digest
from entrepot.errors import Corrupt, NotFound
from entrepot.manifest import OCI_EMPTY, OCI_MANIFEST, ManifestHead, parse_manifest
from entrepot.repositories.base import Blob, Chunk, Pushing, Repository
from entrepot.store.threads import DiskThreads

TITLE = "org.opencontainers.image.title"
DEFAULT_TYPE = "application/octet-stream"
_PIECE = 1024 * 1024
_EMPTY = b"{}"


@dataclass(frozen=True, slots=True)
class FileBlob:
    """A file as a blob. It must not change while it is sent."""

    digest: Digest
    size: int
    path: Path
    threads: DiskThreads

    @classmethod
    async def of(cls, path: Path, threads: DiskThreads) -> FileBlob:
        """Raises OSError."""
        digest, size = await threads.run(_hash, path)
        return cls(digest, size, path, threads)

    @asynccontextmanager
    async def open(self, *, start: int = 0, end: int | None = None) -> AsyncIterator[AsyncIterator[bytes]]:
        fd = await self.threads.run(os.open, self.path, os.O_RDONLY)
        try:
            yield self._read(fd, start, self.size if end is None else min(end, self.size))
        finally:
            os.close(fd)

    async def _read(self, fd: int, position: int, end: int) -> AsyncIterator[bytes]:
        while position < end:
            piece = await self.threads.run(os.pread, fd, min(_PIECE, end - position), position)
            if not piece:
                raise Corrupt(f"{self.path} became shorter while it was read", path=str(self.path))
            position += len(piece)
            yield piece


@dataclass(frozen=True, slots=True)
class BytesBlob:
    """A small blob in memory."""

    content: bytes

    @property
    def digest(self) -> Digest:
        return Digest.of(self.content)

    @property
    def size(self) -> int:
        return len(self.content)

    @asynccontextmanager
    async def open(self, *, start: int = 0, end: int | None = None) -> AsyncIterator[AsyncIterator[bytes]]:
        async def pieces() -> AsyncIterator[bytes]:
            yield self.content[start:end]

        yield pieces()


@dataclass(frozen=True, slots=True)
class AttachedFile:
    """A file that is to be attached, and what it is."""

    blob: FileBlob
    media_type: str = DEFAULT_TYPE


def build_artifact_manifest(
    subject: ManifestHead, artifact_type: str, files: Sequence[AttachedFile], annotations: Mapping[str, str]
) -> bytes:
    """The manifest. Raises ManifestInvalid for types that are no media types."""
    empty = {"mediaType": OCI_EMPTY, "digest": Digest.of(_EMPTY), "size": len(_EMPTY), "data": "e30="}
    document: dict[str, Any] = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "artifactType": artifact_type,
        "config": empty,
        "layers": [_layer(file) for file in files] or [empty],
        "subject": {"mediaType": subject.media_type, "digest": subject.digest, "size": subject.size},
    }
    if annotations:
        document["annotations"] = dict(annotations)
    content = json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode()
    parse_manifest(content, OCI_MANIFEST)
    return content


async def push_artifact(target: Repository, content: bytes, files: Sequence[AttachedFile]) -> Digest:
    """Send the files and then the manifest ``content``. Raises what the repository raises."""
    blobs: list[Blob] = [file.blob for file in files]
    for blob in (*blobs, BytesBlob(_EMPTY)):
        await _put(target, blob)
    digest = Digest.of(content)
    return (await target.put_manifest(digest, content, OCI_MANIFEST)).digest


async def _put(target: Repository, blob: Blob) -> None:
    try:
        await target.find_blob(blob.digest)
    except NotFound:
        if isinstance(target, Pushing):
            await target.push_blob(blob, sent=lambda _: None)
            return
        async with blob.open() as pieces:
            await target.put_blob(blob.digest, Chunk(pieces, length=blob.size))


def _layer(file: AttachedFile) -> dict[str, Any]:
    return {
        "mediaType": file.media_type,
        "digest": file.blob.digest,
        "size": file.blob.size,
        "annotations": {TITLE: file.blob.path.name},
    }


def _hash(path: Path) -> tuple[Digest, int]:
    running, size = hashing.begin(CANONICAL), 0
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            running.update(piece)
            size += len(piece)
    return running.digest(), size
