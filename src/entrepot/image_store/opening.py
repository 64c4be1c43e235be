"""Opens the image store of a root with as little as it takes: no settings, no SQLAlchemy, no network."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from entrepot.errors import Unavailable
from entrepot.folders import DATABASE_FILE
from entrepot.image_store.store import ImageStore
from entrepot.metadata.migrate import upgrade_sqlite
from entrepot.metadata.sqlite import SqliteMetadata
from entrepot.platforms import Platform
from entrepot.store.disk import Disk
from entrepot.store.filesystem import FilesystemBlobStore
from entrepot.store.folder import make_root


def prepare_root(root: Path) -> None:
    """Make the folder, and bring its database to this version. Raises Unavailable, Corrupt."""
    try:
        make_root(root, Disk())
        upgrade_sqlite(root / DATABASE_FILE)
    except OSError as error:
        raise Unavailable(f"cannot write to {error.filename or root}: {error.strerror}") from error


@asynccontextmanager
async def open_image_store(root: Path, *, platform: Platform | None = None) -> AsyncIterator[ImageStore]:
    """The image store below ``root``, made if it is not there. Raises Unavailable, Corrupt."""
    prepare_root(root)
    metadata = SqliteMetadata(root / DATABASE_FILE)
    try:
        yield ImageStore(FilesystemBlobStore(root), metadata, platform=platform)
    finally:
        await metadata.close()
