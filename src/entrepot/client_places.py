"""Where ``copy`` and ``sync`` read: opens the places that ``transfer/places.py`` names. Those to write to are in
``client_targets.py``. Both are part of the client's composition root.
"""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

from entrepot.client import Client
from entrepot.digest import Digest
from entrepot.errors import Invalid, ManifestUnknown, ParameterInvalid
from entrepot.reference import ImageReference, RepositoryName, Tag
from entrepot.repositories.archive import ArchiveRepository
from entrepot.repositories.base import Repository
from entrepot.repositories.engine import IDLE_SECONDS, Engine, EngineAddress
from entrepot.repositories.layout import LayoutRepository
from entrepot.store.threads import DiskThreads
from entrepot.transfer.copy import MAX_UNPACKED, unpacked_limit
from entrepot.transfer.places import Kind, Place
from entrepot.transport.sockets import SocketExchange

LAYOUT = RepositoryName("layout")
_MOST_SHOWN = 20
_BUFFER = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Source:
    """Something to read: ``reference`` is None when the place names a whole repository."""

    place: Place
    repository: Repository
    reference: Tag | Digest | None

    @property
    def is_partial(self) -> bool:
        """Whether an index may be there without all of its images."""
        return self.place.kind is not Kind.REGISTRY


@asynccontextmanager
async def open_source(client: Client, place: Place, *, whole: bool = False) -> AsyncIterator[Source]:
    """Open ``place`` to be read; ``whole`` when it is to be a repository with all its tags.

    Raises ArchiveInvalid, ManifestUnknown, ConfigInvalid, and ParameterInvalid when it is not clear which image is
    meant.
    """
    if place.kind in (Kind.REGISTRY, Kind.STORE):
        reference = name_of(place)
        yield Source(place, _repository(client, place.kind, reference), None if whole else reference.target)
    elif place.kind is Kind.LAYOUT:
        layout = LayoutRepository(path_of(place), LAYOUT)
        is_clear = whole or place.target is not None
        yield Source(place, layout, place.target) if is_clear else await _only_of_layout(layout, place)
    else:
        async with _archive(client, place) as archive:
            yield Source(place, archive, None) if whole else _only_of_archive(archive, place)


def _repository(client: Client, kind: Kind, reference: ImageReference) -> Repository:
    if kind is Kind.STORE:
        return client.store.repository(reference.stored_name)
    return client.remote(reference)


async def _only_of_layout(layout: LayoutRepository, place: Place) -> Source:
    """The one image that is there, under its tag if it has one tag."""
    index = await layout.read_index()
    if not index.entries:
        raise ManifestUnknown(f"{place}: there is no image in it", path=str(place.path))
    if len(index.tags) == 1:
        return Source(place.at(index.tags[0]), layout, index.tags[0])
    tagged = {descriptor.digest for tag in index.tags if (descriptor := index.find(tag)) is not None}
    found = tagged or {entry.descriptor.digest for entry in index.entries}
    if len(found) == 1:
        return Source(place, layout, Digest.parse(found.pop()))
    raise _unclear(place, [str(tag) for tag in index.tags])


def _only_of_archive(archive: ArchiveRepository, place: Place) -> Source:
    """The one image that is meant. Without a name in ``place`` it keeps the tag that it has in the archive."""
    if place.kind is Kind.OCI_ARCHIVE and place.target is not None:
        return Source(place, archive, place.target)
    wanted = str(place.reference) if place.kind is Kind.DOCKER_ARCHIVE and place.reference is not None else None
    found = [image for image in archive.images if wanted is None or wanted in map(_full_name, image.names)]
    names = [name for image in archive.images for name in image.names]
    if len(found) == 1:
        named = place if place.target else replace(place, target=_tag_of(names))
        return Source(named, archive, found[0].digest)
    if wanted is not None:
        raise ManifestUnknown(f"{place}: no such image in it; there are: {_listed(names)}", name=wanted)
    raise _unclear(place, names)


def _tag_of(names: Sequence[str]) -> Tag | None:
    """The tag of the only name there is, as far as it is one."""
    try:
        return ImageReference.parse(names[0]).tag if len(names) == 1 else None
    except Invalid:
        return None


def _full_name(name: str) -> str:
    try:
        return str(ImageReference.parse(name).with_default_tag())
    except Invalid:  # what an archive has for a name may be none
        return name


def _unclear(place: Place, names: Sequence[str]) -> ParameterInvalid:
    if not names:
        return ParameterInvalid(f"{place}: expected one image, got none or several without a name", place=str(place))
    return ParameterInvalid(
        f"{place}: expected one image, got several; name one of them: {_listed(names)}",
        place=str(place),
        hint=f"e.g. {place}:{names[0]}",
    )


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:_MOST_SHOWN]) or "none"
    return shown if len(names) <= _MOST_SHOWN else f"{shown} and {len(names) - _MOST_SHOWN} more"


@asynccontextmanager
async def _archive(client: Client, place: Place) -> AsyncIterator[ArchiveRepository]:
    is_engine = place.kind is Kind.ENGINE
    file = await _exported(client, place) if is_engine else _opened(path_of(place))
    title = str(place if is_engine else place.path)
    folder = spool_folder(client)
    limit = client.access.max_unpacked or _limit_for(file)
    archive = await ArchiveRepository.open(file, title, spool_folder=folder, spool_limit=limit, unpacked_limit=limit)
    try:
        yield archive
    finally:
        archive.close()


def _limit_for(file: BinaryIO) -> int:
    """What an archive, or a layer of it, may unpack to; of a pipe the size is not known."""
    status = os.fstat(file.fileno())
    return unpacked_limit(status.st_size) if stat.S_ISREG(status.st_mode) else MAX_UNPACKED


async def _exported(client: Client, place: Place) -> BinaryIO:
    """An image of the engine in a temporary file without a name; the caller closes it."""
    file: BinaryIO = tempfile.TemporaryFile(dir=spool_folder(client))  # noqa: SIM115
    try:
        async with open_engine(client) as engine:
            await engine.export(name_of(place), file)
        file.seek(0)
    except BaseException:
        file.close()
        raise
    return file


def _opened(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except FileNotFoundError as error:
        raise ManifestUnknown(f"there is no file {path}", path=str(path)) from error


@asynccontextmanager
async def open_engine(client: Client) -> AsyncIterator[Engine]:
    """The docker engine that the environment names. Raises ConfigInvalid."""
    address = EngineAddress.of(client.access.environment)
    exchange = SocketExchange(
        tls=lambda _: True, proxy=lambda _: None, idle_seconds=IDLE_SECONDS, unix_socket=address.unix_socket
    )
    try:
        yield Engine(exchange, address, DiskThreads(1))
    finally:
        await exchange.close()


def spool_folder(client: Client) -> Path | None:
    """Beside the images if there are any: the system's folder for temporary files is often small."""
    return client.root if client.root.is_dir() else None


def name_of(place: Place) -> ImageReference:
    """The name of a place in a registry, store or engine."""
    assert place.reference is not None  # registries, stores and engines have one
    return place.reference


def path_of(place: Place) -> Path:
    """The file or folder of a layout or archive."""
    assert place.path is not None  # layouts and archives have one
    return place.path
