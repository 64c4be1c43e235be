"""A registry over HTTP against the contract of repositories: our client to our server, with no sockets between them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from entrepot.errors import BlobUnknown
from entrepot.metadata.sqlite import SqliteMetadata
from entrepot.metadata.statistics import Statistics, count_everything
from entrepot.repositories.local import LocalRegistry
from entrepot.repositories.remote import RemoteRegistry
from entrepot.server.app import RegistryApp
from entrepot.server.call import Options
from entrepot.server.metrics import Metrics
from entrepot.store.memory import MemoryBlobStore
from entrepot.testing.asgi import AsgiExchange
from entrepot.testing.endpoints import FixedEndpoints, no_wait
from entrepot.testing.repository_suite import RepositorySuite
from entrepot.testing.repository_upload_suite import RequireEmpty
from entrepot.testing.upload_suite import require_empty as require_empty_store
from entrepot.transport.client import Transport
from entrepot.transport.retry import RetryPolicy


class TestRemoteRepository(RepositorySuite):
    absent_repository = BlobUnknown

    @pytest.fixture
    async def local(self, database: Path) -> AsyncIterator[LocalRegistry]:
        metadata = SqliteMetadata(database)
        yield LocalRegistry(MemoryBlobStore(), metadata)
        await metadata.close()

    @pytest.fixture
    async def registry(self, local: LocalRegistry) -> AsyncIterator[RemoteRegistry]:
        transport = Transport(
            AsgiExchange(RegistryApp(local, Options(), metrics=Metrics())),
            FixedEndpoints("http://registry.test"),
            lambda *_: None,
            retry=RetryPolicy(sleep=no_wait),
        )
        yield RemoteRegistry(transport, "registry.test")
        await transport.close()

    @pytest.fixture
    def require_empty(self, local: LocalRegistry) -> RequireEmpty:
        async def require() -> None:
            assert await local.metadata.read_much(count_everything()) == Statistics(0, 0, 0, 0, 0)
            await require_empty_store(local.store)

        return require
