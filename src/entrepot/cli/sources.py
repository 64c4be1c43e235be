"""Images that commands only read: of the image store by name or ID, else of any place that ``copy`` knows."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from entrepot.client import Client, only
from entrepot.client_places import open_source
from entrepot.digest import Digest
from entrepot.errors import ManifestUnknown
from entrepot.image_store.lookup import locate
from entrepot.platforms import Platform, host_platform
from entrepot.reference import ImageReference, Tag
from entrepot.repositories.archive import ArchiveRepository
from entrepot.repositories.base import Repository
from entrepot.repositories.layout import LayoutRepository
from entrepot.transfer.contents import ImageContents, read_image
from entrepot.transfer.graph import Reader, everything
from entrepot.transfer.places import Kind, Place

_WORDS = tuple(f"{kind.value}:" for kind in Kind if kind is not Kind.REGISTRY)
_ARCHIVES = (".tar", ".tgz", ".gz", ".zst")
PLACES_HELP = "docker://HOST/NAME, oci:DIR, oci-archive:FILE or docker-archive:FILE"


@dataclass(frozen=True, slots=True)
class Read:
    """A repository, and what to read in it: each with the title it is shown by."""

    repository: Repository
    references: tuple[tuple[str, Tag | Digest], ...]
    is_partial: bool  # whether indexes may be here without all of their images


@asynccontextmanager
async def open_read(client: Client, text: str, *, whole: bool = False) -> AsyncIterator[Read]:
    """What a name, an ID, a path or a place means; ``whole`` takes all that is in a layout or archive.

    Raises ManifestUnknown, NameInvalid, ArchiveInvalid, and ParameterInvalid when several images could be meant.
    """
    place = _place(text)
    if place is None:
        yield await _of_store(client, text)
        return
    is_whole = whole and place.path is not None and place.target is None
    async with open_source(client, place, whole=is_whole) as source:
        if source.reference is not None:
            references: tuple[tuple[str, Tag | Digest], ...] = ((text, source.reference),)
        else:
            references = tuple([found async for found in _everything(source.repository)])
        yield Read(source.repository, references, source.is_partial)


@asynccontextmanager
async def open_image(client: Client, text: str, platform: Platform | None) -> AsyncIterator[ImageContents]:
    """One image; of several platforms the given one, else this computer's, else the first that is there.

    Raises as ``open_read`` does, and PlatformUnknown.
    """
    async with open_read(client, text) as found:
        [(_, reference)] = found.references
        choice = everything if found.is_partial else only(platform or host_platform())
        root = await Reader(found.repository, choice, skip_absent=found.is_partial).read(reference)
        yield await read_image(found.repository, root, platform, default=host_platform())


def _place(text: str) -> Place | None:
    """None for what is a name or an ID."""
    if text.startswith((*_WORDS, "docker://")):
        return Place.parse(text)
    path = Path(text)
    if path.is_dir() and (path / "oci-layout").is_file():
        return Place(Kind.LAYOUT, path=path)
    is_archive = path.suffix in _ARCHIVES and path.is_file()
    is_path = is_archive or text.startswith(("/", "./", "../"))
    if is_path and path.is_dir():
        raise ManifestUnknown(f"{text} is no OCI layout: there is no file oci-layout in it", path=text)
    return Place(Kind.DOCKER_ARCHIVE, path=path) if is_path else None


async def _of_store(client: Client, text: str) -> Read:
    try:
        found = await client.store.metadata.read_much(locate(text, host_platform()))
    except ManifestUnknown as error:
        hint = f"entrepot pull {text} fetches it; elsewhere it may be named as {PLACES_HELP}"
        raise ManifestUnknown(error.message, **{**error.detail, "hint": hint}) from error
    return Read(client.store.repository(found.shelf.name), ((text, found.top.digest),), is_partial=True)


async def _everything(repository: Repository) -> AsyncIterator[tuple[str, Digest]]:
    if isinstance(repository, ArchiveRepository):
        for image in repository.images:
            names = dict.fromkeys(ImageReference.parse(name).with_default_tag().familiar for name in image.names)
            yield ", ".join(names) or image.digest, image.digest
    elif isinstance(repository, LayoutRepository):
        for entry in (await repository.read_index()).entries:
            yield entry.descriptor.digest, Digest.parse(entry.descriptor.digest)
