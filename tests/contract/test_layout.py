"""OCI image layouts against the contract of repositories."""

from __future__ import annotations

from pathlib import Path

import pytest

from entrepot.repositories.layout import LayoutRegistry
from entrepot.store.threads import DiskThreads
from entrepot.testing.repository_suite import SharedRepositorySuite
from entrepot.testing.repository_upload_suite import RequireEmpty


class TestLayoutRepository(SharedRepositorySuite):
    @pytest.fixture
    def root(self, tmp_path: Path) -> Path:
        return tmp_path / "layouts"

    @pytest.fixture
    def registry(self, root: Path) -> LayoutRegistry:
        return LayoutRegistry(root, DiskThreads(4))

    @pytest.fixture
    def second_registry(self, root: Path) -> LayoutRegistry:
        return LayoutRegistry(root, DiskThreads(4))

    @pytest.fixture
    def require_empty(self, root: Path) -> RequireEmpty:
        async def require() -> None:
            left = [path for path in root.rglob("*") if path.is_file()]
            assert [path.name for path in left if path.name not in ("oci-layout", "index.json")] == []

        return require
