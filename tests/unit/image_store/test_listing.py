"""What the list of images shows."""

from __future__ import annotations

import json

import pytest

from entrepot.errors import ManifestUnknown, ParameterInvalid
from entrepot.image_store.filters import LIST_FILTERS, Filters, parse_moment
from entrepot.reference import ImageReference, Tag
from entrepot.testing.images import OCI_INDEX, Content, Image, build_artifact, build_image, build_index
from tests.unit.image_store.filling import UNCOMPRESSED, Shop, dated

OLD = dated(build_image(seed=1), "2020-01-01T00:00:00Z", Labels={"team": "web", "stage": "test"})
MIDDLE = dated(build_image(seed=2), "2021-01-01T00:00:00.123456789+01:00", Labels={"team": "db"})
NEW = dated(build_image(3, seed=3), "2022-01-01T00:00:00Z", Labels=None)


async def listed(shop: Shop, *conditions: str, digests: bool = False) -> list[str]:
    filters = Filters.parse(conditions, LIST_FILTERS)
    return [
        f"{row.repository}:{row.tag}" + (f"@{row.digest}" if digests else "")
        for row in await shop.images.list_images(filters, digests=digests)
    ]


@pytest.fixture
async def full(shop: Shop) -> Shop:
    """Three images, the middle one under two names, and an older one that lost its tag."""
    await shop.keep(OLD, "localhost:5000/team/app:old")
    await shop.keep(MIDDLE, "nginx:1.23", pulled=True)
    await shop.keep(MIDDLE, "user/web:latest")
    await shop.keep(build_image(seed=4), "user/web:moved")
    await shop.keep(NEW, "user/web:moved")
    return shop


async def test_list_is_sorted_by_age_and_name(full: Shop) -> None:
    assert await listed(full) == [
        "<none>:<none>",
        "user/web:moved",
        "nginx:1.23",
        "user/web:latest",
        "localhost:5000/team/app:old",
    ]


async def test_list_row_tells_id_age_and_uncompressed_size(shop: Shop) -> None:
    await shop.keep(NEW, "nginx:1")
    [row] = await shop.images.list_images()
    assert (row.id, row.created, row.size) == (NEW.id, "2022-01-01T00:00:00Z", 3 * UNCOMPRESSED)


async def test_list_size_of_layers_that_were_never_unpacked_is_what_they_take(shop: Shop) -> None:
    reference = ImageReference.parse("nginx:1")
    await shop.keep(NEW, "nginx:1")
    for layer in NEW.layers:
        await shop.local.metadata.write(_forget(layer.digest))
    [row] = await shop.images.list_images()
    assert row.size == sum(layer.size for layer in NEW.layers)
    assert reference.familiar == f"{row.repository}:{row.tag}"


def _forget(digest: str):  # type: ignore[no-untyped-def]  # an operation of one statement
    yield "DELETE FROM layers WHERE digest = :digest", {"digest": digest}


async def test_list_shows_the_digest_of_what_was_pulled_only(full: Shop) -> None:
    rows = await listed(full, digests=True)
    assert f"nginx:1.23@{MIDDLE.digest}" in rows
    assert "user/web:latest@<none>" in rows


async def test_list_pulled_image_whose_tag_moved_keeps_its_repository(shop: Shop) -> None:
    await shop.keep(OLD, "nginx:1", pulled=True)
    await shop.keep(NEW, "nginx:1", pulled=True)
    assert await listed(shop) == ["nginx:1", "nginx:<none>"]
    assert await listed(shop, "dangling=true", digests=True) == [f"nginx:<none>@{OLD.digest}"]


async def test_list_nameless_image_is_dangling(shop: Shop) -> None:
    await shop.keep_nameless(OLD)
    assert await listed(shop) == ["<none>:<none>"]


async def test_list_nameless_copy_of_a_named_image_has_no_row_of_its_own(shop: Shop) -> None:
    await shop.keep_nameless(OLD)
    await shop.keep(OLD, "nginx:1")
    assert await listed(shop) == ["nginx:1"]


async def test_list_shows_an_index_by_this_computers_image(shop: Shop) -> None:
    index = build_index(["linux/arm64", "linux/amd64"])
    await shop.keep(index, "nginx:1")
    [row] = await shop.images.list_images()
    assert (row.id, row.tag) == (index.children[1].id, "1")


async def test_list_shows_an_index_of_which_one_platform_is_here_by_that(shop: Shop) -> None:
    index = build_index(["linux/amd64", "linux/arm64"])
    await shop.keep(index, "nginx:1", only=index.children[1:])
    assert [row.id for row in await shop.images.list_images()] == [index.children[1].id]


async def test_list_shows_an_index_of_which_nothing_is_here_by_its_digest(shop: Shop) -> None:
    index = build_index(["linux/amd64"])
    await shop.keep(index, "nginx:1", only=())
    [row] = await shop.images.list_images()
    assert (row.id, row.created, row.size) == (index.digest, None, 0)


async def test_list_shows_an_index_that_names_the_same_ones_over_and_over_at_once(shop: Shop) -> None:
    name = ImageReference.parse("nginx").stored_name
    await shop.keep(OLD, "nginx:child")
    below = OLD.manifest
    for _ in range(8):
        document = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [below.descriptor()] * 50}
        below = Content(OCI_INDEX, json.dumps(document).encode())
        await shop.put_manifest(name, below, None)
    await shop.put_manifest(name, below, Tag("1"))
    assert await listed(shop, "reference=nginx:1") == ["nginx:1"]


async def test_list_leaves_out_signatures_of_images(shop: Shop) -> None:
    await shop.keep(OLD, "nginx:1")
    signature = build_artifact(b"signed", artifact_type="application/x", subject=OLD)
    name = ImageReference.parse("nginx").stored_name
    await shop.put_blobs(name, signature)
    await shop.put_manifest(name, signature.manifest, None)
    assert await listed(shop) == ["nginx:1"]


@pytest.mark.parametrize(
    "config",
    [
        pytest.param(b"no JSON", id="no JSON"),
        pytest.param(b"[]", id="no object"),
        pytest.param(b'{"created": 5, "config": {"Labels": {"a": 1}}}', id="wrong types"),
        pytest.param(b'{"created": "yesterday", "config": []}', id="no time"),
    ],
)
async def test_list_image_whose_config_makes_no_sense_is_shown_without_age(shop: Shop, config: bytes) -> None:
    image = _with_config(OLD, config)
    await shop.keep(image, "nginx:1")
    assert await listed(shop, "label=a") == []
    [row] = await shop.images.list_images()
    assert row.id == image.id


def _with_config(image: Image, config: bytes) -> Image:
    return build_artifact(b"layer", config=type(image.config)(image.config.media_type, config))


async def test_list_again_reads_no_config(full: Shop) -> None:
    assert len((await full.images.library()).missing_configs) == 4
    assert (await full.images.library()).missing_configs == []


class TestFilters:
    """Docker's conditions."""

    @pytest.mark.parametrize(
        ("conditions", "expected"),
        [
            pytest.param(["dangling=true"], ["<none>:<none>"], id="dangling"),
            pytest.param(
                ["dangling=false", "label=team"],
                ["nginx:1.23", "user/web:latest", "localhost:5000/team/app:old"],
                id="label and not dangling",
            ),
            pytest.param(["label=team=web"], ["localhost:5000/team/app:old"], id="label with value"),
            pytest.param(["label=team=web", "label=stage=live"], [], id="labels must all hold"),
            pytest.param(
                ["label=team", "label!=stage"], ["nginx:1.23", "user/web:latest"], id="label that must not be there"
            ),
            pytest.param(["before=nginx:1.23"], ["localhost:5000/team/app:old"], id="before"),
            pytest.param(["since=nginx:1.23", "dangling=false"], ["user/web:moved"], id="since"),
            pytest.param(["until=2020-06-01"], ["localhost:5000/team/app:old"], id="until"),
            pytest.param(["reference=nginx"], ["nginx:1.23"], id="reference without tag"),
            pytest.param(["reference=nginx:1.23"], ["nginx:1.23"], id="reference with tag"),
            pytest.param(["reference=*:1.*"], ["nginx:1.23"], id="star"),
            pytest.param(["reference=*"], ["nginx:1.23"], id="star stops at slash"),
            pytest.param(["reference=user/*:[l-m]*"], ["user/web:moved", "user/web:latest"], id="class"),
            pytest.param(["reference=user/web:[^m]*"], ["user/web:latest"], id="class that must not match"),
            pytest.param(["reference=ngin?"], ["nginx:1.23"], id="question mark"),
            pytest.param(["reference=docker.io/library/nginx"], ["nginx:1.23"], id="full name"),
            pytest.param(["reference=nginx", "reference=*/*:old"], ["nginx:1.23"], id="one of several"),
            pytest.param(["reference=nosuch"], [], id="nothing"),
        ],
    )
    async def test_list_with_filters_shows_what_meets_them(
        self, full: Shop, conditions: list[str], expected: list[str]
    ) -> None:
        assert await listed(full, *conditions) == expected

    @pytest.mark.parametrize(
        ("condition", "message"),
        [
            pytest.param("dangling", "bad format of filter", id="no value"),
            pytest.param("color=red", "invalid filter 'color': expected one of before, dangling", id="unknown"),
            pytest.param("dangling=maybe", "invalid filter 'dangling=maybe'", id="no boolean"),
            pytest.param("until=never", "invalid filter 'until=never'", id="no time"),
            pytest.param("reference=[a", "syntax error in pattern", id="open class"),
            pytest.param("reference=a\\", "syntax error in pattern", id="escape at the end"),
        ],
    )
    async def test_list_with_a_wrong_filter_is_refused(self, full: Shop, condition: str, message: str) -> None:
        with pytest.raises(ParameterInvalid, match=message.replace("[", "\\[")):
            await listed(full, condition)

    async def test_list_before_an_unknown_image_is_refused(self, full: Shop) -> None:
        with pytest.raises(ManifestUnknown, match="No such image: nosuch:latest"):
            await listed(full, "before=nosuch")

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            pytest.param("0", 0.0, id="seconds"),
            pytest.param("1700000000.5", 1_700_000_000.5, id="fraction"),
            pytest.param("24h", 1_000_000 - 86400, id="hours ago"),
            pytest.param("1h30m10s", 1_000_000 - 5410, id="mixed duration"),
            pytest.param("1970-01-02T00:00:00Z", 86400.0, id="RFC 3339"),
            pytest.param("1970-01-02T01:00:00+01:00", 86400.0, id="another zone"),
        ],
    )
    def test_parse_moment_reads_times_as_docker_does(self, text: str, expected: float) -> None:
        assert parse_moment(text, 1_000_000) == expected
