"""Where ``copy`` and ``sync`` write. A target knows how to take a graph: archives are written in one go, and what is a
repository piece by piece.
"""

from __future__ import annotations

import os
import tempfile
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO, Protocol

from entrepot.client import Client
from entrepot.client_places import LAYOUT, Source, name_of, open_engine, path_of, spool_folder
from entrepot.digest import Digest
from entrepot.errors import ArchiveInvalid, NotFound
from entrepot.image_store.pulling import Configs, LayerFacts
from entrepot.image_store.pushing import MountsOf
from entrepot.metadata import origins
from entrepot.reference import ImageReference, RepositoryName, Tag
from entrepot.repositories.base import Repository
from entrepot.repositories.layout import LayoutRepository
from entrepot.repositories.layout_folder import has_room
from entrepot.repositories.local import LocalRepository
from entrepot.transfer.archiving import Archived, write_archive
from entrepot.transfer.copy import Copied, Options, copy_graph
from entrepot.transfer.graph import Node
from entrepot.transfer.places import ARCHIVES, Kind, Place
from entrepot.transfer.referrers import read_referrers, read_signatures

_BUFFER = 1024 * 1024


class Target(Protocol):
    """Something to write to."""

    @property
    def place(self) -> Place: ...

    async def find(self, reference: Tag | Digest) -> str | None:
        """What is there now, None for nothing: a digest, where the place has digests."""

    async def has(self, digest: Digest) -> bool:
        """Whether a blob is there already."""

    async def write(self, source: Source, root: Node, tags: Sequence[Tag], options: Options) -> Copied:
        """Copy a graph that was read from ``source``, and let the tags point to it."""


def open_target(client: Client, place: Place, source: Place) -> Target:
    """The place to write to; ``source`` is where content will come from: some of it may be taken over, not sent."""
    if place.kind is Kind.REGISTRY:
        return _RegistryTarget(client, place, source)
    if place.kind is Kind.STORE:
        return _StoreTarget(client, place)
    if place.kind is Kind.LAYOUT:
        _require_room(path_of(place))
        return _LayoutTarget(place, LayoutRepository(path_of(place), LAYOUT, allow_missing=True))
    if place.kind in ARCHIVES:
        return _ArchiveTarget(place)
    return _EngineTarget(client, place)


@dataclass(frozen=True, slots=True)
class _RegistryTarget:
    client: Client
    place: Place
    source: Place

    async def find(self, reference: Tag | Digest) -> str | None:
        return await _digest_at(self._repository, reference)

    async def has(self, digest: Digest) -> bool:
        return await _has(self._repository, digest)

    async def write(self, source: Source, root: Node, tags: Sequence[Tag], options: Options) -> Copied:
        options = replace(options, mounts=self._candidates)
        return await _copy_with_signatures(source, self._repository, root, tags, options)

    @property
    def _repository(self) -> Repository:
        return self.client.remote(name_of(self.place))

    async def _candidates(self, digest: Digest) -> Sequence[RepositoryName]:
        """Where the target's registry has the blob for certain, or had it when we last looked."""
        source, target = self.source.reference, name_of(self.place)
        if self.source.kind is Kind.STORE:
            return await MountsOf(self.client.store, target).candidates(digest)
        if self.source.kind is not Kind.REGISTRY or source is None or source.domain != target.domain:
            return []
        return [source.path] if source.path != target.path else []


@dataclass(frozen=True, slots=True)
class _StoreTarget:
    client: Client
    place: Place

    async def find(self, reference: Tag | Digest) -> str | None:
        return await _digest_at(self._repository, reference)

    async def has(self, digest: Digest) -> bool:
        return await _has(self._repository, digest)

    async def write(self, source: Source, root: Node, tags: Sequence[Tag], options: Options) -> Copied:
        store, target, name = self.client.store, self._repository, self._repository.name
        facts, configs = LayerFacts(store), Configs(target, store)
        options = replace(options, measure=facts.record, is_measured=facts.is_known, check=configs.require_layers)
        copied = await _copy_with_signatures(source, target, root, tags, options)
        origin = source.place.reference
        if source.place.kind is Kind.REGISTRY and origin is not None and origin.stored_name == name:
            await store.metadata.write(origins.record_origin(name, copied.digest, store.now()))
        return copied

    @property
    def _repository(self) -> LocalRepository:
        return self.client.store.repository(name_of(self.place).stored_name)


@dataclass(frozen=True, slots=True)
class _LayoutTarget:
    place: Place
    repository: LayoutRepository

    async def find(self, reference: Tag | Digest) -> str | None:
        return await _digest_at(self.repository, reference)

    async def has(self, digest: Digest) -> bool:
        return await _has(self.repository, digest)

    async def write(self, source: Source, root: Node, tags: Sequence[Tag], options: Options) -> Copied:
        return await _copy_with_signatures(source, self.repository, root, tags, options)


@dataclass(frozen=True, slots=True)
class _ArchiveTarget:
    place: Place

    async def find(self, reference: Tag | Digest) -> str | None:  # noqa: ARG002
        path = path_of(self.place)
        return f"the file {path}" if path.exists() else None

    async def has(self, digest: Digest) -> bool:  # noqa: ARG002
        return False

    async def write(self, source: Source, root: Node, tags: Sequence[Tag], options: Options) -> Copied:
        docker = self.place.kind is Kind.DOCKER_ARCHIVE
        names = _names_in_archive(self.place, source.place, tags)
        contents = [Archived(root, names), *await _with_referrers(source, root, options)]
        with _fresh_file(path_of(self.place)) as file:
            await write_archive(source.repository, contents, file, docker=docker, listener=options.listener)
        return Copied(root, moved=True)


@dataclass(frozen=True, slots=True)
class _EngineTarget:
    client: Client
    place: Place

    async def find(self, reference: Tag | Digest) -> str | None:
        async with open_engine(self.client) as engine:
            return await engine.find(name_of(self.place).at(reference))

    async def has(self, digest: Digest) -> bool:  # noqa: ARG002
        return False

    async def write(self, source: Source, root: Node, tags: Sequence[Tag], options: Options) -> Copied:
        names = tuple(name_of(self.place).at(tag) for tag in tags)
        async with open_engine(self.client) as engine:
            with tempfile.TemporaryFile(dir=spool_folder(self.client)) as file:
                await write_archive(
                    source.repository, [Archived(root, names)], file, docker=True, listener=options.listener
                )
                await engine.load(file)
        return Copied(root, moved=True)


def _require_room(path: Path) -> None:
    """Raises ArchiveInvalid for a folder with files of another sort; folders in it may be layouts of other names."""
    if path.is_dir():
        if not has_room(path):
            raise ArchiveInvalid(f"{path} is no OCI image layout, and other files are in it", path=str(path))
    elif path.exists() and not path.is_dir():  # looked at again: it may have been made since
        raise ArchiveInvalid(f"{path} is a file; expected a folder for an OCI image layout", path=str(path))


async def _copy_with_signatures(
    source: Source, target: Repository, root: Node, tags: Sequence[Tag], options: Options
) -> Copied:
    copied = await copy_graph(source.repository, target, root, tags=tags, options=options)
    if options.referrers:
        rest = replace(options, referrers=False, check=None)
        for tag, node in await read_signatures(source.repository, root):
            await copy_graph(source.repository, target, node, tags=[tag], options=rest)
    return copied


async def _with_referrers(source: Source, root: Node, options: Options) -> list[Archived]:
    if not options.referrers:
        return []
    found = [Archived(node, is_extra=True) for node in await read_referrers(source.repository, root)]
    signatures = await read_signatures(source.repository, root)
    return found + [Archived(node, (tag,), is_extra=True) for tag, node in signatures]


def _names_in_archive(place: Place, source: Place, tags: Sequence[Tag]) -> tuple[ImageReference | Tag, ...]:
    """What the image is called there: by a name of docker's, or in an OCI archive maybe by the tag alone."""
    reference = place.reference or source.reference
    if reference is not None:
        return tuple(reference.at(tag) for tag in tags)
    if place.kind is Kind.DOCKER_ARCHIVE:
        raise ArchiveInvalid(f"expected a name for the image in {place}", hint=f"e.g. {place}:NAME:TAG")
    return tuple(tags)


async def _digest_at(repository: Repository, reference: Tag | Digest) -> str | None:
    try:
        return (await repository.head_manifest(reference)).digest
    except NotFound:
        return None


async def _has(repository: Repository, digest: Digest) -> bool:
    try:
        await repository.find_blob(digest)
    except NotFound:
        return False
    return True


@contextmanager
def _fresh_file(path: Path) -> Iterator[BinaryIO]:
    """A file that appears under its name when it is complete."""
    temporary = path.with_name(f".{path.name[:200]}.{uuid.uuid4().hex[:8]}")
    try:
        with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666), "wb", _BUFFER) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
