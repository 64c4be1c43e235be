"""Save: images of the image store as an archive that docker, podman, skopeo and containerd read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import BinaryIO

from entrepot.digest import Digest
from entrepot.errors import Invalid, ManifestUnknown
from entrepot.image_store.catalogue import read_shelf
from entrepot.image_store.lookup import Found, locate, record_of
from entrepot.manifest import Descriptor
from entrepot.platforms import Platform, host_platform
from entrepot.reference import ImageReference, RepositoryName, Tag
from entrepot.repositories.archive_writer import ArchiveWriter, NamedImage
from entrepot.repositories.local import LocalRegistry
from entrepot.store.threads import DiskThreads
from entrepot.transfer.graph import Node, Reader, everything


@dataclass(slots=True)
class ChosenImage:
    """One manifest that is to be saved, and what is to be said of it."""

    repository: RepositoryName
    root: Node
    config: str | None
    layers: tuple[str, ...]
    names: dict[str, ImageReference] = field(default_factory=dict)

    @property
    def named(self) -> NamedImage:
        manifest = self.root.manifest
        descriptor = Descriptor(manifest.media_type, self.root.digest, len(manifest.content))
        names = tuple((name.familiar_name, name.name, str(name.target)) for name in self.names.values())
        return NamedImage(descriptor, names, self.config, self.layers)


@dataclass(frozen=True, slots=True)
class Save:
    """Writes archives. Of an index everything that is here is saved, with ``platform`` that image alone."""

    store: LocalRegistry
    platform: Platform | None = None

    async def choose(self, texts: Sequence[str]) -> list[ChosenImage]:
        """What the names and IDs mean; a name without a tag means all tags. Raises ManifestUnknown, NameInvalid."""
        chosen: dict[Digest, ChosenImage] = {}
        for text in texts:
            for found, name in await self._find(text):
                one = await self._read(found)
                kept = chosen.setdefault(one.root.digest, one)
                if name is not None:
                    kept.names[str(name)] = name
        return list(chosen.values())

    async def _find(self, text: str) -> list[tuple[Found, ImageReference | None]]:
        names = await self._all_tags(text)
        if not names:
            found = await self._locate(text)
            is_tag = found.reference is not None and found.reference.digest is None
            return [(found, found.reference if is_tag else None)]
        return [(await self._locate(name.familiar), name) for name in names]

    async def _locate(self, text: str) -> Found:
        return await self.store.metadata.read_much(locate(text, self.platform or host_platform()))

    async def _all_tags(self, text: str) -> list[ImageReference]:
        """Of a bare name that is a repository's, each of its tags."""
        try:
            reference = ImageReference.parse(text)
        except Invalid:
            return []
        if reference.tag is not None or reference.digest is not None:
            return []
        shelf = await self.store.metadata.read_much(read_shelf(reference.stored_name))
        tags = sorted(tag.name for kept in shelf.manifests.values() for tag in kept.tags) if shelf else []
        return [reference.at(Tag(tag)) for tag in tags]

    async def _read(self, found: Found) -> ChosenImage:
        try:
            record = record_of(found, self.platform or host_platform(), strict=self.platform is not None)
        except ManifestUnknown:
            if self.platform is not None:
                raise
            record = None  # no image, or none of its platforms is here
        repository = self.store.repository(found.shelf.name)
        digest = record.manifest.digest if record is not None and self.platform is not None else found.top.digest
        root = await Reader(repository, everything, skip_absent=True).read(digest)
        if record is None:
            return ChosenImage(found.shelf.name, root, None, ())
        return ChosenImage(found.shelf.name, root, record.config.digest, tuple(layer.digest for layer in record.layers))

    async def write(self, chosen: Sequence[ChosenImage], file: BinaryIO, *, docker: bool) -> None:
        """Write the archive; ``docker`` adds the files that docker load wants. Raises Corrupt, ArchiveInvalid."""
        writer = ArchiveWriter(file, DiskThreads(1))
        await writer.begin([one.named for one in chosen], docker=docker)
        for one in chosen:
            await self._write(one, writer)
        await writer.finish()

    async def _write(self, one: ChosenImage, writer: ArchiveWriter) -> None:
        repository = self.store.repository(one.repository)
        for node in one.root.walk():
            await writer.add_bytes(node.digest, node.manifest.content)
        for blob in one.root.blobs():
            await writer.add(await repository.find_blob(Digest.parse(blob.digest)))
