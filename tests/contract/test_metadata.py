"""All metadata against the contract of metadata."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from entrepot.metadata.sqlite import SqliteMetadata
from entrepot.testing.metadata_suite import SharedMetadataSuite


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
