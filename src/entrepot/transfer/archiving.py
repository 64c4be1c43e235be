"""Copies graphs into an archive: a tar is written from its beginning to its end, so nothing goes side by side."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import BinaryIO

from entrepot.digest import Digest
from entrepot.image import IMAGE_CONFIG_TYPES, image_config, index_entries
from entrepot.manifest import Descriptor
from entrepot.platforms import choose, host_platform
from entrepot.progress import Event, Kind, Listener, State
from entrepot.reference import ImageReference, Tag
from entrepot.repositories.archive_writer import ArchiveWriter, NamedImage
from entrepot.repositories.base import Blob, Repository
from entrepot.store.threads import DiskThreads
from entrepot.transfer.copy import blob_of
from entrepot.transfer.graph import Node, layers_of


@dataclass(frozen=True, slots=True)
class Archived:
    """A graph that is to be in an archive, and the names it has there: whole ones, or tags alone.

    What ``is_extra`` only goes with an image, e.g. its signatures, and is nothing for docker to load.
    """

    root: Node
    names: tuple[ImageReference | Tag, ...] = ()
    is_extra: bool = False

    @property
    def named(self) -> NamedImage:
        manifest = self.root.manifest
        descriptor = Descriptor(manifest.media_type, self.root.digest, len(manifest.content))
        names = tuple(_spelt(name) for name in self.names)
        image = None if self.is_extra else _shown_image(self.root)
        if image is None:
            return NamedImage(descriptor, names)
        layers = tuple(layer.digest for layer in layers_of(image))
        return NamedImage(descriptor, names, image_config(image.manifest).digest, layers)


async def write_archive(
    source: Repository, contents: Sequence[Archived], file: BinaryIO, *, docker: bool, listener: Listener
) -> None:
    """Write everything that ``contents`` name. ``docker`` adds what docker load wants.

    Raises what the source raises, Corrupt for a damaged blob, ArchiveInvalid when docker is to get what is no image.
    """
    writer = ArchiveWriter(file, DiskThreads(1))
    await writer.begin([content.named for content in contents], docker=docker)
    for content in contents:
        configs = content.root.configs()
        for node in content.root.walk():
            await writer.add_bytes(node.digest, node.manifest.content)
        for descriptor in content.root.blobs():
            blob = await blob_of(source, descriptor)
            kind = Kind.CONFIG if descriptor.digest in configs else Kind.LAYER
            await writer.add(_ToldBlob(blob, kind, listener))
            listener(Event(State.DONE, kind, descriptor.digest, done=blob.size, total=blob.size))
    await writer.finish()


def _spelt(name: ImageReference | Tag) -> tuple[str, str, str]:
    return ("", "", name) if isinstance(name, Tag) else (name.familiar_name, name.name, str(name.target))


@dataclass(frozen=True, slots=True)
class _ToldBlob:
    """A blob that tells how much of it has been read."""

    blob: Blob
    kind: Kind
    listener: Listener

    @property
    def digest(self) -> Digest:
        return self.blob.digest

    @property
    def size(self) -> int:
        return self.blob.size

    @asynccontextmanager
    async def open(self, *, start: int = 0, end: int | None = None) -> AsyncIterator[AsyncIterator[bytes]]:
        async with self.blob.open(start=start, end=end) as pieces:
            yield self._counted(pieces, start)

    async def _counted(self, pieces: AsyncIterator[bytes], done: int) -> AsyncIterator[bytes]:
        self._tell(done)
        async for piece in pieces:
            done += len(piece)
            self._tell(done)
            yield piece

    def _tell(self, done: int) -> None:
        self.listener(Event(State.MOVING, self.kind, self.digest, done=done, total=self.size))


def _shown_image(root: Node) -> Node | None:
    """The image that docker is to find: of an index this computer's, else the first; None when there is none."""
    if not root.is_index:
        return root if root.manifest.config_media_type in IMAGE_CONFIG_TYPES else None
    by_digest = {child.digest: child for child in root.children}
    entries = [
        entry
        for entry in index_entries(root.manifest)
        if not entry.is_attestation and entry.descriptor.digest in by_digest
    ]
    best = choose([entry.platform for entry in entries], host_platform())
    ordered = entries if best is None else [entries[best], *entries]
    images = (_shown_image(by_digest[Digest.parse(entry.descriptor.digest)]) for entry in ordered)
    return next((image for image in images if image is not None), None)
