"""Puts images into the store that a command will open."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

from entrepot.folders import DATABASE_FILE
from entrepot.image_store.store import ImageStore
from entrepot.metadata.migrate import upgrade_sqlite
from entrepot.metadata.sqlite import SqliteMetadata
from entrepot.repositories.local import LocalRegistry, Rules
from entrepot.store.filesystem import FilesystemBlobStore
from entrepot.testing.images import Image, Index
from tests.unit.image_store.filling import Shop


def keep(root: Path, image: Image | Index, *names: str, pulled: bool = False) -> None:
    """Store an image under these names, or as one without a name."""

    async def fill(shop: Shop) -> None:
        for name in names:
            await shop.keep(image, name, pulled=pulled)
        if not names:
            assert isinstance(image, Image)
            await shop.keep_nameless(image)

    with_shop(root, fill)


def with_shop(root: Path, work: Callable[[Shop], Awaitable[None]]) -> None:
    """Open the store of ``root``, do the work, close it."""

    async def run() -> None:
        root.mkdir(parents=True, exist_ok=True)
        upgrade_sqlite(root / DATABASE_FILE)
        metadata = SqliteMetadata(root / DATABASE_FILE)
        store = FilesystemBlobStore(root)
        local = LocalRegistry(store, metadata, Rules(allow_missing_children=("*",)))
        try:
            await work(Shop(local, ImageStore(store, metadata)))
        finally:
            await metadata.close()

    asyncio.run(run())
