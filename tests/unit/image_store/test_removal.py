"""What rmi and prune take away, and what they leave."""

from __future__ import annotations

import asyncio
import json
import os
import random
from contextlib import suppress
from pathlib import Path

import pytest

from entrepot.digest import Digest
from entrepot.errors import BlobInUse, ManifestUnknown, RegistryErrors
from entrepot.folders import DATABASE_FILE
from entrepot.image_store.filters import PRUNE_FILTERS, Filters
from entrepot.image_store.pruning import GRACE_SECONDS
from entrepot.image_store.removal import Removal
from entrepot.image_store.store import ImageStore
from entrepot.metadata import images as operations
from entrepot.metadata.sqlite import SqliteMetadata
from entrepot.reference import ImageReference, RepositoryName, Tag
from entrepot.repositories.local import LocalRegistry, Rules
from entrepot.store.filesystem import FilesystemBlobStore
from entrepot.testing.images import (
    OCI_INDEX,
    Content,
    Image,
    Index,
    build_artifact,
    build_image,
    build_index,
    build_layers,
    walk_blobs,
)
from entrepot.testing.repository_suite import require_whole
from entrepot.testing.repository_upload_suite import chunk
from tests.unit.image_store.conftest import Clock
from tests.unit.image_store.filling import Shop, dated

LAYERS = build_layers(3, seed=9)
IMAGE = build_image(LAYERS[:2], seed=1)
SIBLING = build_image([LAYERS[0], LAYERS[2]], seed=2)  # shares the lowest layer
INDEX = build_index(["linux/amd64", "linux/arm64"], seed=3)


def bytes_in(root: Path) -> set[str]:
    return {path.name for path in (root / "blobs").rglob("*") if path.is_file()}


def blobs_of(*images: Image) -> set[str]:
    return {blob.digest.encoded for image in images for blob in walk_blobs(image)}


async def names(shop: Shop) -> list[str]:
    return [f"{row.repository}:{row.tag}" for row in await shop.images.list_images()]


async def removed(shop: Shop, text: str, *, force: bool = False) -> Removal:
    return await shop.images.remove(text, force=force)


class TestNames:
    """Removing by name."""

    async def test_remove_one_of_two_names_takes_only_that(self, shop: Shop, root: Path) -> None:
        await shop.keep(IMAGE, "app:1")
        await shop.keep(IMAGE, "app:2")
        assert list((await removed(shop, "app:1")).lines()) == ["Untagged: app:1"]
        assert await names(shop) == ["app:2"]
        assert bytes_in(root) == blobs_of(IMAGE)

    async def test_remove_last_name_deletes_image_and_bytes(self, shop: Shop, root: Path) -> None:
        await shop.keep(IMAGE, "app:1")
        removal = await removed(shop, "app:1")
        assert removal.untagged == ["app:1"]
        assert removal.deleted[0] == IMAGE.id
        assert (await names(shop), bytes_in(root)) == ([], set())

    async def test_remove_last_tag_of_a_repository_takes_its_digests_along(self, shop: Shop) -> None:
        await shop.keep(IMAGE, "localhost:5000/app:1", pulled=True)
        await shop.keep(IMAGE, "other:1")
        removal = await removed(shop, "localhost:5000/app:1")
        assert list(removal.lines()) == [
            "Untagged: localhost:5000/app:1",
            f"Untagged: localhost:5000/app@{IMAGE.digest}",
        ]
        assert await names(shop) == ["other:1"]

    async def test_remove_image_tells_its_names_in_the_order_of_their_texts(self, shop: Shop) -> None:
        await shop.keep(IMAGE, "localhost:5000/app:1", pulled=True)
        await shop.keep(IMAGE, "localhost:5000/app/part:1")
        removal = await removed(shop, IMAGE.id, force=True)
        assert removal.untagged == [
            "localhost:5000/app/part:1",
            "localhost:5000/app:1",
            f"localhost:5000/app@{IMAGE.digest}",
        ]

    async def test_remove_digest_of_a_tagged_image_takes_only_that(self, shop: Shop) -> None:
        await shop.keep(IMAGE, "app:1", pulled=True)
        assert list((await removed(shop, f"app@{IMAGE.digest}")).lines()) == [f"Untagged: app@{IMAGE.digest}"]
        [row] = await shop.images.list_images(digests=True)
        assert (row.tag, row.digest) == ("1", "<none>")

    async def test_remove_digest_of_an_image_without_tag_deletes_it(self, shop: Shop, root: Path) -> None:
        await shop.keep(IMAGE, "app:1", pulled=True)
        await shop.keep(SIBLING, "app:1")
        assert (await removed(shop, f"app@{IMAGE.digest}")).deleted[0] == IMAGE.id
        assert bytes_in(root) == blobs_of(SIBLING)

    async def test_remove_digest_that_is_no_name_is_refused(self, shop: Shop) -> None:
        await shop.keep(IMAGE, "app:1")
        with pytest.raises(BlobInUse, match="image is named app:1"):
            await removed(shop, f"app@{IMAGE.digest}")

    async def test_remove_absent_name_says_so(self, shop: Shop) -> None:
        with pytest.raises(ManifestUnknown, match="No such image: app:latest"):
            await removed(shop, "app")

    async def test_remove_index_deletes_all_its_platforms(self, shop: Shop, root: Path) -> None:
        await shop.keep(INDEX, "app:1")
        removal = await removed(shop, "app:1")
        assert removal.deleted[:2] == [child.id for child in INDEX.children]
        assert bytes_in(root) == set()

    async def test_remove_image_takes_its_signatures_along(self, shop: Shop, root: Path) -> None:
        await shop.keep(IMAGE, "app:1")
        signature = build_artifact(b"signed", artifact_type="application/x", subject=IMAGE)
        name = ImageReference.parse("app").stored_name
        await shop.put_blobs(name, signature)
        await shop.put_manifest(name, signature.manifest, None)
        await removed(shop, "app:1")
        assert bytes_in(root) == set()

    async def test_remove_name_whose_copy_elsewhere_stays_frees_the_rest(self, shop: Shop, root: Path) -> None:
        await shop.keep(IMAGE, "one:1")
        await shop.images.tag("one:1", "two:1")
        await shop.keep(SIBLING, "one:1")
        await removed(shop, "two:1")
        assert await names(shop) == ["one:1"]
        assert bytes_in(root) == blobs_of(SIBLING)


class TestIds:
    """Removing by ID."""

    async def test_remove_id_with_one_name_deletes_the_image(self, shop: Shop, root: Path) -> None:
        await shop.keep(IMAGE, "app:1", pulled=True)
        removal = await removed(shop, IMAGE.id.encoded[:12])
        assert removal.untagged == ["app:1", f"app@{IMAGE.digest}"]
        assert bytes_in(root) == set()

    @pytest.mark.parametrize("second", [pytest.param("app:2", id="same repository"), pytest.param("web:1", id="other")])
    async def test_remove_id_with_two_names_must_be_forced(self, shop: Shop, second: str) -> None:
        await shop.keep(IMAGE, "app:1")
        await shop.keep(IMAGE, second)
        expected = (
            rf"^conflict: unable to delete {IMAGE.id.encoded[:12]} \(must be forced\) - "
            "image is referenced in multiple repositories$"
        )
        with pytest.raises(BlobInUse, match=expected):
            await removed(shop, IMAGE.id)
        assert await names(shop) == ["app:1", second]

    async def test_remove_id_by_force_takes_every_name(self, shop: Shop, root: Path) -> None:
        await shop.keep(IMAGE, "app:1")
        await shop.images.tag("app:1", "web:1")
        removal = await removed(shop, IMAGE.id, force=True)
        assert removal.untagged == ["app:1", "web:1"]
        assert (await names(shop), bytes_in(root)) == ([], set())

    async def test_remove_dangling_id_deletes_it(self, shop: Shop) -> None:
        await shop.keep_nameless(IMAGE)
        assert (await removed(shop, IMAGE.id)).deleted[0] == IMAGE.id
        assert await names(shop) == []

    async def test_remove_id_of_one_platform_must_be_forced(self, shop: Shop, root: Path) -> None:
        await shop.keep(INDEX, "app:1")
        other = INDEX.children[1]
        with pytest.raises(BlobInUse, match="image is part of app:1"):
            await removed(shop, other.id)
        assert (await removed(shop, other.id, force=True)).deleted[0] == other.id
        assert bytes_in(root) == blobs_of(INDEX.children[0])
        assert await names(shop) == ["app:1"]


class TestWhatStays:
    """What others name."""

    async def test_remove_image_leaves_layers_of_others(self, shop: Shop, root: Path) -> None:
        await shop.keep(IMAGE, "app:1")
        await shop.keep(SIBLING, "app:2")
        removal = await removed(shop, "app:1")
        assert bytes_in(root) == blobs_of(SIBLING)
        assert len(removal.deleted) == 2  # the image and its upper layer

    async def test_remove_image_leaves_what_a_server_was_given(self, shop: Shop, root: Path) -> None:
        await shop.keep(IMAGE, "app:1")
        pushed = RepositoryName("team/app")
        await shop.put_blobs(pushed, IMAGE)
        await shop.put_manifest(pushed, IMAGE.manifest, Tag("v1"))
        await removed(shop, "app:1")
        assert bytes_in(root) == blobs_of(IMAGE)
        assert (await shop.local.repository(pushed).get_manifest(Tag("v1"))).digest == IMAGE.digest

    async def test_remove_index_leaves_a_platform_that_has_a_name_of_its_own(self, shop: Shop, root: Path) -> None:
        await shop.keep(INDEX, "app:1")
        await shop.keep(INDEX.children[1], "app:arm")
        await removed(shop, "app:1")
        assert bytes_in(root) == blobs_of(INDEX.children[1])

    async def test_deleted_layers_are_told_by_their_chain_ids(self, shop: Shop) -> None:
        await shop.keep(IMAGE, "app:1")
        first, second = (layer.diff_id for layer in LAYERS[:2])
        chain = Digest.of(f"{first} {second}".encode())
        assert (await removed(shop, "app:1")).deleted == [IMAGE.id, chain, first]

    async def test_deleted_image_can_be_kept_again(self, shop: Shop) -> None:
        await shop.keep(IMAGE, "app:1")
        await removed(shop, "app:1")
        await shop.keep(IMAGE, "app:1")
        assert (await shop.images.inspect("app:1"))["Id"] == IMAGE.id


class TestPrune:
    """What prune takes."""

    async def test_prune_takes_images_without_tag(self, shop: Shop, root: Path) -> None:
        await shop.keep(IMAGE, "app:1", pulled=True)
        await shop.keep(SIBLING, "app:1")
        pruned = await shop.images.prune()
        assert pruned.removal.untagged == [f"app@{IMAGE.digest}"]
        assert pruned.removal.deleted[0] == IMAGE.id
        assert pruned.reclaimed == LAYERS[1].size + IMAGE.config.size
        assert bytes_in(root) == blobs_of(SIBLING)

    async def test_prune_everything_takes_all_images(self, shop: Shop, root: Path) -> None:
        await shop.keep(IMAGE, "app:1")
        await shop.keep(INDEX, "web:1")
        await shop.images.prune(everything=True)
        assert (await names(shop), bytes_in(root)) == ([], set())

    async def test_prune_everything_takes_what_two_indexes_share(self, shop: Shop, root: Path) -> None:
        shared = INDEX.children
        other = build_index(["linux/amd64"], seed=8)
        platform = {"os": "linux", "architecture": "amd64"}
        descriptors = [child.manifest.descriptor(platform=platform) for child in (*other.children, *shared)]
        document = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": descriptors}
        both = Index(Content(OCI_INDEX, json.dumps(document).encode()), (*other.children, *shared))
        await shop.keep(INDEX, "web:1")
        await shop.keep(both, "web:2")
        await shop.images.prune(everything=True)
        assert (await names(shop), bytes_in(root)) == ([], set())

    async def test_prune_with_filters_takes_what_meets_them(self, shop: Shop) -> None:
        await shop.keep(dated(IMAGE, "2020-01-01T00:00:00Z"), "old:1")
        await shop.keep(dated(SIBLING, "2023-11-01T00:00:00Z"), "new:1")
        await shop.images.prune(Filters.parse(["until=720h"], PRUNE_FILTERS), everything=True)
        assert await names(shop) == ["new:1"]

    async def test_prune_takes_nameless_copies_of_named_images(self, shop: Shop) -> None:
        await shop.keep_nameless(IMAGE)
        await shop.keep(IMAGE, "app:1")
        assert (await shop.images.prune()).removal.deleted == []
        assert [shelf.name for shelf in (await shop.images.library()).shelves] == ["docker.io/library/app"]

    async def test_prune_takes_layers_of_a_pull_that_was_given_up(self, shop: Shop, root: Path, clock: Clock) -> None:
        await shop.put_blobs(ImageReference.parse("app").stored_name, IMAGE)
        clock.now += GRACE_SECONDS + 1
        pruned = await shop.images.prune()
        assert pruned.reclaimed == sum(blob.size for blob in walk_blobs(IMAGE))
        assert bytes_in(root) == set()

    async def test_prune_leaves_layers_of_a_pull_that_may_be_running(
        self, shop: Shop, root: Path, clock: Clock
    ) -> None:
        await shop.put_blobs(ImageReference.parse("app").stored_name, IMAGE)
        clock.now += GRACE_SECONDS - 1
        assert (await shop.images.prune()).reclaimed == 0
        assert bytes_in(root) == blobs_of(IMAGE)

    async def test_prune_takes_bytes_that_a_crash_has_left(self, shop: Shop, root: Path) -> None:
        await shop.keep(IMAGE, "app:1")
        orphan = Digest.of(b"orphan")
        file = root / "blobs" / "sha256" / orphan.encoded[:2] / orphan.encoded
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"orphan")
        assert (await shop.images.prune()).reclaimed == len(b"orphan")
        assert bytes_in(root) == blobs_of(IMAGE)

    async def test_prune_takes_unfinished_downloads(self, shop: Shop) -> None:
        content = os.urandom(10_000)
        digest = Digest.of(content)
        store = shop.images._store
        async with store.open_partial(digest, len(content)) as partial:
            await partial.write(0, chunk(content[:5000]).pieces)
        pruned = await shop.images.prune()
        assert pruned.downloads == [digest]
        assert pruned.reclaimed >= 4096
        assert [each async for each in store.walk_partials()] == []

    async def test_prune_leaves_a_download_that_somebody_works_on(self, shop: Shop) -> None:
        content = os.urandom(10_000)
        async with shop.images._store.open_partial(Digest.of(content), len(content)) as partial:
            await partial.write(0, chunk(content[:5000]).pieces)
            assert (await shop.images.prune()).downloads == []
            await partial.write(5000, chunk(content[5000:]).pieces)

    async def test_prune_leaves_what_a_server_was_given(self, shop: Shop, root: Path, clock: Clock) -> None:
        pushed = RepositoryName("team/app")
        await shop.put_blobs(pushed, IMAGE)
        clock.now += GRACE_SECONDS + 1
        await shop.images.prune(everything=True)
        assert bytes_in(root) == blobs_of(IMAGE)


class TestAtOnce:
    """Several programs work on one store."""

    async def test_images_come_and_go_at_once_and_what_is_named_is_whole(
        self, shop: Shop, root: Path, clock: Clock
    ) -> None:
        metadata, store = SqliteMetadata(root / DATABASE_FILE), FilesystemBlobStore(root)
        rules = Rules(allow_missing_children=("*",))
        other = Shop(LocalRegistry(store, metadata, rules, clock), ImageStore(store, metadata, clock=clock))
        images = [build_image(LAYERS[: 1 + seed % 3], seed=seed) for seed in range(6)]

        async def work(at: Shop, seed: int) -> None:
            numbers = random.Random(seed)
            for _ in range(12):
                image, name = numbers.choice(images), f"app:{numbers.randrange(4)}"
                with suppress(RegistryErrors):  # a layer that the other has just taken away: a pull would begin anew
                    await at.keep(image, name)
                if numbers.random() < 0.5:
                    with suppress(ManifestUnknown):
                        await at.images.remove(f"app:{numbers.randrange(4)}")
                else:
                    await at.images.prune()

        await asyncio.gather(work(shop, 1), work(other, 2))
        await metadata.close()
        named = [row.tag for row in await shop.images.list_images() if row.tag != "<none>"]
        repository = shop.local.repository(ImageReference.parse("app").stored_name)
        for tag in named:
            manifest = await repository.get_manifest(Tag(tag))
            image = next(image for image in images if image.digest == manifest.digest)
            await require_whole(repository, image, Tag(tag))
        recorded = await shop.local.metadata.read(operations.list_locations())
        assert {Path(location).name for location in recorded} == bytes_in(root)
