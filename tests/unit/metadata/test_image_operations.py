"""Operations of the image store: layers, configs, what is at registries, unfinished pushes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from entrepot.digest import Digest
from entrepot.metadata import images, layers, listings, origins
from entrepot.metadata.layers import ConfigFacts, LayerFacts
from entrepot.metadata.sqlite import SqliteMetadata
from entrepot.reference import RepositoryName, Tag
from entrepot.repositories.local import LocalRegistry, Rules
from entrepot.store.memory import MemoryBlobStore
from entrepot.testing.images import Image, Index, build_image, build_index
from entrepot.testing.repository_suite import push

A, B, C = (Digest.of(text) for text in (b"a", b"b", b"c"))
NGINX = RepositoryName("docker.io/library/nginx")
APP = RepositoryName("localhost__5000/team/app")
V1 = Tag("v1")
IMAGE = build_image(2, seed=1)
INDEX = build_index(["linux/amd64", "linux/arm64"], seed=2)


@pytest.fixture
async def metadata(database: Path) -> AsyncIterator[SqliteMetadata]:
    metadata = SqliteMetadata(database)
    yield metadata
    await metadata.close()


async def keep(metadata: SqliteMetadata, name: RepositoryName, image: Image | Index) -> None:
    local = LocalRegistry(MemoryBlobStore(), metadata, Rules(allow_missing_children=("*",)))
    await push(local.repository(name), image, V1)


class TestLayers:
    async def test_find_layer_that_was_recorded_tells_its_facts(self, metadata: SqliteMetadata) -> None:
        await metadata.write(layers.record_layer(A, B, 10))
        await metadata.write(layers.record_layer(A, C, 2**40))
        assert await metadata.read(layers.find_layer(A)) == LayerFacts(C, 2**40)
        assert await metadata.read(layers.layer_sizes()) == {A: 2**40}
        assert await metadata.read(layers.diff_ids()) == {A: C}

    async def test_find_layer_that_is_not_known_is_none(self, metadata: SqliteMetadata) -> None:
        assert await metadata.read(layers.find_layer(A)) is None

    async def test_config_facts_are_what_was_recorded_last(self, metadata: SqliteMetadata) -> None:
        facts = [ConfigFacts.of(A, None, {}), ConfigFacts.of(A, "2020-01-01T00:00:00Z", {"a": "ä"})]
        await metadata.write(layers.record_configs(facts))
        assert await metadata.read(layers.config_facts()) == {A: facts[1]}


class TestOrigins:
    async def test_holders_are_repositories_whose_registry_has_the_blob(self, metadata: SqliteMetadata) -> None:
        for name in (NGINX, APP):
            await keep(metadata, name, IMAGE)
        await metadata.write(origins.record_origin(NGINX, IMAGE.digest, 1))
        assert await metadata.read(origins.holders(IMAGE.layers[0].digest)) == [NGINX]
        assert await metadata.read(origins.holders(A)) == []

    async def test_holders_come_with_the_latest_first(self, metadata: SqliteMetadata) -> None:
        for name, at in ((NGINX, 5), (APP, 9)):
            await keep(metadata, name, IMAGE)
            await metadata.write(origins.record_origin(name, IMAGE.digest, at))
        assert await metadata.read(origins.holders(IMAGE.layers[0].digest)) == [APP, NGINX]

    async def test_holders_of_a_layer_below_an_index_that_was_pulled(self, metadata: SqliteMetadata) -> None:
        await keep(metadata, NGINX, INDEX)
        await metadata.write(origins.record_origin(NGINX, INDEX.digest, 1))
        assert await metadata.read(origins.holders(INDEX.children[1].layers[0].digest)) == [NGINX]

    async def test_record_origin_of_what_is_not_here_is_false(self, metadata: SqliteMetadata) -> None:
        assert not await metadata.write(origins.record_origin(NGINX, IMAGE.digest, 1))
        await keep(metadata, NGINX, IMAGE)
        assert await metadata.write(origins.record_origin(NGINX, IMAGE.digest, 1))

    async def test_origin_ends_with_its_manifest(self, metadata: SqliteMetadata) -> None:
        await keep(metadata, NGINX, IMAGE)
        await metadata.write(origins.record_origin(NGINX, IMAGE.digest, 1))
        held = await metadata.read(images.list_repository(NGINX))
        assert held is not None
        await metadata.write(images.remove_manifests(held.repository_id, [held.manifests[0].id]))
        await keep(metadata, NGINX, IMAGE)
        again = await metadata.read(images.list_repository(NGINX))
        assert again is not None
        assert again.manifests[0].origin_at is None


class TestPushes:
    async def test_find_push_that_was_put_is_where_it_goes_on(self, metadata: SqliteMetadata) -> None:
        await metadata.write(origins.put_push("host/app", A, "/first", 1))
        await metadata.write(origins.put_push("host/app", A, "/second", 2))
        assert await metadata.read(origins.find_push("host/app", A)) == "/second"
        assert await metadata.read(origins.find_push("host/app", B)) is None
        assert await metadata.read(origins.find_push("host/other", A)) is None

    async def test_find_push_that_is_over_is_none(self, metadata: SqliteMetadata) -> None:
        await metadata.write(origins.put_push("host/app", A, "/first", 1))
        await metadata.write(origins.forget_push("host/app", A))
        assert await metadata.read(origins.find_push("host/app", A)) is None

    async def test_forget_old_pushes_leaves_young_ones(self, metadata: SqliteMetadata) -> None:
        await metadata.write(origins.put_push("host/app", A, "/old", 1))
        await metadata.write(origins.put_push("host/app", B, "/young", 2))
        await metadata.write(origins.forget_old_pushes(2))
        assert await metadata.read(origins.find_push("host/app", A)) is None
        assert await metadata.read(origins.find_push("host/app", B)) == "/young"


class TestRemoval:
    async def test_remove_manifests_returns_blobs_that_nobody_sees(self, metadata: SqliteMetadata) -> None:
        await keep(metadata, NGINX, IMAGE)
        await metadata.write(layers.record_layer(IMAGE.layers[0].digest, A, 1))
        held = await metadata.read(images.list_repository(NGINX))
        assert held is not None
        gone = await metadata.write(images.remove_manifests(held.repository_id, [held.manifests[0].id]))
        assert {blob.digest for blob in gone} == {IMAGE.id, *(layer.digest for layer in IMAGE.layers)}
        assert await metadata.read(images.list_repository(NGINX)) is None
        assert await metadata.read(layers.layer_sizes()) == {}

    async def test_remove_manifests_that_another_repository_has_too_returns_nothing(
        self, metadata: SqliteMetadata
    ) -> None:
        await keep(metadata, NGINX, IMAGE)
        await keep(metadata, APP, IMAGE)
        held = await metadata.read(images.list_repository(NGINX))
        assert held is not None
        assert await metadata.write(images.remove_manifests(held.repository_id, [held.manifests[0].id])) == []
        assert await metadata.read(listings.list_tags(APP, last="", limit=9)) == ["v1"]

    async def test_tag_manifest_that_is_not_there_makes_no_repository(self, metadata: SqliteMetadata) -> None:
        await keep(metadata, NGINX, IMAGE)
        held = await metadata.read(images.list_repository(NGINX))
        assert held is not None
        assert await metadata.write(images.tag_manifest(held.repository_id, A, APP, V1, 1)) is None
        assert await metadata.read(images.find_repository_id(APP)) is None


async def test_list_everything_leaves_out_names_that_begin_with_no_registry(metadata: SqliteMetadata) -> None:
    untagged = RepositoryName("untagged")
    inside = [NGINX, APP, RepositoryName("localhost/app"), untagged, RepositoryName("ip6-0-0-0-0-0-0-0-1/app")]
    for name in (*inside, RepositoryName("team/app"), RepositoryName("app")):
        await keep(metadata, name, IMAGE)
    found = await metadata.read(images.list_everything(untagged))
    assert [held.name for held in found] == sorted(inside)
    assert [tag.name for held in found for tag in held.tags] == ["v1"] * len(inside)
