"""What the image store takes on the disk, and what deleting would free. Sizes are of the bytes as they are kept."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from entrepot.digest import Digest
from entrepot.image_store.listing import Image, Library, read_library
from entrepot.metadata import images
from entrepot.metadata.base import Metadata, Steps, operation
from entrepot.platforms import Platform
from entrepot.store.base import PartialStore


@dataclass(frozen=True, slots=True)
class ImageUsage:
    """One image: all its blobs, and those that only it has."""

    image: Image
    size: int
    unique: int

    @property
    def shared(self) -> int:
        return self.size - self.unique


@dataclass(frozen=True, slots=True)
class Usage:
    """Everything; ``leftovers`` are blobs that no image names, ``downloads`` those that have not come in full."""

    images: list[ImageUsage]
    size: int  # of all images, what they share counted once
    reclaimable: int  # of images without a tag
    leftovers: list[int]
    downloads: list[tuple[Digest, int]]

    @property
    def active(self) -> int:
        return sum(not usage.image.is_dangling for usage in self.images)


@operation
def measure(wanted: Platform) -> Steps[Usage]:
    """What the database knows: everything but downloads, and bytes without a row."""
    library = yield from read_library(wanted)
    links = yield from images.list_links()
    ours = {shelf.repository_id for shelf in library.shelves}
    sizes = {link.digest: link.size for link in links}
    foreign = {link.digest for link in links if link.repository_id not in ours}
    parts = {image: blobs_of(library, image) & sizes.keys() for image in library.images}
    users = Counter(digest for digests in parts.values() for digest in digests)
    users.update(foreign)
    used = {digest for digests in parts.values() for digest in digests}
    tagged = {digest for image, digests in parts.items() if not image.is_dangling for digest in digests}
    return Usage(
        [
            ImageUsage(image, _sum(digests, sizes), _sum((each for each in digests if users[each] == 1), sizes))
            for image, digests in parts.items()
        ],
        _sum(used, sizes),
        _sum(used - tagged - foreign, sizes),
        [sizes[digest] for digest in sizes.keys() - used - foreign],
        [],
    )


def blobs_of(library: Library, image: Image) -> set[str]:
    """The blobs of an image, of all platforms that are here."""
    found: set[str] = set()
    for top in image.tops:
        for manifest in library.shelf_of(top).below(top):
            found.update(manifest.blobs)
    return found


def _sum(digests: Iterable[str], sizes: dict[str, int]) -> int:
    return sum(sizes[digest] for digest in digests)


async def add_what_lies_about(usage: Usage, store: PartialStore, metadata: Metadata) -> None:
    """Look into the store for what the database does not know."""
    known = await metadata.read_much(images.list_locations())
    usage.leftovers.extend([blob.size async for blob in store.walk() if blob.location not in known])
    usage.downloads.extend([each async for each in store.walk_partials()])


def shares(usage: Usage) -> Iterator[tuple[str, int, int, int, int]]:
    """The lines of ``df``: what, how many, how many in use, their bytes, and how many of these could be freed."""
    yield "Images", len(usage.images), usage.active, usage.size, usage.reclaimable
    downloads = sum(size for _, size in usage.downloads)
    yield "Unfinished downloads", len(usage.downloads), 0, downloads, downloads
    yield "Leftovers", len(usage.leftovers), 0, sum(usage.leftovers), sum(usage.leftovers)
