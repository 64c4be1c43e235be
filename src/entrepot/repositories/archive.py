"""Image archives as repositories to read from: OCI layouts in a tar, docker-archives, and the two in one.

What carries OCI manifests keeps their digests. For the others a manifest is made: their layers are compressed once, to
temporary files that go away with the archive; config and ID stay as they are.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from entrepot.digest import Digest
from entrepot.errors import ArchiveInvalid, BlobUnknown, Corrupt
from entrepot.image import IMAGE_CONFIG_TYPES, image_config, parse_config
from entrepot.manifest import INDEX_TYPES, ManifestHead, StoredManifest, parse_manifest
from entrepot.reference import RepositoryName, Tag
from entrepot.repositories.archive_docker import (
    MANIFEST_FILE,
    MAX_MANIFEST_FILE,
    DockerEntry,
    build_manifest,
    parse_docker_manifest,
    require_layers,
)
from entrepot.repositories.archive_file import ArchiveFile, ArchiveMember, Spooling, Stopped
from entrepot.repositories.archive_layers import LayerPacker, PackedLayer
from entrepot.repositories.base import Page
from entrepot.repositories.layout_index import (
    BLOBS_FOLDER,
    IMAGE_NAME,
    INDEX_FILE,
    LAYOUT_FILE,
    MAX_INDEX_SIZE,
    MAX_MANIFEST_SIZE,
    REF_NAME,
    LayoutIndex,
    check_layout_mark,
    find_referrers,
    page_of,
    read_stored_manifest,
    unknown,
)
from entrepot.repositories.read_only import ReadOnlyRepository
from entrepot.store.threads import DiskThreads

NAME = RepositoryName("archive")
MAX_CONFIG = 64 * 1024 * 1024
_PIECE = 1024 * 1024
_MARK_SIZE = 4096


@dataclass(frozen=True, slots=True)
class ArchiveImage:
    """An image or index of an archive, and the names it is to have: as written, maybe none."""

    digest: Digest
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ArchiveBlob:
    """Bytes of an archive, or of what was made of them."""

    digest: Digest
    size: int
    read_at: Callable[[int, int], bytes]
    threads: DiskThreads

    @asynccontextmanager
    async def open(self, *, start: int = 0, end: int | None = None) -> AsyncIterator[AsyncIterator[bytes]]:
        yield self._read(start, self.size if end is None else min(end, self.size))

    async def _read(self, position: int, end: int) -> AsyncIterator[bytes]:
        while position < end:
            piece = await self.threads.run(self.read_at, position, min(_PIECE, end - position))
            position += len(piece)
            yield piece


class ArchiveRepository(ReadOnlyRepository):
    """A Repository of everything in one archive. Whatever would change it raises ReadOnly."""

    name = NAME

    def __init__(self, archive: ArchiveFile, threads: DiskThreads) -> None:
        super().__init__(archive.title)
        self.images: list[ArchiveImage] = []
        self._archive = archive
        self._threads = threads
        self._index = LayoutIndex.empty()
        self._made: dict[Digest, StoredManifest] = {}
        self._layers: dict[Digest, PackedLayer] = {}
        self._configs: dict[Digest, ArchiveMember] = {}

    @classmethod
    async def open(
        cls,
        file: BinaryIO,
        title: str,
        *,
        spool_folder: Path | None = None,
        spool_limit: int = 0,
        unpacked_limit: int = 0,
    ) -> ArchiveRepository:
        """The archive in an open file or pipe; ``close`` closes that too.

        What has to be spooled lies in ``spool_folder`` and has at most ``spool_limit`` bytes, a layer at most
        ``unpacked_limit`` (0: any number). Raises ArchiveInvalid, ManifestInvalid, LayerInvalid, TooLarge, NameInvalid.
        """
        spooling = Spooling(spool_folder, spool_limit)
        threads = DiskThreads(4)

        def read() -> ArchiveRepository:
            archive = ArchiveFile.take(file, title, spooling)
            found = cls(archive, threads)
            try:
                found._read(LayerPacker(archive, spooling, unpacked_limit))
            except BaseException:
                found.close()
                raise
            return found

        reading = asyncio.ensure_future(threads.run(read, undo=ArchiveRepository.close))
        try:
            return await asyncio.shield(reading)
        except asyncio.CancelledError:
            spooling.stop()
            reading.cancel()
            with suppress(asyncio.CancelledError, Stopped):
                await reading
            raise

    def close(self) -> None:
        """Close the archive, and give up what was made of it."""
        for layer in self._layers.values():
            if layer.file is not None:
                layer.file.close()
        self._archive.close()

    def _read(self, packer: LayerPacker) -> None:
        manifest = self._archive.find(MANIFEST_FILE)
        entries = []
        if manifest is not None:
            content = self._archive.read(manifest, MAX_MANIFEST_FILE)
            entries = parse_docker_manifest(content, self._archive.title)
        if self._archive.find(INDEX_FILE) is not None and self._archive.find(LAYOUT_FILE) is not None:
            self._read_layout(entries)
        elif manifest is not None:
            self._make_manifests(entries, packer)
        else:
            raise self._no_archive()

    def _no_archive(self) -> ArchiveInvalid:
        title = self._archive.title
        if self._archive.find("repositories") is not None:
            return ArchiveInvalid(f"{title} was saved by a docker before 1.10, whose archives are not read any more")
        return ArchiveInvalid(f"{title} is no image archive: there is neither {INDEX_FILE} nor {MANIFEST_FILE} in it")

    def _read_layout(self, entries: Sequence[DockerEntry]) -> None:
        archive = self._archive
        check_layout_mark(archive.read(archive.require(LAYOUT_FILE), _MARK_SIZE))
        self._index = LayoutIndex.parse(archive.read(archive.require(INDEX_FILE), MAX_INDEX_SIZE))
        names = self._names_in_index()
        for entry in entries:
            config = archive.read(archive.require(entry.config), MAX_CONFIG)
            for digest in self._with_config(Digest.of(config), names):
                names[digest] += entry.names
        self.images = [ArchiveImage(digest, tuple(dict.fromkeys(found))) for digest, found in names.items()]

    def _names_in_index(self) -> dict[Digest, list[str]]:
        names: dict[Digest, list[str]] = {}
        for entry in self._index.entries:
            if not entry.is_attestation and self._is_image(entry.descriptor.digest):
                found = names.setdefault(Digest.parse(entry.descriptor.digest), [])
                written = entry.annotations.get(IMAGE_NAME) or entry.annotations.get(REF_NAME, "")
                if "/" in written or ":" in written:  # else it is a tag of nothing
                    found.append(written)
        return names

    def _is_image(self, digest: str) -> bool:
        stored = self._read_manifest(Digest.parse(digest))
        if stored is None:
            raise ArchiveInvalid(f"{self._archive.title}: {digest} of {INDEX_FILE} is not in it; it is not complete")
        manifest = parse_manifest(stored.content, stored.media_type, allow_unknown_types=True)
        is_image = manifest.media_type in INDEX_TYPES or manifest.config_media_type in IMAGE_CONFIG_TYPES
        return is_image and manifest.subject is None

    def _with_config(self, config: Digest, digests: Iterable[Digest]) -> list[Digest]:
        """Those images that have this config, or an image below them."""
        return [digest for digest in digests if config in self._configs_below(digest)]

    def _configs_below(self, digest: Digest, depth: int = 4) -> set[str]:
        stored = self._read_manifest(digest) if depth else None
        if stored is None:
            return set()
        manifest = parse_manifest(stored.content, stored.media_type, allow_unknown_types=True)
        if manifest.media_type not in INDEX_TYPES:
            return {image_config(manifest).digest} if manifest.blobs else set()
        below = [self._configs_below(Digest.parse(child.digest), depth - 1) for child in manifest.manifests]
        return set().union(*below)

    def _make_manifests(self, entries: Sequence[DockerEntry], packer: LayerPacker) -> None:
        archive = self._archive
        resolved = [_resolved(entry, archive) for entry in entries]
        configs = [archive.read(archive.require(entry.config), MAX_CONFIG) for entry in resolved]
        parsed = [parse_config(config) for config in configs]
        packed = packer.pack_all(archive.require(name) for entry in resolved for name in entry.layers)
        self._layers = {layer.digest: layer for layer in packed.values()}
        names: dict[Digest, list[str]] = {}
        for entry, config, document in zip(resolved, configs, parsed, strict=True):
            require_layers(entry, document, packed, archive.title)
            media_type, content = build_manifest(config, [packed[name] for name in entry.layers])
            digest = Digest.of(content)
            self._made[digest] = StoredManifest(digest, media_type, content)
            self._configs[Digest.of(config)] = archive.require(entry.config)
            names.setdefault(digest, []).extend(entry.names)
        self.images = [ArchiveImage(digest, tuple(found)) for digest, found in names.items()]

    async def find_blob(self, digest: Digest) -> ArchiveBlob:
        layer = self._layers.get(digest)
        if layer is not None and layer.file is not None:
            return ArchiveBlob(digest, layer.size, _reader(layer.file), self._threads)
        member = layer.member if layer is not None else self._configs.get(digest) or self._find(digest)
        if member is None:
            raise BlobUnknown(f"no blob {digest} in {self._archive.title}", digest=digest)

        def read_at(position: int, size: int) -> bytes:
            return self._archive.read_at(member, position, size)

        return ArchiveBlob(digest, member.size, read_at, self._threads)

    def _find(self, digest: Digest) -> ArchiveMember | None:
        return self._archive.find(f"{BLOBS_FOLDER}/{digest.algorithm}/{digest.encoded}")

    async def get_manifest(self, reference: Tag | Digest) -> StoredManifest:
        found = await self._threads.run(self._find_manifest, reference)
        if found is None:
            raise unknown(self.name, reference)
        return found

    async def head_manifest(self, reference: Tag | Digest) -> ManifestHead:
        found = await self.get_manifest(reference)
        return ManifestHead(found.digest, found.media_type, len(found.content))

    def _find_manifest(self, reference: Tag | Digest) -> StoredManifest | None:
        if isinstance(reference, Digest):
            return self._read_manifest(reference)
        entry = self._index.find(reference)
        return self._read_manifest(Digest.parse(entry.digest)) if entry else None

    def _read_manifest(self, digest: Digest) -> StoredManifest | None:
        if digest in self._made:
            return self._made[digest]
        member = self._find(digest)
        if member is None or member.size > MAX_MANIFEST_SIZE:
            return None
        content = self._archive.read(member, MAX_MANIFEST_SIZE)
        actual = Digest.of(content, digest.algorithm)
        if actual != digest:
            raise Corrupt(f"{self._archive.title}: {member.name} holds something else: {actual}", digest=digest)
        entry = self._index.find(digest)
        return read_stored_manifest(content, digest, entry.media_type if entry else None)

    async def list_tags(self, *, last: str = "", limit: int) -> Page:
        return Page(*page_of(self._index.tags, last, limit))

    async def list_referrers(self, subject: str, artifact_type: str | None, *, last: str = "") -> Page:
        found = await self._threads.run(find_referrers, self._index, subject, artifact_type, self._read_manifest)
        return Page([item for item in found if item["digest"] > last], None)


def _resolved(entry: DockerEntry, archive: ArchiveFile) -> DockerEntry:
    """With the names that links lead to, so that one layer is packed once."""
    layers = tuple(archive.require(name).name for name in entry.layers)
    return DockerEntry(archive.require(entry.config).name, layers, entry.names)


def _reader(file: BinaryIO) -> Callable[[int, int], bytes]:
    def read_at(position: int, size: int) -> bytes:
        return os.pread(file.fileno(), size, position)

    return read_at
