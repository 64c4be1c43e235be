"""A registry over HTTP against the contract of repositories: our client to our server, with no sockets between them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from entrepot.errors import BlobUnknown, RegistryError
from entrepot.metadata.sqlite import SqliteMetadata
from entrepot.metadata.statistics import Statistics, count_everything
from entrepot.repositories.local import LocalRegistry
from entrepot.repositories.remote import RemoteRegistry
from entrepot.server.app import RegistryApp
from entrepot.server.call import Options
from entrepot.server.metrics import Metrics
from entrepot.store.memory import MemoryBlobStore
from entrepot.testing.asgi import AsgiExchange
from entrepot.testing.repository_suite import RepositorySuite
from entrepot.testing.repository_upload_suite import RequireEmpty
from entrepot.testing.upload_suite import require_empty as require_empty_store
from entrepot.transport.client import Transport
from entrepot.transport.retry import RetryPolicy


@dataclass(frozen=True)
class Here:
    """The only endpoint there is."""

    base_url: str = "http://registry.test"
    domain: str = "registry.test"
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)

    def repository(self, name: str) -> str:
        return name

    def for_pull(self, domain: str, name: str, *, by_digest: bool = False) -> Sequence[Here]:
        return [self]

    def for_push(self, domain: str, name: str = "") -> Here:
        return self

    def other(self, endpoint: object, error: RegistryError) -> None:
        return None


async def no_wait(seconds: float) -> None:
    """For retries that need not wait."""


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
            Here(),
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
