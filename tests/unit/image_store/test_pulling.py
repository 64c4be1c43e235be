"""A pull beside somebody who removes images."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from entrepot.client import Client
from entrepot.errors import RegistryErrors
from entrepot.image_store.opening import open_image_store
from entrepot.image_store.pulling import Pull
from entrepot.metadata.sqlite import SqliteMetadata
from entrepot.reference import ImageReference, RepositoryName, Tag
from entrepot.repositories.local import LocalRegistry
from entrepot.store.memory import MemoryBlobStore
from entrepot.testing.images import build_image, build_index, walk_blobs
from entrepot.testing.repository_suite import push, require_whole
from entrepot.transfer.copy import Options
from entrepot.transfer.graph import Node

IMAGE = build_image(2, seed=8)
NAME = RepositoryName("team/app")
REFERENCE = ImageReference.parse("registry.test/team/app:v1")
OTHER = ImageReference.parse("registry.test/team/other:v1")


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[Client]:
    async with Client(tmp_path / "images") as client:
        yield client


@pytest.fixture
async def source(database: Path) -> AsyncIterator[LocalRegistry]:
    """The registry that is pulled from."""
    metadata = SqliteMetadata(database)
    registry = LocalRegistry(MemoryBlobStore(), metadata)
    await push(registry.repository(NAME), IMAGE, Tag("v1"))
    yield registry
    await metadata.close()


class _RemovingOnce:
    """Removes the image that has the layers as well, when they were found and before the manifest is stored."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.done = 0

    async def __call__(self, node: Node) -> None:
        self.done += 1
        if self.done == 1:
            async with open_image_store(self._client.root) as store:
                await store.remove(OTHER.familiar, force=True)


async def test_pull_whose_layers_are_removed_meanwhile_fetches_them(
    client: Client, source: LocalRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    pull = Pull(client.store, source.repository(NAME), Options())
    await pull.run(OTHER, await pull.read(OTHER))
    removing = _RemovingOnce(client)
    monkeypatch.setattr("entrepot.image_store.pulling.Configs.require_layers", lambda _, node: removing(node))
    await pull.run(REFERENCE, await pull.read(REFERENCE))
    await require_whole(client.store.repository(REFERENCE.stored_name), IMAGE, Tag("v1"))


async def test_store_takes_no_image_without_its_layers(client: Client) -> None:
    with pytest.raises(RegistryErrors, match="push it first"):
        await client.store.repository(REFERENCE.stored_name).put_manifest(
            Tag("v1"), IMAGE.manifest.data, IMAGE.manifest.media_type
        )


async def test_store_takes_an_index_with_one_of_its_images(client: Client) -> None:
    index = build_index()
    repository = client.store.repository(REFERENCE.stored_name)
    await push(repository, index.children[0])
    await repository.put_manifest(Tag("v1"), index.manifest.data, index.manifest.media_type)
    assert (await repository.get_manifest(Tag("v1"))).content == index.manifest.data
    assert list(walk_blobs(index.children[0]))
