"""Fresh databases."""

from __future__ import annotations

from pathlib import Path

import pytest

from entrepot.metadata.migrate import upgrade_sqlite


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / "entrepot.db"
    upgrade_sqlite(path)
    return path
