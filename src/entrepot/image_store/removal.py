"""Deleting images: docker's rules for ``rmi``, and what ``prune`` takes away.

The rules are those of Docker's engine (daemon/images/image_delete.go): a name is taken away first, and when nothing
names the image any more it goes altogether; by its ID only an image goes that has one name, unless it is forced.
Everything here is one transaction; the bytes of the blobs that are named no more are deleted after it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from entrepot.errors import BlobInUse
from entrepot.image_store.catalogue import KeptManifest, Shelf, references, references_of
from entrepot.image_store.listing import Image, Library, read_library
from entrepot.image_store.lookup import Found, locate_in
from entrepot.metadata import images, layers, origins
from entrepot.metadata.base import Steps, operation
from entrepot.platforms import Platform
from entrepot.reference import ImageReference
from entrepot.store.base import StoredBlob


@dataclass
class Removal:
    """What was taken away: names, IDs of images and chain IDs of layers; and bytes that nobody names any more."""

    untagged: list[str] = field(default_factory=list)
    deleted: list[str] = field(default_factory=list)
    blobs: list[StoredBlob] = field(default_factory=list)

    def lines(self, untagged: str = "Untagged", deleted: str = "Deleted") -> Iterator[str]:
        """As docker prints them."""
        yield from (f"{untagged}: {name}" for name in self.untagged)
        yield from (f"{deleted}: {digest}" for digest in self.deleted)


@operation
def remove(text: str, wanted: Platform, *, force: bool) -> Steps[Removal]:
    """What ``rmi`` does for one argument. Raises ManifestUnknown, NameInvalid, BlobInUse for a conflict."""
    remover = yield from begin(wanted)
    found = locate_in(remover.library.shelves, text, wanted)
    image = next((image for image in remover.library.images if found.top in image.tops), None)
    if image is None:
        yield from remover.remove_part(found, force=force)
    elif found.reference is not None:
        yield from remover.remove_name(image, found.top, found.reference)
    else:
        if not force and not _has_one_name(image.references):
            raise _conflict(image.id, "image is referenced in multiple repositories")
        yield from remover.remove_image(image)
    return remover.done


@operation
def begin(wanted: Platform) -> Steps[Remover]:
    """Read everything there is."""
    library = yield from read_library(wanted)
    diff_ids = yield from layers.diff_ids()
    return Remover(library, diff_ids)


def _has_one_name(names: Sequence[ImageReference]) -> bool:
    return len({name.name for name in names}) <= 1 and sum(name.tag is not None for name in names) <= 1


def _conflict(image_id: str, reason: str) -> BlobInUse:
    short = image_id.partition(":")[2][:12]
    return BlobInUse(f"conflict: unable to delete {short} (must be forced) - {reason}", id=image_id)


@dataclass
class Remover:
    """Removes images out of a library, and keeps account of it."""

    library: Library
    diff_ids: Mapping[str, str]
    done: Removal = field(default_factory=Removal)
    _gone: set[str] = field(default_factory=set)  # digests of blobs
    _told: set[str] = field(default_factory=set)

    def remove_name(self, image: Image, top: KeptManifest, name: ImageReference) -> Steps[None]:
        """Take away one name. Digests go with the last tag of their repository, the image with its last name."""
        here = [each for each in image.tops if each.repository_id == top.repository_id]
        lost = [each for each in references_of(top) if each.target == name.target]
        if not lost and top.tags:
            raise _conflict(image.id, f"image is named {references_of(top)[0].familiar}")
        others = [each for each in references(here) if each not in lost]
        if name.digest is None and not any(each.tag for each in others):
            lost += others
        if all(each in lost for each in image.references):
            yield from self.remove_image(image)
            return
        self.done.untagged += [each.familiar for each in lost]
        for each in here:
            yield from _forget_names(each, lost)
        nameless = [each for each in here if all(left in lost for left in references_of(each))]
        yield from self._remove_tops(self.library.shelf_of(top), nameless)

    def remove_part(self, found: Found, *, force: bool) -> Steps[None]:
        """Remove one platform out of an index that stays."""
        parents = references(found.shelf.parents(found.top))
        if not force:
            name = parents[0].familiar if parents else "another manifest"
            raise _conflict(found.top.image_id, f"image is part of {name}")
        yield from self._remove_manifests(found.shelf, [found.top])
        self._tell_deleted([found.top])

    def remove_image(self, image: Image) -> Steps[None]:
        """Remove an image from every repository of the image store, with all its names."""
        self.done.untagged += [name.familiar for name in image.references]
        gone = [image.manifest]
        for repository_id in dict.fromkeys(top.repository_id for top in image.tops):
            tops = [top for top in image.tops if top.repository_id == repository_id]
            gone += yield from self._remove_tops(self.library.shelf_of(tops[0]), tops)
        self._tell_deleted(gone)

    def remove_copies(self, image: Image) -> Steps[None]:
        """Remove what of an image has no name of its own, where names elsewhere lead to the same image."""
        nameless = [top for top in image.tops if not references_of(top)]
        if len(nameless) < len(image.tops):
            for top in nameless:
                yield from self._remove_tops(self.library.shelf_of(top), [top])

    def _remove_tops(self, shelf: Shelf, tops: Sequence[KeptManifest]) -> Steps[list[KeptManifest]]:
        """Remove manifests with all below them that nothing else leads to; returns the images among what went."""
        others = [top for top in shelf.tops() if top not in tops]
        kept = {below.row.digest for top in others for below in shelf.below(top)}
        gone = {below.row.digest: below for top in tops for below in shelf.below(top) if below.row.digest not in kept}
        for manifest in shelf.manifests.values():  # signatures and the like go with what they are about
            if manifest.row.subject in gone and manifest.row.digest not in kept and not manifest.is_named:
                gone[manifest.row.digest] = manifest
        images_below = [image for top in tops for _, image in shelf.platforms(top) if image.row.digest in gone]
        yield from self._remove_manifests(shelf, gone.values())
        return images_below

    def _remove_manifests(self, shelf: Shelf, gone: Iterable[KeptManifest]) -> Steps[None]:
        manifests = list(gone)
        blobs = yield from images.remove_manifests(shelf.repository_id, [each.row.id for each in manifests])
        shelf.forget(manifests)
        self.done.blobs += blobs
        self._gone.update(blob.digest for blob in blobs)

    def _tell_deleted(self, gone: Sequence[KeptManifest]) -> None:
        """The IDs of images that went, then what docker calls their layers."""
        told = [manifest.image_id for manifest in gone]
        told += [chain for manifest in gone for chain in chain_ids(manifest, self._gone, self.diff_ids)]
        self.done.deleted += [each for each in dict.fromkeys(told) if each not in self._told]
        self._told.update(told)


def _forget_names(top: KeptManifest, lost: Sequence[ImageReference]) -> Steps[None]:
    for name in references_of(top):
        if name in lost and name.tag is not None:
            yield from images.remove_tag(top.repository_id, name.tag)
        elif name in lost:
            yield from origins.forget_origin(top.row.id)


def chain_ids(manifest: KeptManifest, gone: Container[str], diff_ids: Mapping[str, str]) -> list[str]:
    """The chain IDs (image-spec, config.md, "Layer ChainID") of the layers whose blobs are gone, uppermost first."""
    chain, found = "", []
    for layer in manifest.layers:
        diff_id = diff_ids.get(layer.digest)
        if diff_id is None:
            break
        chain = f"sha256:{hashlib.sha256(f'{chain} {diff_id}'.encode()).hexdigest()}" if chain else diff_id
        if layer.digest in gone:
            found.append(chain)
    return found[::-1]
