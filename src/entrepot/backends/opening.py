"""Picks the modules for what the settings name, and opens both halves."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol, cast

from entrepot.backends import embedded
from entrepot.backends.embedded import Durability
from entrepot.backends.names import database_name, store_name
from entrepot.backends.pairing import KeptStore, require_pair
from entrepot.config import Settings
from entrepot.errors import ConfigInvalid
from entrepot.metadata.base import Metadata
from entrepot.store.base import BlobStore
from entrepot.store.cached import CachedBlobStore


class _Database(Protocol):
    """The module for a kind of database."""

    def prepare_database(self, settings: Settings) -> None: ...

    def open_metadata(self, settings: Settings) -> Metadata: ...


class _Closing(KeptStore, Protocol):
    async def close(self) -> None: ...


class _Store(Protocol):
    """The module for a kind of store."""

    def prepare_store(self, settings: Settings) -> None: ...

    def open_store(self, settings: Settings, metadata: Metadata) -> _Closing: ...


@dataclass(frozen=True, slots=True)
class Backends:
    """Where names are kept, and where bytes are; opened in one process, closed by the loop that used them."""

    metadata: Metadata
    store: KeptStore
    closers: tuple[Callable[[], Awaitable[None]], ...]

    async def close(self) -> None:
        """Finish what was begun, and let go of both."""
        for close in self.closers:
            await close()


def is_shared(settings: Settings) -> bool:
    """Whether processes of other machines may use the same database."""
    return settings.postgresql_url is not None


def prepare(settings: Settings, *, may_adopt: bool = False) -> None:
    """Make what is not there yet, bring the database to this version, and see that it and the store are a pair.

    ``may_adopt``: a new database may take a store over. Not to be called from a running event loop. Raises
    ConfigInvalid, Unavailable, Corrupt.
    """
    if settings.bucket is None:
        embedded.prepare_store(settings)
    else:
        _store().prepare_store(settings)
    if settings.postgresql_url is None:
        embedded.prepare_database(settings)
    else:
        _database().prepare_database(settings)
    if settings.postgresql_url is not None or settings.bucket is not None:  # else they are in one folder
        asyncio.run(_pair(settings, may_adopt=may_adopt))


async def _pair(settings: Settings, *, may_adopt: bool) -> None:
    opened = open_backends(settings)
    try:
        names = database_name(settings), store_name(settings)
        await require_pair(opened.metadata, opened.store, names=names, may_adopt=may_adopt)
    finally:
        await opened.close()


def open_backends(settings: Settings, durability: Durability | None = None) -> Backends:
    """What ``prepare`` has prepared. Raises ConfigInvalid, Unavailable."""
    durability = durability or Durability.real()
    if settings.postgresql_url is None:
        metadata: Metadata = embedded.open_metadata(settings, durability)
    else:
        metadata = _database().open_metadata(settings)
    if settings.bucket is None:
        return Backends(metadata, embedded.open_store(settings, durability), (metadata.close,))
    store = _store().open_store(settings, metadata)
    return Backends(metadata, store, (store.close, metadata.close))


def with_cache(settings: Settings, store: BlobStore) -> BlobStore:
    """The store, with small blobs kept in memory as the settings say."""
    if not settings.cache.blob_bytes:
        return store
    return CachedBlobStore(store, capacity=settings.cache.blob_bytes, largest=settings.cache.blob_max_bytes)


def _database() -> _Database:
    return cast(_Database, _module("postgresql", "a postgresql:// database"))


def _store() -> _Store:
    return cast(_Store, _module("s3", "an s3:// store"))


def _module(name: str, what: str) -> object:
    try:
        return importlib.import_module(f"entrepot.backends.{name}")
    except ModuleNotFoundError as error:
        library = str(error.name).partition(".")[0]
        if library == "entrepot":
            raise
        raise ConfigInvalid(
            f'{what} needs the library {library}, which is not installed: pip install "entrepot[{name}]"',
            library=library,
        ) from error
