"""The user's own images: what ``pull``, ``tag`` and ``load`` put somewhere, and ``images`` lists.

One root folder with a database and bytes, the same as a server's; see ``catalogue.py`` for how images lie in it. Every
change is one transaction, so that several programs may work on one store.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from entrepot.digest import Digest
from entrepot.errors import Corrupt, Invalid, NameInvalid, ParameterInvalid, RegistryError
from entrepot.image import parse_config
from entrepot.image_store import documents, pruning, usage
from entrepot.image_store import removal as removing
from entrepot.image_store.catalogue import KeptManifest
from entrepot.image_store.documents import HistoryRow
from entrepot.image_store.filters import Filters
from entrepot.image_store.listing import ImageRow, Library, read_library
from entrepot.image_store.lookup import Found, ImageRecord, locate, locate_in, no_such_image, record_of
from entrepot.image_store.pruning import Pruned
from entrepot.image_store.removal import Removal
from entrepot.image_store.selection import select_rows
from entrepot.image_store.usage import Usage
from entrepot.metadata import images, layers, origins
from entrepot.metadata.base import Metadata
from entrepot.metadata.layers import ConfigFacts, LayerFacts
from entrepot.platforms import Platform, host_platform
from entrepot.reference import ImageReference
from entrepot.store.base import PartialStore

_LARGEST_CONFIG = 16 * 1024 * 1024


class ImageStore:
    """The images of one root. ``platform`` is the one an index shows itself by; ``clock`` tells seconds since 1970."""

    def __init__(
        self,
        store: PartialStore,
        metadata: Metadata,
        *,
        platform: Platform | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.platform = platform or host_platform()
        self._store = store
        self._metadata = metadata
        self._clock = clock

    async def find(self, text: str) -> Found:
        """What a name or an ID leads to, maybe an index. Raises ManifestUnknown, NameInvalid."""
        return await self._metadata.read_much(locate(text, self.platform))

    async def resolve(self, text: str, platform: Platform | None = None) -> ImageRecord:
        """The image that a name, ``NAME@DIGEST``, an ID or the beginning of an ID means.

        Out of an index it is the one for ``platform``; without a platform the one for this computer, else the
        first that is here. Raises ManifestUnknown, NameInvalid.
        """
        found = await self.find(text)
        return record_of(found, platform or self.platform, strict=platform is not None)

    async def list_images(self, filters: Filters | None = None, *, digests: bool = False) -> list[ImageRow]:
        """The lines of ``images``, the newest first.

        Raises ParameterInvalid, and ManifestUnknown for an image that a filter names.
        """
        return select_rows(await self.library(), filters or Filters(), self.platform, self._clock(), digests=digests)

    async def library(self) -> Library:
        """Every image with what is known of it."""
        library = await self._metadata.read_much(read_library(self.platform))
        if library.missing_configs:
            await self._read_configs(library)
        return library

    async def _read_configs(self, library: Library) -> None:
        by_id = library.by_id()
        facts = [await self._facts(kept) for kept in library.missing_configs]
        for each in facts:
            by_id[each.digest].learn(each)
        with suppress(RegistryError):  # it only saves the next one some time
            await self._metadata.write(layers.record_configs(facts), durable=False)

    async def _facts(self, kept: KeptManifest) -> ConfigFacts:
        try:
            document = json.loads(await self.read_blob(kept, kept.image_id))
        except (RegistryError, ValueError, RecursionError):
            document = None
        if not isinstance(document, dict):
            return ConfigFacts.of(kept.image_id, None, {})
        created, container = document.get("created"), document.get("config")
        labels = container.get("Labels") if isinstance(container, dict) else None
        return ConfigFacts.of(kept.image_id, created if isinstance(created, str) else None, _texts(labels))

    async def read_blob(self, kept: KeptManifest, digest: str) -> bytes:
        """A small blob of the repository that ``kept`` is in, e.g. its config. Raises Corrupt when it is not there."""
        blob = await self._metadata.read(images.find_blob(kept.repository_id, digest))
        if blob is None or blob.size > _LARGEST_CONFIG:
            raise Corrupt(f"{digest} of {kept.repository} is not here, or too large to be read", digest=digest)
        async with self._store.open(blob) as pieces:
            return b"".join([piece async for piece in pieces])

    async def tag(self, source: str, target: str) -> None:
        """Give what ``source`` names another name. Raises ManifestUnknown, Invalid."""
        reference = parse_target(target)
        found = await self.find(source)
        assert reference.tag is not None  # parse_target has seen to it
        copied = await self._metadata.write(
            images.tag_manifest(
                found.shelf.repository_id, found.top.digest, reference.stored_name, reference.tag, self._now()
            )
        )
        if copied is None:  # somebody has removed it since
            raise no_such_image(source, found.reference)

    async def remove(self, text: str, *, force: bool = False) -> Removal:
        """Take a name away from an image, and delete the image with its last one; see ``removal.py``.

        Raises ManifestUnknown, NameInvalid, BlobInUse when it must be forced.
        """
        async with self._store.guard(alone=True):
            removal = await self._metadata.write(removing.remove(text, self.platform, force=force))
            await pruning.delete_bytes(self._store, removal.blobs)
        return removal

    async def prune(self, filters: Filters | None = None, *, everything: bool = False) -> Pruned:
        """Remove images without a tag, or all; without filters also what transfers and crashes have left behind."""
        filters = filters or Filters()
        await self.library()  # so that it is known what every config says
        async with self._store.guard(alone=True):
            removal = await self._metadata.write(
                pruning.prune_images(self.platform, filters, self._clock(), everything=everything)
            )
            reclaimed = await pruning.delete_bytes(self._store, removal.blobs)
            if not filters.values:
                left = await self._metadata.write(pruning.prune_leftovers(self._now()))
                reclaimed += await pruning.delete_bytes(self._store, left)
        pruned = Pruned(removal, [], reclaimed)
        if not filters.values:
            await self._prune_store(pruned)
        return pruned

    async def _prune_store(self, pruned: Pruned) -> None:
        pruned.reclaimed += await pruning.delete_orphans(self._store, self._metadata)
        for digest, size in await pruning.discard_partials(self._store):
            pruned.downloads.append(digest)
            pruned.reclaimed += size

    async def usage(self) -> Usage:
        """What it all takes on the disk."""
        await self.library()
        measured = await self._metadata.read_much(usage.measure(self.platform))
        await usage.add_what_lies_about(measured, self._store, self._metadata)
        return measured

    async def inspect(self, text: str, platform: Platform | None = None) -> dict[str, Any]:
        """The object that ``docker image inspect`` prints. Raises ManifestUnknown, NameInvalid, ManifestInvalid."""
        library = await self.library()
        found = locate_in(library.shelves, text, platform or self.platform)
        record = record_of(found, platform or self.platform, strict=platform is not None)
        config = parse_config(await self.read_blob(found.top, record.id))
        image = library.by_id().get(record.id)
        names = image.references if image is not None else []
        times = [tag.updated_at for top in (image.tops if image is not None else []) for tag in top.tags]
        sizes = await self._layer_sizes(record)
        return documents.image_document(record, config, names, size=sum(sizes), tagged_at=max(times, default=None))

    async def history(self, text: str, platform: Platform | None = None) -> list[HistoryRow]:
        """How an image was made, the newest step first. Raises as ``inspect`` does."""
        found = await self.find(text)
        record = record_of(found, platform or self.platform, strict=platform is not None)
        config = parse_config(await self.read_blob(found.top, record.id))
        return documents.history_rows(record, config, await self._layer_sizes(record))

    async def _layer_sizes(self, record: ImageRecord) -> list[int]:
        facts = [await self.find_layer(layer.digest) for layer in record.layers]
        return [known.size if known else layer.size for known, layer in zip(facts, record.layers, strict=True)]

    async def record_pull(self, reference: ImageReference, digest: Digest) -> None:
        """The manifest came from its registry: it has a digest there, and its layers can be mounted from there."""
        await self._metadata.write(origins.record_origin(reference.stored_name, digest, self._now()))

    async def record_layer(self, digest: Digest, diff_id: Digest, size: int) -> None:
        """What was found out while a layer was read: the digest and size of its uncompressed form."""
        await self._metadata.write(layers.record_layer(digest, diff_id, size), durable=False)

    async def find_layer(self, digest: str) -> LayerFacts | None:
        """What ``record_layer`` was told."""
        return await self._metadata.read(layers.find_layer(digest))

    def _now(self) -> int:
        return int(self._clock())


def parse_target(text: str) -> ImageReference:
    """A name to give to an image, with ``latest`` when there is no tag. Raises Invalid."""
    try:
        reference = ImageReference.parse(text).with_default_tag()
    except Invalid as error:
        raise NameInvalid(f'"{text[:300]}" is not a valid repository/tag: {error.message}', **error.detail) from error
    if reference.digest is not None:
        raise ParameterInvalid("refusing to create a tag with a digest reference", target=text)
    if reference.familiar_name in ("sha256", "sha512"):
        raise ParameterInvalid("refusing to create an ambiguous tag using digest algorithm as name", target=text)
    return reference


def _texts(value: Any) -> dict[str, str]:
    if not isinstance(value, dict):
        return {}
    return {key: text for key, text in value.items() if isinstance(text, str)}
