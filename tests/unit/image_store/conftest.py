"""An image store in a folder of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from entrepot.folders import DATABASE_FILE
from entrepot.image_store.store import ImageStore
from entrepot.metadata.sqlite import SqliteMetadata
from entrepot.platforms import Platform
from entrepot.repositories.local import LocalRegistry, Rules
from entrepot.store.filesystem import FilesystemBlobStore
from tests.unit.image_store.filling import Shop

HERE = Platform.parse("linux/amd64")


class Clock:
    """The time, which tests set."""

    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def root(database: Path) -> Path:
    return database.parent


@pytest.fixture
async def shop(root: Path, clock: Clock) -> AsyncIterator[Shop]:
    metadata = SqliteMetadata(root / DATABASE_FILE)
    store = FilesystemBlobStore(root)
    local = LocalRegistry(store, metadata, Rules(allow_missing_children=("*",), allow_unknown_types=True), clock)
    yield Shop(local, ImageStore(store, metadata, platform=HERE, clock=clock))
    await metadata.close()
