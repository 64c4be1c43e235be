"""A hostile registry, and an image store that must not change."""

from __future__ import annotations

import tracemalloc
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from entrepot.testing.images import build_image
from tests.hostile.stored import look
from tests.hostile_client.server import HostileRegistry, pull

MOST_MEMORY = 64 * 1024 * 1024


@pytest.fixture
async def registry() -> AsyncIterator[HostileRegistry]:
    async with HostileRegistry().running() as registry:
        yield registry


@pytest.fixture
async def root(tmp_path: Path) -> Path:
    """An image store with one image in it."""
    async with HostileRegistry().running() as honest:
        honest.offer(build_image(1, seed=99))
        await pull(tmp_path / "store", honest)
    return tmp_path / "store"


@pytest.fixture
def unchanged(root: Path) -> Iterator[None]:
    """Nothing was stored, and nothing was lost."""
    before = look(root)
    yield
    assert look(root) == before


@pytest.fixture
def little_memory() -> Iterator[None]:
    """No more than a bound of it was in use at any time."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < MOST_MEMORY
    finally:
        tracemalloc.stop()
