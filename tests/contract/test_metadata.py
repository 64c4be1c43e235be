"""All metadata against the contract of metadata."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from entrepot.metadata.postgres import PostgresMetadata
from entrepot.metadata.postgres_options import PostgresOptions
from entrepot.metadata.sqlite import SqliteMetadata
from entrepot.testing.shared_metadata_suite import SharedMetadataSuite


def patient(url: str) -> PostgresOptions:
    """With limits that a busy machine does not reach."""
    return PostgresOptions(
        url, statement_timeout_seconds=90, lock_timeout_seconds=60, wait_seconds=90, silence_seconds=30
    )


class TestSqliteMetadata(SharedMetadataSuite):
    @pytest.fixture
    async def metadata(self, database: Path) -> AsyncIterator[SqliteMetadata]:
        metadata = SqliteMetadata(database)
        yield metadata
        await metadata.close()

    @pytest.fixture
    async def second_metadata(self, database: Path) -> AsyncIterator[SqliteMetadata]:
        metadata = SqliteMetadata(database)
        yield metadata
        await metadata.close()


class TestPostgresMetadata(SharedMetadataSuite):
    @pytest.fixture
    async def metadata(self, postgresql: str) -> AsyncIterator[PostgresMetadata]:
        metadata = PostgresMetadata(patient(postgresql))
        yield metadata
        await metadata.close()

    @pytest.fixture
    async def second_metadata(self, postgresql: str) -> AsyncIterator[PostgresMetadata]:
        metadata = PostgresMetadata(patient(postgresql))
        yield metadata
        await metadata.close()
