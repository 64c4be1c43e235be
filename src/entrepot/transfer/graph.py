"""What there is to copy: the manifests that hang together, and the blobs they name."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field

from entrepot.digest import Digest
from entrepot.errors import ManifestInvalid, NotFound, PlatformUnknown
from entrepot.image import IndexEntry, image_config, image_layers, index_entries
from entrepot.manifest import (
    INDEX_TYPES,
    MANIFEST_TYPES,
    SCHEMA1_TYPES,
    Descriptor,
    Manifest,
    StoredManifest,
    parse_manifest,
)
from entrepot.platforms import Platform, choose
from entrepot.reference import Tag
from entrepot.repositories.base import Repository

MAX_DEPTH = 8  # indexes in indexes; real ones have two levels
MAX_MANIFESTS = 10_000

Choice = Callable[[Manifest], Sequence[IndexEntry]]


@dataclass(frozen=True, slots=True)
class Node:
    """A manifest that is to be copied, and those below it that are to be copied with it."""

    manifest: Manifest
    digest: Digest
    children: tuple[Node, ...] = ()
    left_out: tuple[IndexEntry, ...] = ()  # entries of an index that were not chosen
    loose: tuple[Descriptor, ...] = ()  # entries of an index that are blobs: build caches keep layers there

    @property
    def is_index(self) -> bool:
        return self.manifest.media_type in INDEX_TYPES

    def walk(self) -> list[Node]:
        """This and everything below, children before the index that names them, each once."""
        seen: dict[Digest, Node] = {}
        self._walk(seen)
        return list(seen.values())

    def _walk(self, seen: dict[Digest, Node]) -> None:
        for child in self.children:
            child._walk(seen)
        seen.setdefault(self.digest, self)

    def blobs(self) -> list[Descriptor]:
        """The blobs of it all, each once: of each image the layers from the lowest, then the config."""
        found: dict[str, Descriptor] = {}
        for node in self.walk():
            config, *layers = node.manifest.blobs or (None,)
            for blob in (*layers, *([config] if config else []), *node.loose):
                found.setdefault(blob.digest, blob)
        return list(found.values())

    def configs(self) -> set[str]:
        """The digests of the configs among the blobs."""
        images = (node for node in self.walk() if not node.is_index and node.manifest.blobs)
        return {image_config(node.manifest).digest for node in images}


def everything(manifest: Manifest) -> Sequence[IndexEntry]:
    """A Choice: all entries of an index."""
    return index_entries(manifest)


@dataclass(frozen=True, slots=True)
class OnlyPlatforms:
    """A Choice: the entry that fits best for each of some platforms."""

    wanted: tuple[Platform, ...]

    def __call__(self, manifest: Manifest) -> Sequence[IndexEntry]:
        entries = index_entries(manifest)
        images = [entry for entry in entries if not entry.is_attestation]
        if not any(entry.platform for entry in images):  # no image of several platforms: an index of anything
            return entries
        places = [self._place(images, platform) for platform in self.wanted]
        return [images[place] for place in dict.fromkeys(places)]

    def _place(self, images: list[IndexEntry], wanted: Platform) -> int:
        place = choose([entry.platform for entry in images], wanted)
        if place is None:
            there = sorted({str(entry.platform) for entry in images if entry.platform})
            raise PlatformUnknown(
                f"no matching manifest for {wanted} in the manifest list entries; there are: {', '.join(there)}",
                platform=str(wanted),
                platforms=there,
                hint=f"choose one of them, e.g. --platform {there[0]}",
            )
        return place


@dataclass(slots=True)
class Reader:
    """Reads the graph below a reference out of a repository."""

    source: Repository
    choice: Choice = everything
    skip_absent: bool = False  # take an index with those of its children that are there
    _nodes: dict[str, Node] = field(default_factory=dict)

    async def read(self, reference: Tag | Digest) -> Node:
        """Raises NotFound, ManifestInvalid, PlatformUnknown."""
        return await self._node(await self.source.get_manifest(reference), ())

    async def _node(self, stored: StoredManifest, above: tuple[str, ...]) -> Node:
        if stored.digest in self._nodes:
            return self._nodes[stored.digest]
        manifest = _parse(stored)
        children: list[Node] = []
        left_out: list[IndexEntry] = []
        loose: list[Descriptor] = []
        if manifest.media_type in INDEX_TYPES:
            entries = self.choice(manifest)
            chosen = {entry.descriptor.digest for entry in entries}
            left_out = [entry for entry in index_entries(manifest) if entry.descriptor.digest not in chosen]
            loose = [entry.descriptor for entry in entries if entry.descriptor.media_type not in MANIFEST_TYPES]
            manifests = [entry for entry in entries if entry.descriptor.media_type in MANIFEST_TYPES]
            async for entry, child in self._children(manifests, (*above, stored.digest)):
                if child is None:
                    left_out.append(entry)
                else:
                    children.append(child)
        node = Node(manifest, stored.digest, tuple(children), tuple(left_out), tuple(loose))
        self._nodes[stored.digest] = node
        return node

    async def _children(
        self, entries: Sequence[IndexEntry], above: tuple[str, ...]
    ) -> AsyncIterator[tuple[IndexEntry, Node | None]]:
        for entry in entries:
            digest = entry.descriptor.digest
            if digest in above or len(above) > MAX_DEPTH or len(self._nodes) > MAX_MANIFESTS:
                raise ManifestInvalid(
                    f"the index {above[0]} goes in circles or too deep: at most {MAX_DEPTH} levels and "
                    f"{MAX_MANIFESTS} manifests are followed",
                    digest=digest,
                )
            try:
                stored = await self._child(entry)
            except NotFound:
                if not self.skip_absent:
                    raise
                yield entry, None
            else:
                yield entry, await self._node(stored, above)

    async def _child(self, entry: IndexEntry) -> StoredManifest:
        stored = await self.source.get_manifest(Digest.parse(entry.descriptor.digest))
        if len(stored.content) != entry.descriptor.size:
            raise ManifestInvalid(
                f"an index says {stored.digest} has {entry.descriptor.size} bytes; it has {len(stored.content)}",
                digest=stored.digest,
            )
        return stored


def _parse(stored: StoredManifest) -> Manifest:
    if stored.media_type in SCHEMA1_TYPES:
        raise ManifestInvalid(
            "the image is of schema 1, which ended in 2017 and is not supported; push it anew with any current tool",
            media_type=stored.media_type,
        )
    return parse_manifest(stored.content, stored.media_type, allow_unknown_types=True)


def layers_of(node: Node) -> list[Descriptor]:
    """The layers of an image, lowest first, non-distributable ones included."""
    return [layer.descriptor for layer in image_layers(node.manifest)] if node.manifest.blobs else []
