"""Remote repositories over scripts and over our own server, for tests."""

from __future__ import annotations

from collections.abc import AsyncIterator

from entrepot.digest import Digest
from entrepot.progress import Event
from entrepot.reference import RepositoryName
from entrepot.repositories.base import Blob
from entrepot.repositories.local import LocalRegistry
from entrepot.repositories.remote import RemoteRepository
from entrepot.repositories.remote_push import PushMemory
from entrepot.server.app import RegistryApp
from entrepot.server.call import Options
from entrepot.server.metrics import Metrics
from entrepot.testing.asgi import AsgiExchange
from entrepot.testing.endpoints import FixedEndpoints, Place, no_wait
from entrepot.transport.base import Exchange
from entrepot.transport.client import Transport
from entrepot.transport.retry import RetryPolicy

BASE = "https://registry.test"
DOMAIN = "registry.test"
NAME = RepositoryName.parse("team/app")
MIRROR = Place("https://mirror.test", "mirror.test")
ATTEMPTS = 4


def remote(
    exchange: Exchange,
    *mirrors: Place,
    base: str = BASE,
    memory: PushMemory | None = None,
    events: list[Event] | None = None,
) -> RemoteRepository:
    """The repository NAME behind ``exchange``; nothing is waited for."""
    told = events if events is not None else []
    policy = RetryPolicy(attempts=ATTEMPTS, sleep=no_wait, listener=told.append)
    transport = Transport(exchange, FixedEndpoints(base, *mirrors), lambda *_: None, retry=policy)
    return RemoteRepository(transport, DOMAIN, NAME, pushes=memory)


def served(registry: LocalRegistry) -> AsgiExchange:
    """Our server, in this process."""
    return AsgiExchange(RegistryApp(registry, Options(), metrics=Metrics()))


async def read(blob: Blob, start: int = 0, end: int | None = None) -> bytes:
    """The bytes of a blob, or a range of them."""
    async with blob.open(start=start, end=end) as pieces:
        return b"".join([bytes(piece) async for piece in pieces])


class MemoryBlob:
    """A blob that is at hand, in pieces of ``piece`` bytes."""

    def __init__(self, content: bytes, piece: int = 256 * 1024) -> None:
        self._content = content
        self._piece = piece
        self.digest = Digest.of(content)
        self.size = len(content)

    def open(self, *, start: int = 0, end: int | None = None) -> OpenedPieces:
        """The bytes from ``start`` up to ``end``."""
        return OpenedPieces(self._content[start:end], self._piece)


class OpenedPieces:
    """What ``open`` of a blob gives."""

    def __init__(self, content: bytes, piece: int) -> None:
        self._content = content
        self._piece = piece

    async def __aenter__(self) -> AsyncIterator[bytes]:
        return self.pieces()

    async def __aexit__(self, *_: object) -> None:
        pass

    async def pieces(self) -> AsyncIterator[bytes]:
        for start in range(0, len(self._content), self._piece):
            yield self._content[start : start + self._piece]


class RememberedPushes:
    """A PushMemory that lives as long as the test."""

    def __init__(self) -> None:
        self.locations: dict[tuple[str, str, str], str] = {}

    async def find(self, domain: str, name: str, digest: Digest) -> str | None:
        return self.locations.get((domain, name, digest))

    async def remember(self, domain: str, name: str, digest: Digest, location: str) -> None:
        self.locations[domain, name, digest] = location

    async def forget(self, domain: str, name: str, digest: Digest) -> None:
        self.locations.pop((domain, name, digest), None)
