"""Trees of images: each layer's members read once, two layers at a time, then put on one another."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass, field
from typing import Any

from entrepot.digest import Digest
from entrepot.errors import LayerInvalid, LayerTooLarge
from entrepot.layers.diff_id import Uncompressed
from entrepot.layers.tar import Kind, Member
from entrepot.layers.tree import MAX_ENTRIES, Tree
from entrepot.store.threads import DiskThreads
from entrepot.transfer.contents import Events, ImageContents, read_layer
from entrepot.transfer.tasks import Crew

_AT_ONCE = 2  # each keeps a processor busy


@dataclass(frozen=True, slots=True)
class LayerMembers:
    """The headers of one layer in order, each with the digest of its content, if that was asked for."""

    members: list[tuple[Member, str]]
    unpacked: Uncompressed


@dataclass(slots=True)
class TreeBuilder:
    """Builds trees; a layer that several images have is read for the first of them only.

    ``hash_files`` finds out the digest of every file's content.
    """

    hash_files: bool = False
    _layers: dict[str, LayerMembers] = field(default_factory=dict)
    _threads: DiskThreads = field(default_factory=lambda: DiskThreads(_AT_ONCE))

    async def build(self, image: ImageContents) -> Tree:
        """The files of all layers. Raises Corrupt, LayerInvalid, LayerTooLarge, BlobUnknown."""
        slots = asyncio.Semaphore(_AT_ONCE)
        async with Crew() as crew:
            for digest in dict.fromkeys(layer.digest for layer in image.layers):
                if digest not in self._layers:
                    crew.start(self._read(image, digest, slots))
        return await self._threads.run(self._assemble, image)

    async def _read(self, image: ImageContents, digest: str, slots: asyncio.Semaphore) -> None:
        async with slots:
            collecting = _Collecting(self.hash_files)
            blob = await image.source.find_blob(Digest.parse(digest))
            unpacked = await read_layer(blob, collecting.take, self._threads)
            collecting.finish()
            self._layers[digest] = LayerMembers(collecting.members, unpacked)

    def _assemble(self, image: ImageContents) -> Tree:
        tree = Tree()
        for number, layer in enumerate(image.layers):
            found = self._layers[layer.digest]
            _require_diff_id(layer.digest, image.diff_id(number), found.unpacked.diff_id)
            for place, (member, content) in enumerate(found.members):
                inode = tree.add(member, number, place)
                if inode is not None and member.kind is Kind.FILE:
                    inode.content = content
        return tree


def _require_diff_id(digest: str, expected: str, actual: Digest) -> None:
    if actual != expected and expected.startswith("sha256:"):
        raise LayerInvalid(f"the image's config expects layer {digest} to unpack to {expected}, it is {actual}")


@dataclass(slots=True)
class _Collecting:
    """Gathers the members of one layer."""

    hash_files: bool
    members: list[tuple[Member, str]] = field(default_factory=list)
    _member: Member | None = None
    _hash: Any = None

    def take(self, events: Events) -> None:
        for event in events:
            if isinstance(event, Member):
                self.finish()
                if len(self.members) >= MAX_ENTRIES:
                    raise LayerTooLarge(f"a layer may have {MAX_ENTRIES} files, this one has more", limit=MAX_ENTRIES)
                self._member = event
                self._hash = hashlib.sha256() if self.hash_files and event.kind is Kind.FILE else None
            elif self._hash is not None:
                self._hash.update(event)

    def finish(self) -> None:
        if self._member is not None:
            self.members.append((self._member, self._hash.hexdigest() if self._hash is not None else ""))
            self._member = None
