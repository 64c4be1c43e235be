"""What there is to copy: the manifests that hang together, and the blobs they name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
from entrepot.transfer.tasks import Crew, Slots

MAX_DEPTH = 8  # indexes in indexes; real ones have two levels
MAX_MANIFESTS = 10_000
MAX_CONTENT = 256 * 1024 * 1024  # bytes of all manifests together; they are in memory
PARALLEL = 8  # manifests that are read side by side

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
        if self.digest not in seen:
            for child in self.children:
                child._walk(seen)
            seen[self.digest] = self

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
    _slots: Slots = field(default_factory=lambda: Slots(PARALLEL))
    _content: int = 0

    async def read(self, reference: Tag | Digest) -> Node:
        """Raises NotFound, ManifestInvalid, PlatformUnknown."""
        return await self._node(await self.source.get_manifest(reference), ())

    async def _node(self, stored: StoredManifest, above: tuple[str, ...]) -> Node:
        self._content += len(stored.content)
        manifest = _parse(stored)
        children: dict[str, Node] = {}
        left_out: list[IndexEntry] = []
        loose: list[Descriptor] = []
        if manifest.media_type in INDEX_TYPES:
            entries = self.choice(manifest)
            chosen = {entry.descriptor.digest for entry in entries}
            left_out = [entry for entry in index_entries(manifest) if entry.descriptor.digest not in chosen]
            loose = [entry.descriptor for entry in entries if entry.descriptor.media_type not in MANIFEST_TYPES]
            manifests = [entry for entry in entries if entry.descriptor.media_type in MANIFEST_TYPES]
            children = await self._children(manifests, (*above, stored.digest))
            left_out += [entry for entry in manifests if entry.descriptor.digest not in children]
        node = Node(manifest, stored.digest, tuple(children.values()), tuple(left_out), tuple(loose))
        self._nodes[stored.digest] = node
        return node

    async def _children(self, entries: Sequence[IndexEntry], above: tuple[str, ...]) -> dict[str, Node]:
        """The nodes of an index by digest, in its order; without those that are not there, if that is allowed."""
        wanted = list(dict.fromkeys(entry.descriptor.digest for entry in entries))
        found: dict[str, Node] = {}
        async with Crew() as crew:
            for digest in wanted:
                crew.start(self._child(Digest.parse(digest), above, found))
        for entry in entries:
            _require_size(entry.descriptor, found.get(entry.descriptor.digest))
        return {digest: found[digest] for digest in wanted if digest in found}

    async def _child(self, digest: Digest, above: tuple[str, ...], found: dict[str, Node]) -> None:
        self._require_bounds(digest, above)
        try:
            if digest not in self._nodes:
                async with self._slots:
                    self._require_bounds(digest, above)
                    stored = await self.source.get_manifest(digest)
                await self._node(stored, above)
        except NotFound:
            if not self.skip_absent:
                raise
        else:
            found[digest] = self._nodes[digest]

    def _require_bounds(self, digest: Digest, above: tuple[str, ...]) -> None:
        is_bounded = len(self._nodes) <= MAX_MANIFESTS and self._content <= MAX_CONTENT
        if digest in above or len(above) > MAX_DEPTH or not is_bounded:
            raise ManifestInvalid(
                f"the index {above[0]} goes in circles or has too much below it: at most {MAX_DEPTH} levels, "
                f"{MAX_MANIFESTS} manifests, and {MAX_CONTENT} bytes of them are followed",
                digest=digest,
            )


def _require_size(descriptor: Descriptor, node: Node | None) -> None:
    if node is not None and len(node.manifest.content) != descriptor.size:
        raise ManifestInvalid(
            f"an index says {node.digest} has {descriptor.size} bytes; it has {len(node.manifest.content)}",
            digest=node.digest,
            expected=descriptor.size,
            actual=len(node.manifest.content),
        )


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
