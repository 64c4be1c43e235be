"""The default: a SQLite file and a folder, on one machine."""

from __future__ import annotations

from dataclasses import dataclass

from entrepot.config import Settings
from entrepot.errors import Unavailable
from entrepot.metadata import sqlite
from entrepot.metadata.migrate import upgrade_sqlite
from entrepot.metadata.sqlite import Commit, SqliteMetadata
from entrepot.store.disk import Disk
from entrepot.store.filesystem import FilesystemBlobStore
from entrepot.store.folder import make_root


@dataclass(frozen=True, slots=True)
class Durability:
    """The calls that make things durable; fault injectors put their own in."""

    disk: Disk
    commit: Commit

    @classmethod
    def real(cls) -> Durability:
        return cls(Disk(), sqlite.commit)


def prepare_database(settings: Settings) -> None:
    """Make the file, or bring it to this version. Raises Unavailable, Corrupt."""
    try:
        make_root(settings.database_path.parent, Disk())
        upgrade_sqlite(settings.database_path)
    except OSError as error:
        raise _not_writable(settings, error) from error


def prepare_store(settings: Settings) -> None:
    """Make the folders. Raises Unavailable."""
    try:
        make_root(settings.store_path, Disk())
    except OSError as error:
        raise _not_writable(settings, error) from error


def open_metadata(settings: Settings, durability: Durability) -> SqliteMetadata:
    return SqliteMetadata(settings.database_path, commit=durability.commit)


def open_store(settings: Settings, durability: Durability) -> FilesystemBlobStore:
    return FilesystemBlobStore(settings.store_path, disk=durability.disk)


def _not_writable(settings: Settings, error: OSError) -> Unavailable:
    return Unavailable(f"cannot write to {error.filename or settings.root}: {error.strerror}")
