"""Writes image archives: one tar that is an OCI layout and, with ``manifest.json``, a docker-archive as well.

That is docker's own form since version 25; podman, skopeo and containerd read it too.

Content goes in as it is stored, so digests come out again unchanged. The same images give the same bytes: members come
in a fixed order, all times are 0.
"""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from entrepot import hashing
from entrepot.digest import Digest
from entrepot.errors import ArchiveInvalid, Corrupt
from entrepot.layers.tar import BLOCK
from entrepot.manifest import OCI_INDEX, Descriptor
from entrepot.repositories.archive_docker import MANIFEST_FILE
from entrepot.repositories.base import Blob
from entrepot.repositories.layout_index import BLOBS_FOLDER, IMAGE_NAME, INDEX_FILE, LAYOUT_FILE, LAYOUT_MARK, REF_NAME
from entrepot.store.threads import DiskThreads

_REPOSITORIES = "repositories"  # read by nothing younger than docker 1.10, and still written by docker


@dataclass(frozen=True, slots=True)
class NamedImage:
    """What an archive is to say of an image: its manifest or index, and its names.

    ``names`` are (repository as it is shown, full repository, tag), the first two empty for a tag of nothing.
    ``config`` and ``layers`` are those of the one image that docker load shall find; None for what is no image.
    """

    descriptor: Descriptor
    names: tuple[tuple[str, str, str], ...]
    config: str | None = None
    layers: tuple[str, ...] = ()


@dataclass(slots=True)
class ArchiveWriter:
    """A tar that is being written to ``file``. First ``begin``, then every blob once, then ``finish``."""

    file: BinaryIO
    threads: DiskThreads
    _written: set[str] = field(default_factory=set)

    async def begin(self, images: Sequence[NamedImage], *, docker: bool) -> None:
        """The files that say what is in the archive; ``docker`` adds those that docker load wants."""
        await self.threads.run(self._begin, list(_descriptions(images, docker=docker)))

    def _begin(self, files: list[tuple[str, bytes]]) -> None:
        for name, content in files:
            self._header(name, len(content))
            self._content(content)
        self._folder(BLOBS_FOLDER)
        self._folder(f"{BLOBS_FOLDER}/sha256")

    async def add(self, blob: Blob) -> None:
        """A blob or manifest. One that is there already is passed over. Raises Corrupt when it is damaged."""
        if blob.digest in self._written:
            return
        self._written.add(blob.digest)
        hashed, size = hashing.begin(blob.digest.algorithm), 0
        await self.threads.run(self._header, path_of(blob.digest), blob.size)
        async with blob.open() as pieces:
            async for piece in pieces:
                size += len(piece)
                await self.threads.run(self._piece, piece, hashed)
        if size != blob.size or hashed.digest() != blob.digest:
            raise Corrupt(f"{blob.digest} is damaged: its {size} bytes hash to {hashed.digest()}", digest=blob.digest)
        await self.threads.run(self._pad, size)

    async def add_bytes(self, digest: Digest, content: bytes) -> None:
        """A blob or manifest that is in memory."""
        if digest not in self._written:
            self._written.add(digest)
            await self.threads.run(self._small, path_of(digest), content)

    async def finish(self) -> None:
        """The end of the tar; the file stays open."""
        await self.threads.run(self._finish)

    def _finish(self) -> None:
        self.file.write(bytes(2 * BLOCK))
        self.file.flush()

    def _small(self, name: str, content: bytes) -> None:
        self._header(name, len(content))
        self._content(content)

    def _piece(self, piece: bytes, hashed: hashing.RunningHash) -> None:
        hashed.update(piece)
        self.file.write(piece)

    def _content(self, content: bytes) -> None:
        self.file.write(content)
        self._pad(len(content))

    def _header(self, name: str, size: int) -> None:
        member = tarfile.TarInfo(name)
        member.size = size
        self.file.write(member.tobuf(tarfile.PAX_FORMAT))

    def _folder(self, name: str) -> None:
        member = tarfile.TarInfo(f"{name}/")
        member.type, member.mode = tarfile.DIRTYPE, 0o755
        self.file.write(member.tobuf(tarfile.PAX_FORMAT))

    def _pad(self, size: int) -> None:
        self.file.write(bytes(-size % BLOCK))


def path_of(digest: str) -> str:
    """Where a blob is in an archive."""
    algorithm, _, encoded = digest.partition(":")
    return f"{BLOBS_FOLDER}/{algorithm}/{encoded}"


def _descriptions(images: Sequence[NamedImage], *, docker: bool) -> Iterator[tuple[str, bytes]]:
    yield LAYOUT_FILE, LAYOUT_MARK
    yield INDEX_FILE, _json(_index(images))
    if docker:
        entries = [_docker_entry(image) for image in images if image.config is not None]
        if not entries:
            raise ArchiveInvalid("there is no image among what is to be saved; --format oci takes other artifacts")
        yield MANIFEST_FILE, _json(entries)
        yield _REPOSITORIES, _json(_repositories(images))


def _index(images: Sequence[NamedImage]) -> dict[str, Any]:
    return {
        "schemaVersion": 2,
        "mediaType": OCI_INDEX,
        "manifests": [entry for image in images for entry in _index_entries(image)],
    }


def _index_entries(image: NamedImage) -> Iterator[dict[str, Any]]:
    descriptor = image.descriptor
    entry = {"mediaType": descriptor.media_type, "digest": descriptor.digest, "size": descriptor.size}
    for _, full, tag in image.names:
        name = {IMAGE_NAME: f"{full}:{tag}"} if full else {}
        yield {**entry, "annotations": {**name, REF_NAME: tag}}
    if not image.names:
        yield entry


def _docker_entry(image: NamedImage) -> dict[str, Any]:
    return {
        "Config": path_of(image.config or ""),
        "RepoTags": [f"{shown}:{tag}" for shown, _, tag in image.names] or None,
        "Layers": [path_of(layer) for layer in image.layers],
    }


def _repositories(images: Sequence[NamedImage]) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for image in images:
        for shown, _, tag in image.names:
            if image.layers:
                found.setdefault(shown, {})[tag] = image.layers[-1].partition(":")[2]
    return found


def _json(document: Any) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()
