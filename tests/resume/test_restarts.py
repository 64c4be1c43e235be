"""Registries that die in the middle and come back: whoever waits for them finishes."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from entrepot.client import Client
from entrepot.reference import ImageReference, Tag
from entrepot.testing.images import Image, build_image, walk_blobs
from entrepot.testing.repository_suite import push, require_whole
from entrepot.testing.server import RegistryProcess
from tests.cli.conftest import Entrepot
from tests.resume.conftest import RequireWhole, publish_image, require_sound
from tests.resume.cuts import CuttingProxy
from tests.resume.programs import Program

IMAGE = build_image(2, seed=77, size=3_000_000)
TOTAL = sum(len(blob.data) for blob in walk_blobs(IMAGE))
HEADS = 20_000
RETRIES = ("--retries", "100")  # a registry may take long to come back


@pytest.fixture
def mortal(tmp_path: Path) -> Iterator[RegistryProcess]:
    """A registry that may be killed."""
    with RegistryProcess(tmp_path / "mortal") as registry:
        yield registry


@pytest.mark.parametrize("flags", [[], ["--split-above", "1MiB"]], ids=["one", "parts"])
def test_pull_from_a_registry_that_is_killed_and_comes_back_finishes(
    entrepot: Entrepot,
    mortal: RegistryProcess,
    store_root: Path,
    tmp_path: Path,
    require_whole: RequireWhole,
    flags: list[str],
) -> None:
    path = f"resume/{uuid.uuid4().hex}:v1"
    asyncio.run(publish_image(IMAGE, f"{mortal.host}/{path}", tmp_path / "publisher"))
    with CuttingProxy(mortal.host) as proxy:
        proxy.hold("down", 2_000_000)
        with Program(store_root, "pull", *RETRIES, *flags, f"{proxy.host}/{path}") as program:
            proxy.wait_until_held()
            mortal.kill()
            proxy.drop_what_is_held()
            program.wait_for_line("Retrying in")
            mortal.start()
            assert program.wait()[0] == 0
        assert proxy.passed["down"] < TOTAL + HEADS
        require_whole(f"{proxy.host}/{path}")


def test_push_to_a_registry_that_is_killed_and_comes_back_finishes(
    entrepot: Entrepot, mortal: RegistryProcess, store_root: Path, tmp_path: Path, home: Path
) -> None:
    """What it got since its last sync a registry that was killed does not know of."""
    with CuttingProxy(mortal.host) as proxy:
        name = f"{proxy.host}/resume/app:v1"
        asyncio.run(stock(IMAGE, name, store_root))
        proxy.hold("up", 2_000_000)
        with Program(store_root, "push", *RETRIES, name) as program:
            proxy.wait_until_held()
            mortal.kill()
            proxy.drop_what_is_held()
            program.wait_for_line("Retrying in")
            mortal.start()
            assert program.wait()[0] == 0
        assert proxy.passed["up"] < 2 * TOTAL
        asyncio.run(require_there(f"{mortal.host}/resume/app:v1", IMAGE, tmp_path / "reader"))
        require_sound(entrepot)


async def stock(image: Image, name: str, root: Path) -> None:
    reference = ImageReference.parse(name)
    async with Client(root) as client:
        await push(client.store.repository(reference.stored_name), image, Tag(reference.target))


async def require_there(name: str, image: Image, root: Path) -> None:
    reference = ImageReference.parse(name)
    async with Client(root) as client:
        await require_whole(client.remote(reference), image, Tag(reference.target))
