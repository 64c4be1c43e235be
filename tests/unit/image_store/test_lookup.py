"""What a name, a digest or an ID leads to."""

from __future__ import annotations

import pytest

from entrepot.errors import ManifestUnknown, NameInvalid
from entrepot.platforms import Platform
from entrepot.reference import Tag
from entrepot.testing.images import build_image, build_index
from tests.unit.image_store.filling import Shop

IMAGE = build_image(seed=1)
OTHER = build_image(seed=2)
INDEX = build_index(["linux/amd64", "linux/arm64", "linux/arm/v7"], seed=3)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("nginx:1", id="familiar name"),
        pytest.param("docker.io/library/nginx:1", id="full name"),
        pytest.param("docker.io/nginx:1", id="full name without library"),
        pytest.param("index.docker.io/library/nginx:1", id="old name of the registry"),
        pytest.param(f"nginx@{IMAGE.digest}", id="digest"),
        pytest.param(f"nginx:9@{IMAGE.digest}", id="tag and digest: the digest counts"),
        pytest.param(IMAGE.id, id="ID in full"),
        pytest.param(IMAGE.id.encoded, id="64 digits"),
        pytest.param(IMAGE.id.encoded[:12], id="short ID"),
        pytest.param(IMAGE.id[:20], id="short ID with its algorithm"),
    ],
)
async def test_resolve_text_finds_the_image(shop: Shop, text: str) -> None:
    await shop.keep(IMAGE, "nginx:1")
    await shop.keep(OTHER, "nginx:2")
    record = await shop.images.resolve(text)
    assert (record.id, record.manifest.digest, record.repository) == (
        IMAGE.id,
        IMAGE.digest,
        "docker.io/library/nginx",
    )


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        pytest.param("nosuch", "nosuch:latest", id="name without tag"),
        pytest.param("nosuch:1", "nosuch:1", id="name"),
        pytest.param("nginx:2", "nginx:2", id="another tag"),
        pytest.param("localhost:5000/nginx:1", "localhost:5000/nginx:1", id="another registry"),
        pytest.param("f" * 64, "f" * 64, id="ID"),
        pytest.param(f"sha256:{'0' * 64}", f"sha256:{'0' * 64}", id="ID with its algorithm"),
    ],
)
async def test_resolve_text_that_names_nothing_says_so_as_docker_does(shop: Shop, text: str, shown: str) -> None:
    await shop.keep(IMAGE, "nginx:1")
    with pytest.raises(ManifestUnknown, match=rf"^No such image: {shown}$"):
        await shop.images.resolve(text)


async def test_resolve_beginning_of_several_ids_is_refused(shop: Shop) -> None:
    images = [build_image(1, seed=seed, size=1) for seed in range(17)]
    for number, image in enumerate(images):
        await shop.keep(image, f"app:{number}")
    digits = [image.id.encoded[0] for image in images]
    twice = next(digit for digit in digits if digits.count(digit) > 1)
    with pytest.raises(NameInvalid, match=rf"^{twice} is ambiguous: {digits.count(twice)} images have an ID"):
        await shop.images.resolve(twice)


async def test_resolve_name_that_is_also_the_beginning_of_an_id_is_the_name(shop: Shop) -> None:
    await shop.keep(IMAGE, "nginx:1")
    await shop.keep(OTHER, IMAGE.id.encoded[:12])
    assert (await shop.images.resolve(IMAGE.id.encoded[:12])).id == OTHER.id


async def test_resolve_wrong_name_is_refused(shop: Shop) -> None:
    with pytest.raises(NameInvalid, match="must be lowercase"):
        await shop.images.resolve("Nginx")


class TestPlatforms:
    """Out of an index."""

    async def test_resolve_index_is_the_image_for_this_computer(self, shop: Shop) -> None:
        await shop.keep(INDEX, "nginx:1")
        record = await shop.images.resolve("nginx:1")
        assert (record.manifest.digest, record.top.digest) == (INDEX.children[0].digest, INDEX.digest)
        assert (record.is_index, record.tag) == (True, Tag("1"))

    async def test_resolve_index_without_this_computers_image_is_the_first_that_is_here(self, shop: Shop) -> None:
        await shop.keep(INDEX, "nginx:1", only=INDEX.children[1:])
        assert (await shop.images.resolve("nginx:1")).manifest.digest == INDEX.children[1].digest

    async def test_resolve_index_for_a_platform_is_its_image(self, shop: Shop) -> None:
        await shop.keep(INDEX, "nginx:1")
        record = await shop.images.resolve("nginx:1", Platform.parse("linux/arm/v7"))
        assert record.id == INDEX.children[2].id

    async def test_resolve_index_for_a_platform_that_is_not_here_names_those_that_are(self, shop: Shop) -> None:
        await shop.keep(INDEX, "nginx:1", only=INDEX.children[:1])
        with pytest.raises(ManifestUnknown, match="nginx:1 is not here for linux/arm64: it is here for linux/amd64"):
            await shop.images.resolve("nginx:1", Platform.parse("linux/arm64"))

    async def test_resolve_index_of_which_nothing_is_here_says_so(self, shop: Shop) -> None:
        await shop.keep(INDEX, "nginx:1", only=())
        with pytest.raises(ManifestUnknown, match="none of its platforms is here"):
            await shop.images.resolve("nginx:1")

    async def test_resolve_id_of_this_computers_image_leads_to_the_index(self, shop: Shop) -> None:
        await shop.keep(INDEX, "nginx:1")
        record = await shop.images.resolve(INDEX.children[0].id)
        assert record.top.digest == INDEX.digest

    async def test_resolve_id_of_another_platforms_image_is_that_image(self, shop: Shop) -> None:
        await shop.keep(INDEX, "nginx:1")
        record = await shop.images.resolve(INDEX.children[1].id)
        assert (record.top.digest, record.id) == (INDEX.children[1].digest, INDEX.children[1].id)


async def test_repository_pushed_to_a_server_on_the_same_root_is_no_image(shop: Shop) -> None:
    repository = shop.local.repository((await shop.keep(IMAGE, "x")).path.parse("team/app"))
    await shop.put_blobs(repository.name, OTHER)
    await repository.put_manifest(Tag("v1"), OTHER.manifest.data, OTHER.manifest.media_type)
    with pytest.raises(ManifestUnknown):
        await shop.images.resolve("team/app:v1")
    assert [row.repository for row in await shop.images.list_images()] == ["x"]
