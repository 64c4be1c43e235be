"""What ``prune`` takes away: images without a tag, what was left by transfers that broke off, bytes nobody names."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field

from entrepot.digest import Digest
from entrepot.errors import Corrupt
from entrepot.image_store import filters as filtering
from entrepot.image_store.catalogue import read_shelves
from entrepot.image_store.filters import Filters
from entrepot.image_store.removal import Removal, begin
from entrepot.metadata import images, origins
from entrepot.metadata.base import Metadata, Steps, operation
from entrepot.platforms import Platform
from entrepot.store.base import PartialStore, StoredBlob

GRACE_SECONDS = 3600  # a blob that is younger may belong to an image that is being fetched right now
_PUSH_SECONDS = 7 * 86400  # registries give up unfinished uploads earlier than this


@dataclass
class Pruned:
    """What went. ``downloads`` are unfinished blobs; ``reclaimed`` in bytes, all together."""

    removal: Removal = field(default_factory=Removal)
    downloads: list[Digest] = field(default_factory=list)
    reclaimed: int = 0


@operation
def prune_images(wanted: Platform, filters: Filters, now: float, *, everything: bool) -> Steps[Removal]:
    """Remove images without a tag, or all of them, as far as ``filters`` lets them go."""
    remover = yield from begin(wanted)
    chosen = filtering.apply(filters, remover.library.images, created_at=_no_moment, now=now)
    gone = {image for image in chosen if everything or image.is_dangling}
    for image in sorted(gone, key=lambda image: image.id):
        yield from remover.remove_image(image)
    for image in remover.library.images:
        if image not in gone:
            yield from remover.remove_copies(image)
    return remover.done


def _no_moment(name: str) -> float:
    raise AssertionError(f"prune takes no filter with an image, and got {name}")


@operation
def prune_leftovers(now: int) -> Steps[list[StoredBlob]]:
    """Forget blobs that no manifest names, except the youngest, and uploads that are long over."""
    gone: list[StoredBlob] = []
    for shelf in (yield from read_shelves()):
        gone += yield from images.unlink_unnamed(shelf.repository_id, now - GRACE_SECONDS)
    gone += yield from images.remove_unlinked_blobs()
    yield from origins.forget_old_pushes(now - _PUSH_SECONDS)
    return gone


async def delete_bytes(store: PartialStore, blobs: Iterable[StoredBlob]) -> int:
    """Delete bytes that have no row any more; the caller holds the guard alone. Returns how many they were."""
    size = 0
    for blob in blobs:
        with suppress(Corrupt):  # somebody was there before us
            await store.delete(blob.location)
            size += blob.size
    return size


async def delete_orphans(store: PartialStore, metadata: Metadata) -> int:
    """Delete bytes that a crash has left without a row. Returns how many they were."""
    found = [blob async for blob in store.walk() if not await metadata.read(images.is_recorded(blob))]
    if not found:
        return 0
    async with store.guard(alone=True):  # what has been recorded meanwhile stays
        orphans = [blob for blob in found if not await metadata.read(images.is_recorded(blob))]
        return await delete_bytes(store, orphans)


async def discard_partials(store: PartialStore) -> list[tuple[Digest, int]]:
    """Remove blobs that were begun, except those somebody works on. Returns them with the bytes they took."""
    found = [each async for each in store.walk_partials()]
    return [(digest, size) for digest, size in found if await store.discard_partial(digest)]
