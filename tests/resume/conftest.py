"""Registries whose transfers break off: ours, and the one that everybody knows."""

from __future__ import annotations

import asyncio
import shutil
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

import pytest
from _pytest.mark import ParameterSet

from entrepot.client import Client
from entrepot.reference import ImageReference, Tag
from entrepot.testing.images import Image
from entrepot.testing.repository_suite import push
from entrepot.testing.server import RegistryProcess
from tests.cli.conftest import Entrepot
from tests.cli.conftest import entrepot as entrepot
from tests.cli.conftest import home as home
from tests.cli.conftest import store_root as store_root
from tests.interop.peers import DockerRegistry


class Host(Protocol):
    """A registry that listens somewhere."""

    @property
    def host(self) -> str: ...


Publish = Callable[[Image], str]
RequireWhole = Callable[[str], None]


@pytest.fixture(
    scope="session",
    params=[
        "entrepot",
        pytest.param("distribution", marks=[pytest.mark.interop, pytest.mark.slow]),
    ],
)
def peer(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """A registry for the whole session; use names of your own."""
    folder = tmp_path_factory.mktemp("peer")
    if request.param == "entrepot":
        with RegistryProcess(folder / "registry") as registry:
            yield registry
    elif shutil.which("docker-registry") is None:
        pytest.skip("docker-registry is not installed")
    else:
        with DockerRegistry(folder) as other:
            yield other


@pytest.fixture
def publish(peer: Host, tmp_path: Path, home: Path) -> Publish:
    """Puts an image at the peer, and returns path and tag of its name, which is a new one."""

    def put(image: Image) -> str:
        name = f"resume/{uuid.uuid4().hex}:v1"
        asyncio.run(publish_image(image, f"{peer.host}/{name}", tmp_path / "publisher"))
        return name

    return put


async def publish_image(image: Image, name: str, root: Path) -> None:
    reference = ImageReference.parse(name)
    async with Client(root) as client:
        await push(client.remote(reference), image, Tag(reference.target))


@pytest.fixture
def require_whole(entrepot: Entrepot, store_root: Path) -> RequireWhole:
    """Fails unless the store lists the image, every byte in it is right, and nothing unfinished is left."""

    def require(name: str) -> None:
        listed = entrepot("images", "--format", "{{.Repository}}:{{.Tag}}")
        assert name in listed.lines, listed
        require_sound(entrepot)
        assert [path for path in (store_root / "partials").rglob("*") if path.is_file()] == []

    return require


def require_sound(entrepot: Entrepot) -> None:
    """Whatever is in the store is right."""
    checked = entrepot("admin", "check")
    assert checked.code == 0, checked.out + checked.err


def slow(*values: int) -> list[ParameterSet]:
    """Parameters for those who have time."""
    return [pytest.param(value, marks=pytest.mark.slow) for value in values]
