"""Asking how far an upload is while another process writes to it, and does not let go."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from entrepot.metadata.sqlite import SqliteMetadata
from entrepot.reference import RepositoryName
from entrepot.repositories.base import Chunk, Repository
from entrepot.repositories.layout import LayoutRepository
from entrepot.repositories.local import LocalRegistry
from entrepot.store.filesystem import FilesystemBlobStore
from entrepot.testing.repository_upload_suite import CONTENT, chunk

NAME = RepositoryName.parse("team/app")
WAIT_SECONDS = 0.05


@pytest.fixture(params=["local", "layout"])
async def repositories(
    request: pytest.FixtureRequest, tmp_path: Path, database: Path
) -> AsyncIterator[list[Repository]]:
    """The same one, as two processes open it."""
    if request.param == "layout":
        yield [LayoutRepository(tmp_path, NAME, lock_wait_seconds=WAIT_SECONDS) for _ in range(2)]
        return
    metadata = SqliteMetadata(database)
    stores = [FilesystemBlobStore(tmp_path, lock_wait_seconds=WAIT_SECONDS) for _ in range(2)]
    yield [LocalRegistry(store, metadata).repository(NAME) for store in stores]
    await metadata.close()


async def test_status_of_upload_whose_writer_does_not_let_go_is_what_is_kept_so_far(
    repositories: list[Repository],
) -> None:
    first, second = repositories
    upload_id, reached, go_on = await first.begin_upload(), asyncio.Event(), asyncio.Event()
    await first.append(upload_id, chunk(CONTENT[:5]))

    async def slow() -> AsyncIterator[bytes]:
        yield CONTENT[5:7]
        reached.set()
        await go_on.wait()

    appending = asyncio.create_task(first.append(upload_id, Chunk(slow())))
    await reached.wait()
    assert await second.upload_offset(upload_id) == 5
    go_on.set()
    assert await appending == 7
    assert await second.upload_offset(upload_id) == 7
