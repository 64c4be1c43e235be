"""Tagging, inspecting, measuring; opening the store."""

from __future__ import annotations

from pathlib import Path

import pytest

from entrepot.errors import Corrupt, Invalid, ManifestUnknown, NameInvalid, ParameterInvalid, Unavailable
from entrepot.folders import DATABASE_FILE
from entrepot.image_store.opening import open_image_store
from entrepot.platforms import Platform
from entrepot.reference import ImageReference, Tag
from entrepot.testing.images import build_image, build_index, build_layers, walk_manifests
from entrepot.testing.repository_suite import require_whole
from tests.unit.image_store.filling import UNCOMPRESSED, Shop, dated

IMAGE = build_image(2, seed=1)
INDEX = build_index(["linux/amd64", "linux/arm64"], seed=2)


class TestTag:
    async def test_tag_image_makes_it_whole_under_the_other_name(self, shop: Shop) -> None:
        await shop.keep(IMAGE, "app:1")
        await shop.images.tag("app:1", "localhost:5000/team/app:2")
        target = shop.local.repository(ImageReference.parse("localhost:5000/team/app").stored_name)
        await require_whole(target, IMAGE, Tag("2"))

    async def test_tag_index_takes_all_its_platforms(self, shop: Shop) -> None:
        await shop.keep(INDEX, "app:1")
        await shop.images.tag("app:1", "web")
        target = shop.local.repository(ImageReference.parse("web").stored_name)
        await require_whole(target, INDEX, Tag("latest"))

    async def test_tag_index_of_which_one_platform_is_here_takes_that(self, shop: Shop) -> None:
        await shop.keep(INDEX, "app:1", only=INDEX.children[:1])
        await shop.images.tag("app:1", "web:1")
        assert (await shop.images.resolve("web:1")).id == INDEX.children[0].id
        with pytest.raises(ManifestUnknown):
            await shop.images.resolve("web:1", Platform.parse("linux/arm64"))

    async def test_tag_by_id_takes_what_the_id_shows(self, shop: Shop) -> None:
        await shop.keep(INDEX, "app:1")
        await shop.images.tag(INDEX.children[0].id.encoded[:12], "web:1")
        assert (await shop.images.resolve("web:1")).top.digest == INDEX.digest

    async def test_tag_in_the_same_repository_moves_the_tag(self, shop: Shop) -> None:
        await shop.keep(IMAGE, "app:1")
        await shop.keep(INDEX, "app:2")
        await shop.images.tag("app:1", "app:2")
        assert (await shop.images.resolve("app:2")).id == IMAGE.id
        assert len([row for row in await shop.images.list_images() if row.tag == "<none>"]) == 1

    async def test_tag_again_changes_nothing(self, shop: Shop) -> None:
        await shop.keep(IMAGE, "app:1", pulled=True)
        await shop.images.tag("app:1", "app:1")
        [row] = await shop.images.list_images(digests=True)
        assert (row.tag, row.digest) == ("1", IMAGE.digest)

    async def test_tag_copy_is_not_known_to_any_registry(self, shop: Shop) -> None:
        await shop.keep(IMAGE, "app:1", pulled=True)
        await shop.images.tag("app:1", "web:1")
        assert [row.digest for row in await shop.images.list_images(digests=True)] == [IMAGE.digest, "<none>"]

    @pytest.mark.parametrize(
        ("target", "error", "message"),
        [
            pytest.param(
                f"web@{IMAGE.digest}", ParameterInvalid, "refusing to create a tag with a digest", id="digest"
            ),
            pytest.param("sha256:abc", ParameterInvalid, "using digest algorithm as name", id="algorithm"),
            pytest.param(
                "Bad:1",
                NameInvalid,
                r'^"Bad:1" is not a valid repository/tag: invalid reference format: repository name '
                r"\(library/Bad\) must be lowercase$",
                id="upper case",
            ),
            pytest.param("web:-1", NameInvalid, "is not a valid repository/tag", id="tag"),
        ],
    )
    async def test_tag_wrong_target_is_refused(
        self, shop: Shop, target: str, error: type[Invalid], message: str
    ) -> None:
        await shop.keep(IMAGE, "app:1")
        with pytest.raises(error, match=message):
            await shop.images.tag("app:1", target)
        assert len(await shop.images.list_images()) == 1

    async def test_tag_absent_image_is_refused(self, shop: Shop) -> None:
        with pytest.raises(ManifestUnknown, match="No such image: app:latest"):
            await shop.images.tag("app", "web")


class TestInspect:
    async def test_inspect_image_has_dockers_fields_in_dockers_order(self, shop: Shop) -> None:
        await shop.keep(IMAGE, "app:1", pulled=True)
        document = await shop.images.inspect("app:1")
        assert " ".join(document) == (
            "Id RepoTags RepoDigests Parent Comment Created DockerVersion Author Config Architecture Os Size "
            "GraphDriver RootFS Metadata Descriptor"
        )

    async def test_inspect_image_tells_names_size_and_layers(self, shop: Shop) -> None:
        await shop.keep(IMAGE, "app:1", pulled=True)
        await shop.images.tag("app:1", "localhost:5000/web:2")
        document = await shop.images.inspect(IMAGE.id)
        assert document["RepoTags"] == ["app:1", "localhost:5000/web:2"]
        assert document["RepoDigests"] == [f"app@{IMAGE.digest}"]
        assert document["Size"] == 2 * UNCOMPRESSED
        assert document["RootFS"]["Layers"] == [layer.diff_id for layer in build_layers(2, seed=1)]
        assert document["Metadata"] == {"LastTagTime": "2023-11-14T22:13:20Z"}
        assert document["Descriptor"]["digest"] == IMAGE.digest

    async def test_inspect_config_has_all_fields_of_docker_and_those_it_has_besides(self, shop: Shop) -> None:
        await shop.keep(dated(IMAGE, "2020-01-01T00:00:00Z", StopSignal="SIGQUIT", Extra=1), "app:1")
        config = (await shop.images.inspect("app:1"))["Config"]
        assert " ".join(config) == (
            "Hostname Domainname User AttachStdin AttachStdout AttachStderr Tty OpenStdin StdinOnce Env Cmd Image "
            "Volumes WorkingDir Entrypoint OnBuild Labels StopSignal Extra"
        )
        assert (config["Labels"], config["Cmd"], config["Volumes"]) == ({"seed": "1"}, ["/bin/true"], None)

    async def test_inspect_platform_of_an_index_is_that_image(self, shop: Shop) -> None:
        await shop.keep(INDEX, "app:1")
        document = await shop.images.inspect("app:1", Platform.parse("linux/arm64"))
        assert (document["Id"], document["Architecture"]) == (INDEX.children[1].id, "arm64")

    async def test_inspect_image_whose_config_is_gone_is_refused(self, shop: Shop) -> None:
        name = ImageReference.parse("app").stored_name
        for manifest in walk_manifests(IMAGE):
            await shop.put_manifest(name, manifest, Tag("1"))
        with pytest.raises(Corrupt, match="is not here"):
            await shop.images.inspect("app:1")


class TestHistory:
    async def test_history_tells_steps_with_sizes_the_newest_first(self, shop: Shop) -> None:
        await shop.keep(IMAGE, "app:1")
        rows = await shop.images.history("app:1")
        assert [(row.id, row.created_by, row.size) for row in rows] == [
            (IMAGE.id, "layer 1", UNCOMPRESSED),
            (None, "layer 0", UNCOMPRESSED),
        ]

    @pytest.mark.parametrize(
        ("history", "expected"),
        [
            pytest.param([], [("", UNCOMPRESSED), ("", UNCOMPRESSED)], id="none"),
            pytest.param(
                [{"created_by": "ADD"}, {"created_by": "ENV", "empty_layer": True}, {"created_by": "RUN"}],
                [("RUN", UNCOMPRESSED), ("ENV", 0), ("ADD", UNCOMPRESSED)],
                id="empty layer",
            ),
            pytest.param(
                [{"created_by": "ADD"}], [("", UNCOMPRESSED), ("ADD", UNCOMPRESSED)], id="fewer steps than layers"
            ),
            pytest.param(
                [{"created_by": "a"}, {"created_by": "b"}, {"created_by": "c"}],
                [("c", 0), ("b", UNCOMPRESSED), ("a", UNCOMPRESSED)],
                id="more steps than layers",
            ),
        ],
    )
    async def test_history_gives_each_layer_to_its_step(
        self, shop: Shop, history: list[dict[str, object]], expected: list[tuple[str, int]]
    ) -> None:
        await shop.keep(dated(IMAGE, "2020-01-01T00:00:00Z", history=history), "app:1")
        rows = await shop.images.history("app:1")
        assert [(row.created_by, row.size) for row in rows] == expected


class TestUsage:
    async def test_usage_counts_shared_layers_once(self, shop: Shop) -> None:
        layers = build_layers(3, seed=5)
        one, two = build_image(layers[:2], seed=5), build_image([layers[0], layers[2]], seed=6)
        await shop.keep(one, "app:1")
        await shop.keep(two, "app:2")
        usage = await shop.images.usage()
        by_id = {each.image.id: each for each in usage.images}
        assert by_id[one.id].shared == by_id[two.id].shared == layers[0].size
        assert usage.size == sum(layer.size for layer in layers) + one.config.size + two.config.size
        assert (usage.active, usage.reclaimable) == (2, 0)

    async def test_usage_tells_what_images_without_tag_would_free(self, shop: Shop) -> None:
        await shop.keep_nameless(IMAGE)
        usage = await shop.images.usage()
        assert (usage.active, usage.reclaimable) == (0, usage.size)

    async def test_usage_tells_leftovers_and_downloads(self, shop: Shop, root: Path) -> None:
        await shop.put_blobs(ImageReference.parse("app").stored_name, IMAGE)
        usage = await shop.images.usage()
        assert sum(usage.leftovers) == sum(layer.size for layer in IMAGE.layers) + IMAGE.config.size


class TestOpening:
    async def test_open_image_store_of_a_new_root_is_empty(self, tmp_path: Path) -> None:
        async with open_image_store(tmp_path / "new" / "root") as store:
            assert await store.list_images() == []

    async def test_open_image_store_sees_what_another_wrote(self, shop: Shop, root: Path) -> None:
        await shop.keep(IMAGE, "app:1")
        async with open_image_store(root) as store:
            assert [row.id for row in await store.list_images()] == [IMAGE.id]
            await store.tag("app:1", "web:1")
        assert (await shop.images.resolve("web:1")).id == IMAGE.id

    async def test_open_image_store_where_a_file_is_in_the_way_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        with pytest.raises(Unavailable, match="cannot write to"):
            async with open_image_store(tmp_path / "file" / "root"):
                pass

    async def test_open_image_store_whose_database_is_none_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / DATABASE_FILE).write_bytes(b"no database" * 1000)
        with pytest.raises(Corrupt, match="cannot use"):
            async with open_image_store(tmp_path):
                pass
