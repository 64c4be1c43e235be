"""Pull: a reference of a registry into the image store, layers verified against the image's config."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from entrepot.digest import Digest
from entrepot.errors import LayerInvalid, NotFound
from entrepot.image import IMAGE_CONFIG_TYPES, image_config, image_layers, parse_config
from entrepot.layers.diff_id import Uncompressed
from entrepot.manifest import NON_DISTRIBUTABLE_TYPES
from entrepot.metadata import layers, origins
from entrepot.reference import ImageReference, RepositoryName, Tag
from entrepot.repositories.base import Blob, Repository
from entrepot.repositories.local import LocalRegistry, LocalRepository
from entrepot.transfer.copy import Copied, Options, copy_graph
from entrepot.transfer.graph import Node, Reader

MAX_CONFIG = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Pulled:
    """What was pulled. ``is_new`` when anything came or the tag points elsewhere now; ``previous`` is where it did."""

    reference: ImageReference
    digest: Digest
    is_new: bool
    previous: Digest | None


@dataclass(frozen=True, slots=True)
class Pull:
    """Brings images of one repository into the store."""

    store: LocalRegistry
    source: Repository
    options: Options

    async def read(self, reference: ImageReference) -> Node:
        """What there is to pull. Raises ManifestUnknown, PlatformUnknown, ManifestInvalid."""
        return await Reader(self.source, self.options.choice).read(reference.target)

    async def run(self, reference: ImageReference, root: Node) -> Pulled:
        """Pull what ``read`` has found."""
        name = reference.stored_name
        target = self.store.repository(name)
        tags: Sequence[Tag] = () if reference.digest else [Tag(reference.target)]
        previous = await _points_to(target, tags)
        if previous == root.digest and await _is_whole(target, root):
            return Pulled(reference, root.digest, False, previous)
        facts = LayerFacts(self.store)
        options = replace(
            self.options,
            measure=facts.record,
            is_measured=facts.is_known,
            check=Configs(target, self.store).require_layers,
        )
        copied = await copy_graph(self.source, target, root, tags=tags, options=options)
        await self.store.metadata.write(origins.record_origin(name, copied.digest, self.store.now()))
        return Pulled(reference, copied.digest, _is_new(copied, previous, tags), previous)


@dataclass(frozen=True, slots=True)
class LayerFacts:
    """What the store knows of its layers' uncompressed form."""

    store: LocalRegistry

    async def record(self, digest: Digest, found: Uncompressed) -> None:
        await self.store.metadata.write(layers.record_layer(digest, found.diff_id, found.size), durable=False)

    async def is_known(self, digest: Digest) -> bool:
        return await self.store.metadata.read(layers.find_layer(digest)) is not None


@dataclass(frozen=True, slots=True)
class Configs:
    """Holds images to what their configs say of their layers (image-spec, config.md, "rootfs")."""

    repository: LocalRepository
    store: LocalRegistry

    async def require_layers(self, root: Node) -> None:
        """Raises LayerInvalid when a layer is not the one that an image's config names."""
        for node in root.walk():
            if node.manifest.config_media_type in IMAGE_CONFIG_TYPES:
                await self._require(node)

    async def _require(self, node: Node) -> None:
        config = parse_config(await self._read(Digest.parse(image_config(node.manifest).digest)))
        stacked = image_layers(node.manifest)
        if len(config.diff_ids) != len(stacked):
            raise LayerInvalid(
                f"the config of {node.digest} names {len(config.diff_ids)} layers, its manifest {len(stacked)}",
                digest=node.digest,
            )
        for layer, expected in zip(stacked, config.diff_ids, strict=True):
            if layer.descriptor.media_type not in NON_DISTRIBUTABLE_TYPES:
                await self._require_layer(layer.descriptor.digest, expected)

    async def _require_layer(self, digest: str, expected: str) -> None:
        known = await self.store.metadata.read(layers.find_layer(digest))
        if known is not None and expected.startswith("sha256:") and known.diff_id != expected:
            raise LayerInvalid(
                f"filesystem layer verification failed for digest {digest}: the image's config expects it to unpack "
                f"to {expected}, it unpacks to {known.diff_id}",
                digest=digest,
                expected=expected,
                actual=known.diff_id,
            )

    async def _read(self, digest: Digest) -> bytes:
        return await read_blob(await self.repository.find_blob(digest), limit=MAX_CONFIG)


async def read_blob(blob: Blob, *, limit: int) -> bytes:
    """All of a small blob. Raises LayerInvalid when it has more than ``limit`` bytes."""
    if blob.size > limit:
        raise LayerInvalid(f"an image's config may have {limit} bytes, {blob.digest} has {blob.size}", limit=limit)
    async with blob.open() as pieces:
        return b"".join([piece async for piece in pieces])


async def _points_to(repository: LocalRepository, tags: Sequence[Tag]) -> Digest | None:
    try:
        return (await repository.head_manifest(tags[0])).digest if tags else None
    except NotFound:
        return None


async def _is_whole(repository: LocalRepository, root: Node) -> bool:
    """Whether all that is to be pulled is there already."""
    try:
        for node in root.walk():
            await repository.head_manifest(node.digest)
        for blob in root.blobs():
            await repository.find_blob(Digest.parse(blob.digest))
    except NotFound:
        return False
    return True


def _is_new(copied: Copied, previous: Digest | None, tags: Sequence[Tag]) -> bool:
    return copied.moved or (bool(tags) and previous != copied.digest)


def stored_names(names: Sequence[str], domain: str) -> list[RepositoryName]:
    """Of names in the store, the paths of those that belong to the registry ``domain``."""
    references = [ImageReference.from_stored_name(name) for name in names if "/" in name]
    return [reference.path for reference in references if reference.domain == domain]
