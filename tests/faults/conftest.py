"""A faulty registry for each module: its tests leave it in a state the next one can go on from."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from .registry import FaultyRegistry


@pytest.fixture(scope="module")
def faulty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaultyRegistry]:
    registry = FaultyRegistry(tmp_path_factory.mktemp("faulty"))
    yield registry
    if registry.process.is_running:
        registry.plan.clear()
        assert registry.process.stop() == 0


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[FaultyRegistry]:
    """One of its own for tests that cannot share."""
    registry = FaultyRegistry(tmp_path)
    yield registry
    if registry.process.is_running:
        registry.process.kill()
