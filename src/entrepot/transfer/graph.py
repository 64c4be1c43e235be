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


@dataclass(frozen=True, slots=True)
class _Found:
    """A manifest that was read, and which of its entries are to be followed."""

    manifest: Manifest
    digest: Digest
    followed: tuple[IndexEntry, ...] = ()
    left_out: tuple[IndexEntry, ...] = ()
    loose: tuple[Descriptor, ...] = ()


@dataclass(slots=True)
class Reader:
    """Reads the graph below a reference out of a repository: level by level, each manifest once."""

    source: Repository
    choice: Choice = everything
    skip_absent: bool = False  # take an index with those of its children that are there
    _found: dict[str, _Found | None] = field(default_factory=dict)  # None: not there
    _nodes: dict[str, Node] = field(default_factory=dict)
    _content: int = 0

    async def read(self, reference: Tag | Digest) -> Node:
        """Raises NotFound, ManifestInvalid, PlatformUnknown."""
        stored = await self.source.get_manifest(reference)
        root = self._take(stored)
        level = [root]
        for _ in range(MAX_DEPTH + 1):
            level = await self._below(level)
        if level:
            raise _endless(root.digest)
        return self._node(root, ())

    async def _below(self, level: Sequence[_Found]) -> list[_Found]:
        """What a level names and nobody has named before."""
        named = dict.fromkeys(entry.descriptor.digest for found in level for entry in found.followed)
        new = [Digest.parse(digest) for digest in named if digest not in self._found]
        slots = Slots(PARALLEL)
        async with Crew() as crew:
            for digest in new:
                crew.start(self._fetch(digest, slots))
        return [found for digest in new if (found := self._found[digest]) is not None]

    async def _fetch(self, digest: Digest, slots: Slots) -> None:
        async with slots:
            if len(self._found) > MAX_MANIFESTS or self._content > MAX_CONTENT:
                raise _endless(digest)
            try:
                self._found[digest] = self._take(await self.source.get_manifest(digest))
            except NotFound:
                if not self.skip_absent:
                    raise
                self._found[digest] = None

    def _take(self, stored: StoredManifest) -> _Found:
        self._content += len(stored.content)
        manifest = _parse(stored)
        found = _Found(manifest, stored.digest)
        if manifest.media_type in INDEX_TYPES:
            entries = self.choice(manifest)
            chosen = {entry.descriptor.digest for entry in entries}
            found = _Found(
                manifest,
                stored.digest,
                tuple(entry for entry in entries if entry.descriptor.media_type in MANIFEST_TYPES),
                tuple(entry for entry in index_entries(manifest) if entry.descriptor.digest not in chosen),
                tuple(entry.descriptor for entry in entries if entry.descriptor.media_type not in MANIFEST_TYPES),
            )
        self._found[stored.digest] = found
        return found

    def _node(self, found: _Found, above: tuple[str, ...]) -> Node:
        if found.digest in above or len(above) > MAX_DEPTH:
            raise _endless(above[0])
        if found.digest not in self._nodes:
            children: dict[str, Node] = {}
            absent: list[IndexEntry] = []
            for entry in found.followed:
                child = self._found[entry.descriptor.digest]
                if child is None:
                    absent.append(entry)
                else:
                    _require_size(entry.descriptor, child)
                    children[child.digest] = self._node(child, (*above, found.digest))
            left_out = (*found.left_out, *absent)
            node = Node(found.manifest, found.digest, tuple(children.values()), left_out, found.loose)
            self._nodes[found.digest] = node
        return self._nodes[found.digest]


def _endless(digest: str) -> ManifestInvalid:
    return ManifestInvalid(
        f"the index {digest} goes in circles or has too much below it: at most {MAX_DEPTH} levels, {MAX_MANIFESTS} "
        f"manifests, and {MAX_CONTENT} bytes of them are followed",
        digest=digest,
    )


def _require_size(descriptor: Descriptor, found: _Found) -> None:
    size = len(found.manifest.content)
    if size != descriptor.size:
        raise ManifestInvalid(
            f"an index says {found.digest} has {descriptor.size} bytes; it has {size}",
            digest=found.digest,
            expected=descriptor.size,
            actual=size,
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
