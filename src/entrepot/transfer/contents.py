"""What is inside the layers of an image, wherever it is: their files, read once from the first to the last byte.

Every byte is verified on the way: the layer as it is stored against its digest, unpacked against the image's config.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from entrepot import hashing
from entrepot.digest import Digest
from entrepot.errors import Corrupt, LayerInvalid, ManifestUnknown, PlatformUnknown
from entrepot.image import IMAGE_CONFIG_TYPES, ImageConfig, image_config, image_layers, index_entries, parse_config
from entrepot.layers.diff_id import DiffIdHash, Uncompressed
from entrepot.layers.tar import Member, TarStream
from entrepot.manifest import Descriptor
from entrepot.platforms import Platform, choose
from entrepot.repositories.base import Blob, Repository
from entrepot.store.threads import DiskThreads
from entrepot.transfer.copy import MAX_UNPACKED
from entrepot.transfer.graph import Node

MAX_CONFIG = 64 * 1024 * 1024
Events = Iterator[Member | bytes]  # each member, followed by its content in pieces


@dataclass(frozen=True, slots=True)
class ImageContents:
    """One image: where it is, its manifest, its config, its layers from the lowest."""

    source: Repository
    node: Node
    config: ImageConfig
    layers: tuple[Descriptor, ...]

    def diff_id(self, place: int) -> str:
        """What the config says that the layer unpacks to."""
        return self.config.diff_ids[place]


class LayerReader:
    """The members of one layer whose bytes come piece by piece. Blocks; fit for a thread."""

    def __init__(self, limit: int = MAX_UNPACKED) -> None:
        self._hash = DiffIdHash(limit)
        self._tar = TarStream()

    def feed(self, piece: bytes) -> Events:
        """What is in more of the layer; take it all before the next one. Raises LayerInvalid, LayerTooLarge."""
        for part in self._hash.unpack(piece):
            yield from self._tar.feed(part)

    def finish(self) -> Uncompressed:
        """Raises LayerInvalid when the layer cannot end here."""
        for part in self._hash.flush():
            for _ in self._tar.feed(part):
                pass
        found = self._hash.finish()
        self._tar.finish()
        return found


async def read_image(source: Repository, root: Node, platform: Platform | None, *, default: Platform) -> ImageContents:
    """The image ``root``, or that of an index for ``platform``; for ``default`` or else the first when that is None.

    Raises PlatformUnknown, ManifestUnknown when it is no image, ManifestInvalid.
    """
    node = pick_image(root, platform, default)
    if node.manifest.config_media_type not in IMAGE_CONFIG_TYPES:
        raise ManifestUnknown(f"{node.digest} is no image: its config is {node.manifest.config_media_type}")
    content = await read_small(await source.find_blob(Digest.parse(image_config(node.manifest).digest)), MAX_CONFIG)
    config = parse_config(content)
    layers = tuple(layer.descriptor for layer in image_layers(node.manifest))
    if len(config.diff_ids) != len(layers):
        raise LayerInvalid(
            f"the config of {node.digest} names {len(config.diff_ids)} layers, its manifest {len(layers)}"
        )
    return ImageContents(source, node, config, layers)


def pick_image(root: Node, wanted: Platform | None, default: Platform) -> Node:
    """The image for a platform among those of an index that are here. Raises PlatformUnknown, ManifestUnknown."""
    if not root.is_index:
        return root
    images = _images_below(root)
    if not images:
        raise ManifestUnknown(f"no image of the index {root.digest} is here", digest=root.digest)
    place = choose([platform for platform, _ in images], wanted or default)
    if place is None and wanted is not None:
        here = ", ".join(sorted({str(platform) for platform, _ in images if platform}))
        raise PlatformUnknown(f"{root.digest} is not here for {wanted}, but for {here or 'none'}", platform=str(wanted))
    return images[place or 0][1]


def _images_below(root: Node) -> list[tuple[Platform | None, Node]]:
    nodes = {child.digest: child for child in root.children}
    found: list[tuple[Platform | None, Node]] = []
    for entry in index_entries(root.manifest):
        node = nodes.get(Digest(entry.descriptor.digest))
        if node is None or entry.is_attestation:
            continue
        found += _images_below(node) if node.is_index else [(entry.platform, node)]
    return found


async def read_layer(blob: Blob, take: Callable[[Events], None], threads: DiskThreads) -> Uncompressed:
    """Give ``take`` the members of a layer as they come, in a thread. Raises Corrupt, LayerInvalid, LayerTooLarge."""
    reader, hashed = LayerReader(), hashing.begin(blob.digest.algorithm)

    def work(piece: bytes) -> None:
        hashed.update(piece)
        take(reader.feed(piece))

    size = 0
    async with blob.open() as pieces:
        async for piece in pieces:
            size += len(piece)
            await threads.run(work, piece)
    require_whole(blob, hashed.digest(), size)
    return await threads.run(reader.finish)


def require_whole(blob: Blob, actual: Digest, size: int) -> None:
    """Raises Corrupt unless the bytes that were read are those of the blob."""
    if actual != blob.digest or size != blob.size:
        raise Corrupt(f"{blob.digest} is damaged: its {size} bytes hash to {actual}", digest=blob.digest)


async def read_small(blob: Blob, limit: int) -> bytes:
    """All bytes of a blob, verified. Raises LayerInvalid when there are more than ``limit``, Corrupt."""
    if blob.size > limit:
        raise LayerInvalid(f"{blob.digest} may have {limit} bytes, it has {blob.size}", limit=limit)
    async with blob.open() as pieces:
        content = b"".join([piece async for piece in pieces])
    require_whole(blob, Digest.of(content, blob.digest.algorithm), len(content))
    return content
