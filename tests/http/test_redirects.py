"""Blobs that clients are sent elsewhere for."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from entrepot.digest import Digest
from entrepot.metadata.sqlite import SqliteMetadata
from entrepot.repositories.base import Blob
from entrepot.repositories.local import LocalRegistry
from entrepot.server.app import RegistryApp
from entrepot.server.call import Options
from entrepot.server.metrics import Metrics
from entrepot.store.memory import MemoryBlobStore

from .api import ABSENT, Api, refused

SMALL, LARGE = b"small", b"large" * 1000


async def direct_address(blob: Blob) -> str | None:
    """What is large is elsewhere."""
    return f"https://bucket.s3.test/{blob.digest.encoded}?signature=x" if blob.size > 1000 else None


@pytest.fixture
async def repo(database: Path) -> AsyncIterator[Api]:
    metadata = SqliteMetadata(database)
    registry = LocalRegistry(MemoryBlobStore(), metadata)
    app = RegistryApp(registry, Options(direct_address=direct_address), metrics=Metrics())
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://registry.test") as client:
        yield Api(client, "team/app")
    await metadata.close()


@pytest.mark.parametrize("headers", [{}, {"range": "bytes=5-9"}], ids=["whole", "range"])
async def test_get_blob_that_is_elsewhere_is_redirected(repo: Api, headers: dict[str, str]) -> None:
    digest = await repo.push_blob(LARGE)
    answer = await repo.get(f"blobs/{digest}", **headers)
    assert answer.status_code == 307
    assert answer.headers["location"] == f"https://bucket.s3.test/{Digest(digest).encoded}?signature=x"
    assert answer.headers["docker-content-digest"] == digest
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["content-length"] == "0"


async def test_head_blob_that_is_elsewhere_is_answered_here(repo: Api) -> None:
    digest = await repo.push_blob(LARGE)
    answer = await repo.head(f"blobs/{digest}")
    assert (answer.status_code, answer.headers["content-length"]) == (200, str(len(LARGE)))


async def test_get_blob_that_is_here_is_sent(repo: Api) -> None:
    assert (await repo.get(f"blobs/{await repo.push_blob(SMALL)}")).content == SMALL


async def test_get_blob_that_the_client_has_is_not_redirected(repo: Api) -> None:
    digest = await repo.push_blob(LARGE)
    assert (await repo.get(f"blobs/{digest}", if_none_match=f'"{digest}"')).status_code == 304


async def test_get_blob_that_is_absent_is_not_redirected(repo: Api) -> None:
    await repo.push_blob(SMALL)
    refused(await repo.get(f"blobs/{ABSENT}"), 404, "BLOB_UNKNOWN")
