"""A database, a store in memory, a clock that only tests move, and metrics that remember."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from entrepot.metadata.sqlite import SqliteMetadata
from entrepot.repositories.local import LocalRegistry
from entrepot.store.memory import MemoryBlobStore


@dataclass
class Clock:
    """Seconds since 1970, and only as far as somebody moves them."""

    seconds: int = 1_700_000_000

    def __call__(self) -> int:
        return self.seconds


@dataclass
class Runs:
    """Remembers the runs of jobs: name and outcome."""

    seen: list[tuple[str, str]] = field(default_factory=list)

    def observe_job(self, job: str, outcome: str, seconds: float) -> None:
        assert seconds >= 0
        self.seen.append((job, outcome))


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def runs() -> Runs:
    return Runs()


@pytest.fixture
async def metadata(database: Path) -> AsyncIterator[SqliteMetadata]:
    metadata = SqliteMetadata(database)
    yield metadata
    await metadata.close()


@pytest.fixture
def store() -> MemoryBlobStore:
    return MemoryBlobStore()


@pytest.fixture
def registry(store: MemoryBlobStore, metadata: SqliteMetadata, clock: Clock) -> LocalRegistry:
    return LocalRegistry(store, metadata, clock=clock)
