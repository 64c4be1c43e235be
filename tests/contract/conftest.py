"""A database with its tables for each test; made once and copied, because migrations take their time."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from entrepot.metadata.migrate import upgrade_sqlite


@pytest.fixture(scope="session")
def new_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("database") / "entrepot.db"
    upgrade_sqlite(path)
    return path


@pytest.fixture
def database(new_database: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(new_database, tmp_path))
