"""From what somebody typed to the image that is meant: a name, a name with a digest, an ID or the beginning of one."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from entrepot.digest import Digest
from entrepot.errors import Invalid, ManifestUnknown, NameInvalid
from entrepot.image_store.catalogue import KeptManifest, Shelf, is_image_repository, read_shelf, read_shelves
from entrepot.manifest import Descriptor, StoredManifest
from entrepot.metadata.base import Steps, operation
from entrepot.platforms import Platform
from entrepot.reference import ImageReference, RepositoryName, Tag

_ID = re.compile(r"(?:sha256:)?([0-9a-f]{1,64})", re.ASCII)
_FULL_ID = re.compile(r"sha256:[0-9a-f]{64}|[0-9a-f]{64}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Found:
    """What a text leads to. ``reference`` is None when it was an ID."""

    shelf: Shelf
    top: KeptManifest
    reference: ImageReference | None


@dataclass(frozen=True, slots=True)
class ImageRecord:
    """An image of the store: where it is kept, what its name points to, and the manifest for one platform."""

    repository: RepositoryName  # as stored
    tag: Tag | None
    top: StoredManifest  # maybe an index
    manifest: StoredManifest
    id: Digest  # of the config
    config: Descriptor
    layers: tuple[Descriptor, ...]

    @property
    def is_index(self) -> bool:
        return self.top.digest != self.manifest.digest


@operation
def locate(text: str, wanted: Platform) -> Steps[Found]:
    """Find what ``text`` names: names before IDs. Raises ManifestUnknown, NameInvalid."""
    reference = parse_name(text)
    if reference is not None and is_image_repository(reference.stored_name):
        shelf = yield from read_shelf(reference.stored_name)
        found = _by_name(shelf, reference) if shelf is not None else None
        if found is not None:
            return found
    shelves = (yield from read_shelves()) if _ID.fullmatch(text) else []
    return locate_id(shelves, text, wanted, reference)


def locate_in(shelves: Sequence[Shelf], text: str, wanted: Platform) -> Found:
    """As ``locate``, where everything has been read already."""
    reference = parse_name(text)
    if reference is not None:
        for shelf in shelves:
            found = _by_name(shelf, reference) if shelf.name == reference.stored_name else None
            if found is not None:
                return found
    return locate_id(shelves, text, wanted, reference)


def parse_name(text: str) -> ImageReference | None:
    """The name that ``text`` is; None when it can only be an ID. Raises NameInvalid, TagInvalid, DigestInvalid."""
    if _FULL_ID.fullmatch(text):
        return None
    try:
        return ImageReference.parse(text)
    except Invalid:
        if _ID.fullmatch(text):
            return None
        raise


def _by_name(shelf: Shelf, reference: ImageReference) -> Found | None:
    target = reference.target
    top = shelf.manifests.get(target) if isinstance(target, Digest) else shelf.tagged(target)
    return Found(shelf, top, reference.with_default_tag()) if top is not None else None


def locate_id(shelves: Sequence[Shelf], text: str, wanted: Platform, reference: ImageReference | None) -> Found:
    """What an ID or its beginning means. Raises ManifestUnknown, and NameInvalid when several images begin so."""
    match = _ID.fullmatch(text)
    prefix = f"sha256:{match[1]}" if match is not None else None
    found = [(shelf, kept) for shelf in shelves for kept in _with_id(shelf, prefix)] if prefix else []
    ids = sorted({kept.image_id for _, kept in found})
    if len(ids) > 1:
        raise NameInvalid(f"{text} is ambiguous: {len(ids)} images have an ID that begins so", ids=ids[:10])
    if not found:
        raise no_such_image(text, reference)
    return max((_best(shelf, kept, wanted) for shelf, kept in found), key=_rank)


def _with_id(shelf: Shelf, prefix: str) -> list[KeptManifest]:
    return [
        kept
        for kept in shelf.manifests.values()
        if not kept.is_index and kept.image_id.startswith(prefix) and (kept.row.subject is None or kept.is_named)
    ]


def _best(shelf: Shelf, kept: KeptManifest, wanted: Platform) -> Found:
    """The index that shows itself by this image, or the image itself."""
    for parent in shelf.parents(kept):
        if shelf.is_top(parent) and shelf.choose(parent, wanted) is kept and not kept.tags:
            return Found(shelf, parent, None)
    return Found(shelf, kept, None)


def _rank(found: Found) -> tuple[bool, bool, bool]:
    return bool(found.top.tags), found.top.is_named, found.top.is_index


def no_such_image(text: str, reference: ImageReference | None) -> ManifestUnknown:
    """Docker's words."""
    shown = reference.with_default_tag().familiar if reference is not None else text
    return ManifestUnknown(f"No such image: {shown}", reference=text)


def record_of(found: Found, wanted: Platform, *, strict: bool) -> ImageRecord:
    """The image for a platform. Raises ManifestUnknown when it is not here."""
    kept = found.shelf.choose(found.top, wanted, strict=strict)
    config = kept.config if kept is not None else None
    if kept is None or config is None:
        raise _not_for(found, wanted)
    tag = found.reference.tag if found.reference is not None and found.reference.digest is None else None
    return ImageRecord(
        found.shelf.name, tag, found.top.stored, kept.stored, Digest(config.digest), config, tuple(kept.layers)
    )


def _not_for(found: Found, wanted: Platform) -> ManifestUnknown:
    name = found.reference.familiar if found.reference is not None else found.top.image_id
    here = sorted({str(platform) for platform, _ in found.shelf.platforms(found.top) if platform is not None})
    if not found.top.is_index:
        return ManifestUnknown(f"{name} is no image but {found.top.row.media_type}", reference=name)
    only = f"it is here for {', '.join(here)} only" if here else "none of its platforms is here"
    return ManifestUnknown(f"{name} is not here for {wanted}: {only}", reference=name, platforms=here)
